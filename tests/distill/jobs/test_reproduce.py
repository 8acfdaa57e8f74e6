"""`reproduce`: a table's runs, one or more at a time, what has ended skipped, what was interrupted taken up."""

import csv
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.files.checkpoint import BEFORE, LAST, read_checkpoint
from distill.jobs import experiments
from distill.jobs.experiments import Plan, planned_jobs
from distill.jobs.scheduler import CLAIMS, remember_options
from distill.weights.files import shipped

TINY = [
    "--fit.config",
    "conf/debug.yaml",
    "--fit.model.network",
    "net5",
    "--fit.data.max_frames",
    "400",
    "--fit.data.eval_episodes",
    "1",
]


HOURS = 12
"""Of the run that is interrupted."""


def listed(capsys, *args: str) -> dict[str, str]:
    """The cells that a dry run prints, and what it says of them."""
    main(["reproduce", *args, "--dry_run"])
    return dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines() if "-seed" in line)


def test_every_cell_is_a_run_of_fit(workdir, capsys):
    """Each config of the paper's tables and of figure 5 parses with its cell's options: hours, rate, store."""
    found = listed(capsys, "--hours", "7", "--seeds", "[3]")
    chosen = (
        "mse-dqn-pong",
        "kl-net5-qbert",
        "kl-dqn-temperature0.1-freeway",
        "nll-multi3",
        "dqn-multi3",
        "kl-multi10",
    )
    for name in (*chosen, "online-student"):
        (command,) = (command for cell, command in found.items() if cell.startswith(f"{name}-"))
        args = shlex.split(command)[3:]
        args = [arg for pair in zip(args[1::2], args[2::2], strict=True) if pair[0] != "--run_dir" for arg in pair]
        if name == "online-student":
            assert args[args.index("--data.teacher") + 1] == "runs/paper/hours7/online-teacher-seed0"
            continue
        with pytest.raises(SystemExit) as stop:
            main(["fit", *args, "--print_config"])
        assert stop.value.code in (0, None), name
        config = yaml.safe_load(capsys.readouterr().out)
        data, model = config["data"]["init_args"], config["model"]["init_args"]
        games = [data["game"]] if isinstance(data["game"], str) else data["game"]
        assert config["trainer"]["max_epochs"] == 7 * len(games)
        assert config["seed_everything"] == 3
        if "loss_name" in model:
            assert data["store"] == "runs/paper/play"
        if len(games) == 1:
            assert model["learning_rate"] == [[3.5, 1e-3], [7.0, 5e-5]]
            assert data["teacher"] == data["game"]


def test_a_tables_cells(monkeypatch):
    """With all teachers there are the paper's cells and ours; a cell of two tables is but one run."""
    plan = Plan(5, "play", Path("runs"))
    games = dict.fromkeys(experiments.GAME_NAMES)
    monkeypatch.setattr(experiments, "shipped", lambda: games)
    count = {table: len(planned_jobs(table, plan, [0])[0]) for table in experiments.MAKERS}
    assert count == {"table1": 12, "tableB1": 50, "tableB2": 3, "table2": 1, "temperature": 16, "figure5": 2}
    assert len(planned_jobs("all", plan, [0])[0]) == sum(count.values()) - 4  # temperature 0.01 stands in table 1
    assert len(planned_jobs("figure5", plan, [0, 1, 2])[0]) == 4  # one teacher
    few = plan._replace(games=("freeway", "pong"))
    count = {table: len(planned_jobs(table, few, [0])[0]) for table in experiments.MAKERS}
    assert count == {"table1": 6, "tableB1": 10, "tableB2": 0, "table2": 1, "temperature": 8, "figure5": 0}
    del games["breakout"]
    cells, missing = planned_jobs("table1", plan, [0])
    assert (len(cells), missing) == (9, ["breakout"])


@pytest.fixture
def ended_but_one(write_run, workdir, capsys, monkeypatch):
    """All runs of table 1 but one, as if they had ended, where Breakout has no teacher; the one that has not."""
    monkeypatch.setattr(experiments, "shipped", lambda: shipped().keys() - {"breakout"})
    folder = workdir / "runs" / "paper" / "hours2"
    *others, last = listed(capsys, "table1", "--hours", "2")
    for name in others:
        loss, _, game = name.split("-")[:3]
        write_run(folder / name, {game: (1.0, 2.0)}, loss=loss, hours=2)
    return folder / last


