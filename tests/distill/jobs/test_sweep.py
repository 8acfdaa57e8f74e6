"""`sweep`: the runs of a sweep's file, one after another, interrupted and gone on with; and what they come to."""

import contextlib
import csv
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from distill.cli import main
from distill.jobs.sweep_results import as_csv, as_png, print_results, rows_of

TEMPERATURES = [
    *("conf/sweep/temperature.yaml", "--count", "2", "--run_dir", "sweep"),
    *("--fit.config", "conf/debug.yaml", "--fit.data.hour_steps", "240", "--fit.data.eval_episodes=2"),
    *("--fit.data.max_frames=400", "--fit.data.store=null"),
]


@contextlib.contextmanager
def interrupted(when):
    """Press Ctrl-C as soon as something is the case, unless all has ended before."""
    over = threading.Event()

    def wait() -> None:
        end = time.monotonic() + 200
        while not when() and time.monotonic() < end:
            if over.wait(0.05):
                return
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=wait, daemon=True).start()
    try:
        yield
    finally:
        over.set()


def hours(folder: Path) -> dict[str, int]:
    """Tell files apart: one that is written again is another; one that is used is not."""
    return {path.name: path.stat().st_ino for path in folder.rglob("*.hour")}


@pytest.mark.slow
def test_a_sweep_is_interrupted_and_goes_on(workdir, monkeypatch, capsys):
    """Ctrl-C stops the present run and says how to go on; what ended then stays, the other goes on from its checkpoint.

    All share one play, log offline, and end in a table and a figure.
    """
    for name in ("WANDB_MODE", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_DATA_DIR", str(workdir / "staging"))
    sweep = workdir / "sweep"
    begun = sweep / "1" / "checkpoints" / "last.ckpt"
    with interrupted(begun.is_file), pytest.raises(SystemExit) as stop:
        main(["sweep", *TEMPERATURES])
    assert stop.value.code == 130
    out, err = capsys.readouterr()
    assert "[2/2] 1 (model.temperature=0.1): " in err
    assert re.search(r"^\[1/2\] 0 \(model.temperature=1.0\) \w+ +hour \d", err, re.MULTILINE)
    assert (sweep / "0" / "scores.json").is_file()
    assert not (sweep / "1" / "scores.json").exists()
    assert "resume with" in (sweep / "1.log").read_text()
    ended, played = (sweep / "0" / "scores.json").stat().st_mtime_ns, hours(sweep / "hours")
    assert len(played) == 2

    command = err.splitlines()[-1].partition("go on with: python -m distill ")[2]
    main(shlex.split(command))
    out, err = capsys.readouterr()
    assert "[1/2] 0 (model.temperature=1.0): has ended before" in err
    assert "--ckpt_path last" in err
    assert (sweep / "0" / "scores.json").stat().st_mtime_ns == ended
    assert hours(sweep / "hours") == played
    for number, temperature in enumerate((1.0, 0.1)):
        config = yaml.safe_load((sweep / str(number) / "config.yaml").read_text())
        assert config["model"]["init_args"]["temperature"] == temperature
        assert list((sweep / str(number)).glob("wandb/offline-run-*"))
    assert "share above" in out
    with (sweep / "sweep.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["model.temperature"] for row in rows] == ["1.0", "0.1"]
    scores = json.loads((sweep / "1" / "scores.json").read_text())
    assert float(rows[1]["score"]) == scores["student"]["mean"]
    assert float(rows[1]["random_adjusted_ratio"]) == scores["random_adjusted_ratio"]
    assert struct.unpack(">II", (sweep / "sweep.png").read_bytes()[16:24]) == (960, 660)

    for change in (["--seed", "1"], ["--fit.model.network=net2"]):  # the same folder is not another sweep's
        with pytest.raises(SystemExit) as stop:
            main(["sweep", *TEMPERATURES, *change])
        assert stop.value.code == 2
        assert "was begun with another" in capsys.readouterr().err


@pytest.mark.slow
def test_two_commands_divide_the_runs(workdir):
    """Of two commands in one folder each run is done once, though the first is killed; the other ends it all."""
    command = [sys.executable, "-m", "distill", "sweep", *TEMPERATURES, "--fit.trainer.max_epochs=40"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as first:
        next(line for line in first.stderr if "[1/2] 0 " in line)
        with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as second:
            assert "another process runs it" in second.stderr.readline()
            first.kill()
            out, err = second.communicate(timeout=200)
    assert second.returncode == 0, err
    assert "share above" in out
    for number in range(2):
        said = (workdir / "sweep" / f"{number}.log").read_text()
        assert said.count("run: ") == 2, said  # once as it begins, once as it ends


def file(folder: Path, parameters: dict, **content) -> str:
    command = ["${env}", "${interpreter}", "-m", "distill", "fit", "--config=conf/compress.yaml", "${args}"]
    whole = {"method": "grid", "parameters": parameters, "command": command} | content
    (folder / "mine.yaml").write_text(yaml.safe_dump(whole))
    return "mine.yaml"


@pytest.mark.parametrize(
    ("parameters", "content", "message"),
    [
        ({"model.temprature": {"values": [1.0]}}, {}, "there is no option model.temprature; did you mean temperature?"),
        ({"modle.temperature": {"values": [1.0]}}, {}, "there is no option modle.temperature"),
        ({"model.temperature": {"values": [1.0, -1.0]}}, {}, "temperature is -1.0; it must be above 0"),
        ({"model.temperature": {"values": []}}, {}, "model.temperature has no values"),
        ({"model.temperature": {"values": [1.0]}}, {"method": "annealing"}, "method is annealing; it must be one of"),
        ({"model.temperature": {"values": [1.0]}}, {"method": "random"}, "give --count, or the file a run_cap"),
    ],
)
def test_mistakes(workdir, capsys, parameters, content, message):
    """One line says what is wrong with any of the points, before the first is run."""
    with pytest.raises(SystemExit) as stop:
        main(["sweep", file(workdir, parameters, **content)])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not (workdir / "runs").exists()


def test_a_run_that_fails_is_named(workdir, monkeypatch, capsys):
    """A run that fails is not the end of the others; which failed, and why, comes last, and the code is 1.

    What fails here: a store that cannot be made, below a file.
    """
    (workdir / "taken").write_text("")
    with pytest.raises(SystemExit) as stop:
        main(["sweep", file(workdir, {"data.store": {"values": ["taken/hours"]}}), "--fit.config", "conf/debug.yaml"])
    assert stop.value.code == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("error: 1 of 1 runs failed; go on with: ")
    assert "taken/hours" in last.partition(": 0 (")[2]


def scored(mean: float, width: float = 1.0) -> dict:
    teacher = {"mean": 18.0, "interval95": [17.4, 18.6], "episodes": 30}
    own = {"mean": mean, "interval95": [mean - width, mean + width], "episodes": 30}
    return {"game": "pong", "teacher": teacher, "student": own, "ratio": mean / 18, "random_adjusted_ratio": 0.5}


def drawn(monkeypatch, varied: list[str], rows: list, *, grid: bool = True) -> list:
    """Give the panels of a figure, as matplotlib holds them."""
    from matplotlib.figure import Figure

    figures = []
    kept = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda self, *args, **more: (figures.append(self), kept(self, *args, **more))
    )
    assert as_png("mine", varied, rows, grid=grid).startswith(b"\x89PNG")
    return figures[0].axes


def test_scores_stand_against_the_temperature(monkeypatch):
    """One varied number is a logarithmic axis, in order, with the teacher's line; intervals reach as far as they do."""
    points = [(1.0, -12.0), (0.01, 17.0), (0.1, 9.0)]
    rows = [
        row for i, (t, mean) in enumerate(points) for row in rows_of(str(i), {"model.temperature": t}, scored(mean))
    ]
    (panel,) = drawn(monkeypatch, ["model.temperature"], rows)
    assert panel.get_xscale() == "log"
    assert (panel.get_xlabel(), [text.get_text() for text in panel.get_xticklabels()]) == (
        "temperature",
        ["0.01", "0.1", "1"],
    )
    (bars,) = panel.containers
    assert bars.lines[0].get_xydata().tolist() == [[0.01, 17.0], [0.1, 9.0], [1.0, -12.0]]
    (reach,) = bars.lines[2]
    assert reach.get_segments()[0].tolist() == [[0.01, 16.0], [0.01, 18.0]]
    assert panel.lines[0].get_ydata() == [18.0, 18.0]
    assert {text.get_text() for text in panel.get_legend().get_texts()} == {"teacher", "student"}


def test_names_stand_side_by_side(monkeypatch):
    """Of two varied names one is the axis, in the file's order, the other makes series; each game has a panel."""
    points = [
        {"model.network": network, "model.loss_name": loss} for network in ("dqn", "net1") for loss in ("mse", "kl")
    ]
    games = {"pong": scored(3.0), "qbert": scored(5.0)}
    rows = [row for number, point in enumerate(points) for row in rows_of(str(number), point, {"games": games})]
    panels = drawn(monkeypatch, ["model.network", "model.loss_name"], rows)
    assert [panel.get_title() for panel in panels] == ["mine: pong", "mine: qbert"]
    for panel in panels:
        assert [text.get_text() for text in panel.get_xticklabels()] == ["dqn", "net1"]
        assert [bars.get_label() for bars in panel.containers] == ["loss_name mse", "loss_name kl"]


def test_drawn_points_have_a_panel_for_each_parameter(monkeypatch):
    """Where points are no grid, each parameter has a panel, and nothing is joined."""
    points = [{"model.temperature": 0.02, "model.network": "net1"}, {"model.temperature": 0.5, "model.network": "net2"}]
    rows = [row for number, point in enumerate(points) for row in rows_of(str(number), point, scored(1.0))]
    panels = drawn(monkeypatch, list(points[0]), rows, grid=False)
    assert [panel.get_xlabel() for panel in panels] == ["temperature", "network"]
    assert all(bars.lines[0].get_linestyle() == "None" for panel in panels for bars in panel.containers)


def test_a_learning_teacher_has_no_teacher(monkeypatch, capsys):
    """Runs without a teacher are drawn and listed without one."""
    own = {"mean": 2.0, "interval95": [1.0, 3.0], "episodes": 30}
    rows = rows_of("0", {"model.discount": 0.9}, {"game": "pong", "teacher": own})
    (panel,) = drawn(monkeypatch, [], rows)
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["score"]
    print_results("mine", ["model.discount"], rows)
    assert re.search(r"0\.9 +│ +2\.0 │ +1\.0 to 3\.0 │ +- │ +- │", capsys.readouterr().out)
    assert as_csv(rows).splitlines()[1] == "0,0.9,pong,2.0,1.0,3.0,30,,,,,"
