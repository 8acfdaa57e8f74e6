"""`report`: which run stands in which cell, what the cells say, and the files."""

import csv
import json
import re
import struct
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml

from distill.cli import main
from distill.report.published import DQN_SCORES, TABLE_1, TABLE_2, TABLE_B1, TABLE_B2
from distill.report.results import Experiment, Result, pool
from distill.runs.folder import run_folders
from distill.summary import geometric_mean


@pytest.fixture(scope="module")
def runs(write_run, tmp_path_factory):
    """Runs of all tables, some cells without one; scores are made up."""
    folder = tmp_path_factory.mktemp("runs")
    for seed, score in enumerate((10.0, 12.0, 17.0)):
        write_run(folder / f"kl{seed}", {"pong": (score, 20.0)}, seed=seed)
    write_run(folder / "kl-freeway", {"freeway": (30.0, 20.0)})
    write_run(folder / "nll", {"pong": (5.0, 20.0)}, loss="nll")
    write_run(folder / "nll-freeway", {"freeway": (10.0, 20.0)}, loss="nll")
    write_run(folder / "mse-qbert", {"qbert": (1163.9, 2163.9)}, loss="mse")
    write_run(folder / "warm", {"pong": (1.0, 20.0)}, temperature=1.0)
    for network, score, parameters in (("net1", 18.0, 427_874), ("net3", 16.0, 61_954), ("net5", -15.0, 4_894)):
        write_run(folder / network, {"pong": (score, 20.0)}, network=network, parameters=parameters)
    three = {"freeway": (20.0, 25.0), "pong": (10.0, 20.0), "qbert": (500.0, 1000.0)}
    write_run(folder / "multi3", three, network="multi3", hours=15)
    write_run(folder / "multi_dqn", three, network="multi3", loss=None, hours=15)
    write_run(folder / "multi10", three, network="multi10", hours=15)
    write_run(folder / "short", {"pong": (1.0, 20.0)}, hours=4)
    write_run(folder / "rerun", {"pong": (1.0, 20.0)}, seed=1)
    write_run(folder / "dagger", {"pong": (1.0, 20.0)}, beta=0.5)
    write_run(folder / "running", {"pong": (1.0, 20.0)}, seed=7)
    (folder / "running" / "scores.json").unlink()
    return folder


@pytest.fixture(scope="module")
def reported(runs, tmp_path_factory):
    """What the command writes of them."""
    out = tmp_path_factory.mktemp("out") / "report"
    main(["report", str(runs), "--out", str(out)])
    return out


def cells(path):
    with path.open() as file:
        return {(row["game"], row["student"]): row for row in csv.DictReader(file)}


def test_the_papers_numbers_agree_with_each_other():
    """Scores over the DQN's are the printed percentages, of which the printed means are the geometric ones."""
    for table in (TABLE_1, TABLE_B1, TABLE_B2, TABLE_2):
        for column, of in table.cells.items():
            for game, printed in of.items():
                # Scores are printed with one decimal, the DQN's, too.
                slack = 100 * 0.06 * (1 + printed.score / DQN_SCORES[game]) / DQN_SCORES[game]
                assert 100 * printed.score / DQN_SCORES[game] == pytest.approx(printed.percent, abs=slack + 0.06)
            if column in table.geometric_means:
                mean = geometric_mean([printed.percent for printed in of.values()])
                assert mean == pytest.approx(table.geometric_means[column], abs=0.15)


def test_seeds_are_taken_together(reported):
    """A cell is the mean of its seeds, with the interval of Student's t; of one seed, with that of its episodes."""
    pong = cells(reported / "table1.csv")["pong", "kl"]
    assert (float(pong["score"]), pong["seeds"], pong["interval_over"]) == (13.0, "0 1 2", "seeds")
    half = 4.303 * (13 / 3) ** 0.5  # standard deviation of 10, 12 and 17 is the root of 13
    assert float(pong["interval_low"]) == pytest.approx(13 - half)
    assert float(pong["interval_high"]) == pytest.approx(13 + half)
    assert float(pong["share"]) == pytest.approx(0.65)
    assert float(pong["above_random"]) == pytest.approx(33.7 / 40.7)
    assert (pong["paper_score"], pong["paper_share"], pong["hours"]) == ("16.3", "1.009", "5")
    freeway = cells(reported / "table1.csv")["freeway", "kl"]
    assert (freeway["interval_over"], freeway["interval_low"], freeway["interval_high"]) == ("episodes", "29.0", "31.0")