def test_what_has_ended_is_not_run_again(ended_but_one, workdir, capsys):
    """The run that is left is run, from nothing where it left no checkpoint; its failure is said, and so is success.

    What was made with other options is not taken for it.
    """
    (ended_but_one / "checkpoints").mkdir(parents=True)
    command = ["reproduce", "table1", "--hours", "2", *TINY]
    with pytest.raises(SystemExit) as stop:
        main([*command, "--store", "conf/debug.yaml"])
    assert stop.value.code == 1
    err = capsys.readouterr().err
    assert "1 of 9 runs failed" in err
    assert "conf/debug.yaml" in err
    main(command)
    out, err = capsys.readouterr()
    assert err.count("has ended before") == 8
    assert re.search(rf"\[9/9\] {ended_but_one.name}: qbert \S+ \(.+\), its teacher", err)
    assert "left out, for no teacher is shipped: breakout" in out
    assert (ended_but_one / "student.safetensors").is_file()
    assert list((workdir / "runs" / "paper" / "play").rglob("*.hour"))
    assert (ended_but_one.parent / "report" / "report.html").is_file()
    with (ended_but_one.parent / "report" / "tableB1.csv").open() as file:  # the one that was run is a net5
        (row,) = (row for row in csv.DictReader(file) if row["runs"])
    assert row["runs"].endswith(f"/{ended_but_one.name}")
    assert (row["student"], row["episodes_a_seed"]) == ("net5", "1")
    assert float(row["hours"]) == pytest.approx(2 * 240 / 54_000, rel=1e-4)
    assert set(listed(capsys, "table1", "--hours", "2", *TINY).values()) == {"has ended"}

    # What has begun belongs to its options; where it finds its teacher's play does not matter.
    (workdir / "elsewhere").mkdir()
    listed(capsys, "table1", "--hours", "2", *TINY, "--store", "elsewhere")
    for others in (
        [*command, "--fit.model.decay", "0.5"],
        [*command, "--hours", "3", "--run_dir", "runs/paper/hours2"],
    ):
        with pytest.raises(SystemExit) as stop:
            main([*others, "--dry_run"])
        assert stop.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"{ended_but_one.name} was begun with other options, --config one_game.yaml" in line


def test_a_config_is_known_by_its_content(write_run, workdir, capsys):
    """Of two configs of one name, each has its own runs; an index that is none is one line."""
    for folder, decay in (("one", "0.9"), ("two", "0.5")):
        (workdir / folder).mkdir()
        (workdir / folder / "mine.yaml").write_text(f"model: {{decay: {decay}}}\n")
    cells, _ = planned_jobs("table1", Plan(1, "play", workdir / "runs", ("pong",)), [0])
    for cell in cells:
        write_run(workdir / "runs" / cell.name, {"pong": (1.0, 2.0)}, hours=1)
        options = (*cell.options, "--config", "one/mine.yaml")
        (workdir / "runs" / CLAIMS).mkdir(exist_ok=True)
        remember_options(cell._replace(options=options), workdir / "runs")
    command = ["table1", "--hours", "1", "--games", "[pong]", "--run_dir", "runs", "--fit.config"]
    assert set(listed(capsys, *command, "one/mine.yaml").values()) == {"has ended"}
    with pytest.raises(SystemExit):
        listed(capsys, *command, "two/mine.yaml")
    assert "was begun with other options, --config one_game.yaml" in capsys.readouterr().err
    (workdir / "runs" / CLAIMS / f"{cells[0].name}.json").write_text("{}")
    with pytest.raises(SystemExit):
        listed(capsys, *command, "one/mine.yaml")
    assert f"{cells[0].name}.json is damaged" in capsys.readouterr().err