def test_each_run_stands_in_its_cell(reported):
    """Network, loss, games and teacher say which table and column a run belongs to; a dash stands for none."""
    found = {
        name: {cell for cell, row in cells(reported / f"{name}.csv").items() if row["runs"]}
        for name in ("table1", "tableB1", "tableB2", "table2", "temperatures_dqn")
    }
    three = {"freeway", "pong", "qbert"}
    losses = {("pong", "kl"), ("freeway", "kl"), ("pong", "nll"), ("freeway", "nll"), ("qbert", "mse")}
    assert found["table1"] == losses
    assert found["tableB1"] == {("pong", net) for net in ("net1", "net3", "net5")}
    assert found["tableB2"] == {(game, column) for game in three for column in ("kl", "multi_dqn")}
    assert found["table2"] == {(game, "kl") for game in three}
    assert found["temperatures_dqn"] == {("pong", "0.01"), ("pong", "1"), ("freeway", "0.01")}
    text = (reported / "report.md").read_text()
    assert "| Breakout | - | 33.9% | - | 77.6% | - | 94.7% |" in text
    assert f"| Pong | - | 94.4% | {25.7 / 40.7:.1%} | 94.9% | {33.7 / 40.7:.1%} | 100.9% |" in text


def test_scores_stand_with_interval_and_share_above_random(reported):
    """A row has the teacher's score, each student's with interval, share and seeds, and the paper's; means below."""
    text = (reported / "report.md").read_text()
    interval = " to ".join(f"{13 + sign * 4.303 * (13 / 3) ** 0.5:.1f}" for sign in (-1, 1))
    kl = f"13.0 ({interval}), {33.7 / 40.7:.1%}, 3 seeds"
    assert f"| Pong | 20.0 | - | 5.0 (4.0 to 6.0), {25.7 / 40.7:.1%} | {kl} | " in text
    assert "94.4%, 94.9%, 100.9% |" in text
    assert "| game | teacher | Multi-DQN | Multi-Dist-NLL | Multi-Dist-KL | paper: Multi-DQN, Multi-Dist-NLL, " in text
    mean = f"{((20 / 25) * (30.7 / 40.7) * ((500 - 163.9) / (1000 - 163.9))) ** (1 / 3):.1%}"
    assert f"| mean of all 3 |  | {mean} | - | {mean} | 83.5%, 105.1%, 116.9% |" in text


def test_what_learned_without_a_teacher_is_compared_with_the_others(reported):
    """Multi-DQN's share is of the teachers that the students beside it had."""
    row = cells(reported / "tableB2.csv")["qbert", "multi_dqn"]
    assert float(row["share"]) == 0.5
    assert row["teacher_parameters"] == ""


def test_means_are_over_the_same_games(reported):
    """A mean is over the games that every column has, and the paper's beside it over the same; its own comes below."""
    text = (reported / "report.md").read_text()
    shares = 20 / 25, 30.7 / 40.7, (500 - 163.9) / (1000 - 163.9)
    share = f"{(shares[0] * shares[1] * shares[2]) ** (1 / 3):.1%}"
    assert f"| mean of all 3 | {share} | 83.5% | - | 105.1% | {share} | 116.9% |" in text
    mean = f"{(102.9 * 99.6 * 132.9) ** (1 / 3):.1f}%"
    assert f"| mean of 3 | {share} | {mean} |" in text
    assert "| mean of all 10 | - | 89.3% |" in text
    assert "There is no game in which every student is above random" in text  # table 1: no game has all losses


def test_runs_are_found_however_deep(runs, tmp_path):
    """A folder stands for all runs below it, near and far, but for none within a run; one without any is refused."""
    (tmp_path / "all").mkdir()
    (tmp_path / "all" / "some").symlink_to(runs)
    (tmp_path / "empty").mkdir()
    assert run_folders([tmp_path / "all"]) == [tmp_path / "all" / "some" / run.name for run in run_folders([runs])]
    assert len(run_folders([runs, runs / "net1"])) == len(run_folders([runs])) == len([*runs.iterdir()])
    near, far = tmp_path / "mixed" / "mine", tmp_path / "mixed" / "online" / "0" / "student0"
    for run in (near, far, near / "wandb" / "files"):
        run.mkdir(parents=True)
        (run / "config.yaml").touch()
    assert run_folders([tmp_path / "mixed"]) == [near, far]
    with pytest.raises(ValueError, match="holds none"):
        run_folders([runs, tmp_path / "empty"])


def test_what_is_left_out_is_said(reported):
    """Fewer hours, a seed twice, a run that has not ended, and another experiment are named with the reason."""
    notes = (reported / "report.md").read_text().split("## Notes")[1]
    assert re.search(r"short` is left out: it has fewer hours than `", notes)
    assert re.search(r"rerun` is left out: it has experiment and seed of `.*kl1", notes)
    assert re.search(r"running` is left out: it has not ended", notes)
    assert "warm" not in notes