def test_a_report_is_of_all_that_has_ended(write_run, workdir, capsys):
    """Seeds that ended before are in the report of those that follow."""
    folder = workdir / "runs" / "paper" / "hours5"
    for seed in (0, 1):
        write_run(folder / f"kl-net3-pong-seed{seed}", {"pong": (1.0 + seed, 2.0)}, network="net3", seed=seed)
    for network in ("net1", "net2", "net4", "net5"):
        write_run(folder / f"kl-{network}-pong-seed1", {"pong": (1.0, 2.0)}, network=network, seed=1)
    main(["reproduce", "tableB1", "--games", "[pong]", "--seeds", "[1]"])
    with (folder / "report" / "tableB1.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if (row["game"], row["student"]) == ("pong", "net3"))
    assert row["seeds"] == "0 1"


def began_and_ended(err: str) -> list[tuple[int, str]]:
    """What a table's runs did, in order: their numbers, and "begins" or "ends"."""
    lines = re.findall(r"^\[(\d)/\d\] \S+: (.+)$", err, re.MULTILINE)
    return [(int(number), "begins" if "-m distill fit" in said else "ends") for number, said in lines]


@pytest.mark.slow
def test_runs_side_by_side(workdir, capsys):
    """Two run at a time, the third when one has ended; of the play that they share each hour is played once."""
    main(["reproduce", "table1", "--hours", "2", "--games", "[pong]", "--jobs", "2", *TINY])
    said = began_and_ended(capsys.readouterr().err)
    assert said[:2] == [(1, "begins"), (2, "begins")]
    assert said[2][1] == "ends"
    assert sorted(said[2:]) == [(1, "ends"), (2, "ends"), (3, "begins"), (3, "ends")]
    files = list((workdir / "runs" / "paper" / "play").glob("*.hour"))
    assert sorted(file.name[:9] for file in files) == ["pong-0000", "pong-0001"]
    assert (workdir / "runs" / "paper" / "hours2" / "report" / "report.html").is_file()


@pytest.mark.slow
def test_a_run_waits_for_another_that_it_needs(workdir, capsys):
    """Students of a teacher that learns begin when it has ended, though there is a place for them before."""
    short = ["--fit.config", "conf/debug.yaml", "--fit.data.max_frames", "400", "--fit.trainer.max_epochs", "2"]
    main(["reproduce", "figure5", "--hours", "1", "--seeds", "[0, 1]", "--jobs", "3", *short])
    folder = workdir / "runs" / "paper" / "hours1"
    assert began_and_ended(capsys.readouterr().err) == [(number, "begins") for number in (1, 2, 3)]
    assert (folder / "report" / "figure5.csv").is_file()
    ended = (folder / "online-teacher-seed0" / "scores.json").stat().st_mtime_ns
    assert all((folder / f"online-student-seed{seed}" / "config.yaml").stat().st_mtime_ns > ended for seed in (0, 1))


def test_an_interrupted_run_goes_on(ended_but_one, workdir, capsys):
    """What has begun goes on from its newest whole checkpoint."""
    ended_but_one.mkdir(parents=True)
    command = listed(capsys, "table1", "--hours", "2")[ended_but_one.name]
    assert "--ckpt_path last" in command
    assert f"--run_dir {ended_but_one.relative_to(workdir)}" in command


@pytest.mark.slow
def test_interrupted_it_says_how_to_go_on(workdir):
    """Ctrl-C stops the run, which keeps what it learned; the same command then goes on from there, and ends.

    Even from the checkpoint before the last, where the last is gone, and so without losing anything.
    """
    command = [sys.executable, "-m", "distill", "reproduce", "table2", "--hours", "3", *TINY[:2], *TINY[4:]]
    command += ["--fit.data.game", "{freeway: freeway, pong: pong}"]  # two of the table's games do
    command += ["--fit.model.network", "multi3", "--fit.trainer.max_epochs", str(HOURS)]
    folder = workdir / "runs" / "paper" / "hours3" / "kl-multi10-10games-seed0"
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        for line in process.stderr:
            if (folder / "checkpoints" / "last.ckpt").is_file() or "learn hour 3" in line:
                break
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=90)
    assert process.returncode == 130
    assert "the same command goes on" in said
    assert not (folder / "scores.json").exists()
    assert "resume with" in folder.with_name(f"{folder.name}.log").read_text()
    last, before = (folder / "checkpoints" / name for name in (LAST, BEFORE))
    last.replace(before)
    begun = read_checkpoint(before)["epoch"] + 1  # hours; how many depends on the machine
    with (folder / "metrics.csv").open() as file:
        first = next(csv.DictReader(file))
    assert begun < HOURS
    again = subprocess.run(command, capture_output=True, text=True)
    assert "--ckpt_path last" in again.stderr
    with (folder / "metrics.csv").open() as file:
        steps = [int(row["step"]) for row in csv.DictReader(file)]
    assert steps[0] == int(first["step"])
    assert steps == sorted(steps)
    assert (folder / "scores.json").is_file()


def test_figure_5_is_a_config_of_online(workdir, capsys):
    """conf/paper/online.yaml names a teacher's and a student's config that belong together."""
    with pytest.raises(SystemExit):
        main(["online", "--config", "conf/paper/online.yaml", "--run_dir", "conf"])
    assert "conf is not empty" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--hours", "0"], "hours is 0"),
        (["--jobs", "0"], "jobs is 0"),
        (["--seeds", "[]"], "one at least"),
        (["--seeds", "[1, 1]"], "none twice"),
        (["--games", "[]"], "games is []; there must be one at least"),
        (["--seeds", "[-1]"], "seeds[0] is -1; it must be 0 or more"),
        (["--fit.model.decay", "2"], "decay is 2.0; it must be between 0 and 0.9999"),
        (["tableX"], "'table1', 'tableB1', 'tableB2'"),
        (["--games", "[pongo]"], "games[0] 'pongo' is unknown; choose one of beam_rider, "),
        (["tableB2", "--games", "[pong]"], "tableB2 has no run of pong alone"),
    ],
)
def test_mistakes(args, message, workdir, capsys):
    """One line says what is wrong, and nothing is made."""
    with pytest.raises(SystemExit) as stop:
        main(["reproduce", *args])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (workdir / "runs").exists()