def test_other_runs_have_a_table_too(reported, runs, write_run, tmp_path, capsys):
    """A run that is none of the paper's is a row, with what it is and what it scored; so is a network of one's own."""
    with (reported / "runs.csv").open() as file:
        (row,) = (row for row in csv.DictReader(file) if "dagger" in row["runs"])
    assert row["what"] == "dqn, kl, temperature 0.01, student acts"
    assert "| StudentModule: dqn, kl, temperature 0.01, student acts |" in (reported / "report.md").read_text()
    for seed in (0, 1):
        write_run(tmp_path / "own" / str(seed), {"pong": (10.0 + seed, 20.0)}, module="my_file.Wide", seed=seed)
    main(["report", str(tmp_path / "own"), "--out", str(tmp_path / "out")])
    with (tmp_path / "out" / "runs.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["module"], row["seeds"], row["score"]) == ("my_file.Wide", "0 1", "10.5")
    assert "Other runs" in capsys.readouterr().out


def test_an_objective_is_said_whole(write_run, tmp_path, capsys):
    """A row says temperature and beta of a loss that has them, and that the student acts, by either name of its share.

    What a config of before does not have is as if it were null: its run is a seed of the same experiment.
    """
    taught, own = {"lmbda": 0.5, "loss": "jsd"}, {"jsd_beta": 0.1, "loss": "jsd"}
    for name, seed, options in (
        *(("acts", 0, taught), ("own", 0, own), ("plain", 0, {"loss": "jsd"})),
        *(("reverse", 0, {"loss": "reverse_kl"}), ("reverse", 1, {"loss": "reverse_kl", "jsd_beta": None})),
    ):
        write_run(tmp_path / "runs" / f"{name}{seed}", {"pong": (10.0, 20.0)}, seed=seed, **options)
    main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    with (tmp_path / "out" / "runs.csv").open() as file:
        found = {(row["what"], row["seeds"]) for row in csv.DictReader(file)}
    assert found == {
        ("dqn, jsd, beta 0.5, temperature 0.01, student acts", "0"),
        ("dqn, jsd, beta 0.1, temperature 0.01", "0"),
        ("dqn, jsd, beta 0.5, temperature 0.01", "0"),
        ("dqn, reverse_kl, temperature 0.01", "0 1"),
    }


def test_more_play_and_learning_wins_whatever_the_order(write_run, tmp_path):
    """Hours are of 54,000 steps, not what a shrunken run calls one; of equal play, more updates stand in the table."""
    write_run(tmp_path / "a" / "fifth", {"pong": (3.0, 20.0)}, updates_per_hour=2_000)
    write_run(tmp_path / "b" / "shrunken", {"pong": (2.0, 20.0)}, hours=6, hour_steps=480)
    write_run(tmp_path / "c" / "again", {"pong": (4.0, 20.0)})
    write_run(tmp_path / "c" / "whole", {"pong": (5.0, 20.0)})
    for order in ("abc", "cba"):
        main(["report", *(str(tmp_path / folder) for folder in order), "--out", str(tmp_path / "out")])
        row = cells(tmp_path / "out" / "table1.csv")["pong", "kl"]
        assert (row["score"], row["hours"]) == ("4.0", "5")
        notes = (tmp_path / "out" / "report.md").read_text().split("## Notes")[1]
        assert re.search(r"fifth` is left out: it has fewer updates than `\S+again`", notes)
        assert re.search(r"shrunken` is left out: it has fewer hours than `\S+again`", notes)
        assert re.search(r"whole` is left out: it has experiment and seed of `\S+again`", notes)
    main(["report", str(tmp_path / "b"), "--out", str(tmp_path / "out")])
    assert "Ours: 0.05 hours of play" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("student.safetensors", b"no weights"),
        ("scores.json", b'{"game": "pong"}'),
        ("scores.json", b"[]"),
        ("scores.json", b"{"),
        ("config.yaml", b"model: {class_path: A, init_args: {}}\ntrainer: {}\ndata: {init_args: {game: pong}}"),
    ],
)
def test_what_no_run_writes_is_one_line(file, content, write_run, tmp_path, capsys):
    """A damaged run is refused by name where it was named; among others it is left out, with a note."""
    write_run(tmp_path / "all" / "good", {"pong": (10.0, 20.0)})
    bad = write_run(tmp_path / "all" / "bad", {"pong": (10.0, 20.0)}, seed=1)
    (bad / file).write_bytes(content)
    with pytest.raises(SystemExit) as stop:
        main(["report", str(bad), "--out", str(tmp_path / "out")])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert str(bad) in line
    main(["report", str(tmp_path / "all"), "--out", str(tmp_path / "out")])
    assert f"note: {bad}" in capsys.readouterr().out


def test_seeds_of_another_teacher_or_trainer_are_not_pooled(write_run, tmp_path):
    """Runs are seeds of one experiment only if all but the seed is equal, the teacher's weights included."""
    for seed, digest in enumerate(("a", "a", "b")):
        run = write_run(tmp_path / "runs" / str(seed), {"pong": (10.0, 20.0)}, seed=seed)
        scores = json.loads((run / "scores.json").read_text())
        scores["teacher"]["digest"] = digest
        (run / "scores.json").write_text(json.dumps(scores))
    others = {"devices": 2, "precision": "bf16-mixed", "num_nodes": 2, "strategy": "ddp"}
    for seed, (name, value) in enumerate(others.items(), 3):
        run = write_run(tmp_path / "runs" / str(seed), {"pong": (10.0, 20.0)}, seed=seed)
        config = yaml.safe_load((run / "config.yaml").read_text())
        config["trainer"][name] = value
        (run / "config.yaml").write_text(yaml.safe_dump(config))
    main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert cells(tmp_path / "out" / "table1.csv")["pong", "kl"]["seeds"] == "0 1"


class Page(HTMLParser):
    """Collects a page's tags, and checks that they close in order."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "source"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_needs_nothing_beside_it(reported):
    """The HTML holds its pictures, for light and dark, has no scripts, and names no other file."""
    page = Page()
    text = (reported / "report.html").read_text()
    page.feed(text)
    assert not page.open
    assert {tag for tag, _ in page.seen}.isdisjoint({"script", "link", "iframe"})
    sources = [of.get("src") or of.get("srcset") for tag, of in page.seen if tag in ("img", "source")]
    assert len(sources) == 2 * 5
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert len(set(sources)) == len(sources)
    assert "url(" not in text
    assert "Q*bert" in text


def test_pictures_and_numbers_are_files_too(reported):
    """Each table has a CSV file and a picture; the Markdown names them."""
    pictures = {"table1.png", "figure3.png", "figure4.png", "table2.png", "temperatures_dqn.png"}
    tables = {f"{name}.csv" for name in ("table1", "tableB1", "tableB2", "table2", "temperatures_dqn", "runs")}
    assert {path.name for path in reported.iterdir()} == pictures | tables | {"report.md", "report.html"}
    text = (reported / "report.md").read_text()
    for name in pictures:
        assert struct.unpack(">II", (reported / name).read_bytes()[16:24]) == (1200, 675)
        assert f"({name})" in text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "run holds what no run writes (JSONDecodeError: "),
        ("{}", "run holds what no run writes (KeyError: 'game')"),
        (None, "let the run end"),
    ],
)
def test_mistakes(content, message, write_run, workdir, capsys):
    """What is no ended run is refused in one line, and nothing is written."""
    run = write_run(workdir / "run", {"pong": (1.0, 2.0)}, loss="gap")
    (run / "scores.json").unlink()
    if content is not None:
        (run / "scores.json").write_text(content)
    with pytest.raises(SystemExit) as stop:
        main(["report", "run"])
    assert stop.value.code == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.splitlines()) == 1
    assert not (workdir / "report").exists()


def result(seed: int, mean: float, teacher: float) -> Result:
    what = Experiment("m", "dqn", "kl", 0.01, ("pong",), 5, 50_000, False, None, "")
    own, theirs = {"mean": mean, "interval95": (0.0, 0.0), "episodes": 30}, {"mean": teacher}
    return Result(Path("run"), what, seed, "", "pong", own, theirs, -20.7, 1, 1)


def test_a_row_has_all_its_teachers(write_run, tmp_path):
    """Where columns have other seeds, their teachers' means differ, and the row says from where to where."""
    for seed, teacher in ((0, 18.0), (1, 20.0)):
        write_run(tmp_path / "runs" / f"kl{seed}", {"pong": (10.0, teacher)}, seed=seed)
    write_run(tmp_path / "runs" / "nll", {"pong": (10.0, 18.0)}, loss="nll")
    main(["report", str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert "| Pong | 18.0 to 19.0 | - | 10.0 " in (tmp_path / "out" / "report.md").read_text()


def test_each_seeds_teacher_counts():
    """A teacher's score is the mean of those that its students' runs gave it."""
    assert pool([result(0, 1.0, 18.0), result(1, 3.0, 20.0)]).teacher == 19


def test_many_seeds_have_the_quantile_of_students_t():
    """With 23 seeds, beyond the table, the interval is that of 22 degrees of freedom."""
    scores = np.random.default_rng(0).normal(size=23)
    low, high = pool([result(seed, score, 1.0) for seed, score in enumerate(scores)]).interval95
    assert (high - low) / 2 == pytest.approx(2.0739 * scores.std(ddof=1) / 23**0.5, rel=1e-3)
