"""What a pair of runs becomes: curves, a number for steadiness, a figure."""

import csv
import shutil
import struct

import pytest
import torch
import yaml

from distill.cli import main
from distill.networks import build
from distill.report.curves import pairs_of, read_curves, running_best, unsteadiness
from distill.weights.best import BestNetworks, rounded


@pytest.fixture
def pair(tmp_path):
    """The files of a teacher's run and of two students', in the folder of `online`; scores are made up."""
    writer = BestNetworks(tmp_path / "pair" / "teacher", "pong", 0)
    (tmp_path / "pair" / "teacher" / "config.yaml").write_text("{}")
    torch.manual_seed(0)
    for hour, score in enumerate([-21.0, -10.0, -14.0, 5.0]):
        writer.scored(hour, score, rounded(build("net3", num_actions=6)), {"game": "pong"})
    writer.end()
    writer.close()
    for seed in range(2):
        run = tmp_path / "pair" / f"student{seed}"
        run.mkdir()
        (run / "config.yaml").write_text(yaml.safe_dump(CONFIG))
        rows = [f"{hour - 1},{labels},{hour * 8 - 1},\n,,{8 * hour},{score}\n" for hour, labels, score in STUDENT]
        (run / "metrics.csv").write_text("epoch,online/teachers_hour,step,val/score\n" + "".join(rows))
    return tmp_path / "pair"


CONFIG = {
    "trainer": {"callbacks": [{"class_path": "callbacks.online_swap.OnlineSwap"}]},
    "model": {"class_path": "distill.student.StudentModule", "init_args": {}},
    "data": {"init_args": {"game": "pong", "teacher": "runs/online/0/teacher", "updates_per_hour": 8}},
}
STUDENT = [(1, 0.0, -21.0), (2, 1.0, -15.0), (3, 1.0, -12.0)]


def refused(capsys, *args) -> str:
    with pytest.raises(SystemExit) as stop:
        main(["report", *map(str, args)])
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_what_never_falls_is_steady():
    """Unsteadiness is the root mean square of what is missing to the best score so far; order is by hour."""
    assert running_best({2: 4.0, 0: 1.0, 1: 5.0}) == {0: 1.0, 1: 5.0, 2: 5.0}
    assert unsteadiness({0: 1.0, 1: 1.0, 2: 8.0}) == 0
    assert unsteadiness({0: 4.0, 1: 1.0, 2: 0.0, 3: 5.0}) == pytest.approx(2.5)  # 0, 3, 4 and 0 below: 25 / 4


def test_curves_are_read_by_the_clock(pair):
    """Scores stand at the hours that had passed, whatever Lightning counted; swaps where another began to label."""
    curves = read_curves([pair])
    assert curves.dqn == {0: -21.0, 1: -10.0, 2: -14.0, 3: 5.0}
    assert curves.students == {name: {1: -21.0, 2: -15.0, 3: -12.0} for name in ("student0", "student1")}
    assert curves.swaps == (1,)
    assert read_curves([pair / "student1", pair / "teacher", pair / "student0"]) == curves


def test_the_figure_and_its_numbers(pair, workdir, capsys):
    """`report` writes a picture and a table of the same name, and prints steadiness over the common hours."""
    main(["report", str(pair), "--out", "figures"])
    with (workdir / "figures" / "figure5.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["best"] for row in rows] == ["-21.0", "-10.0", "-10.0", "5.0"]
    assert [row["student1"] for row in rows] == ["", "-21.0", "-15.0", "-12.0"]
    assert [row["swap"] for row in rows] == ["0", "1", "0", "0"]
    picture = (workdir / "figures" / "figure5.png").read_bytes()
    assert struct.unpack(">II", picture[16:24]) == (1200, 675)
    printed = capsys.readouterr().out
    assert "pong, hours 1 to 3" in printed
    assert "2.31" in printed  # the DQN was 4 below its best in one hour of three: the root of 16 / 3
    assert "| dqn | 5.0 | 5.0 | 2.31 |" in (workdir / "figures" / "report.md").read_text()


def test_several_teachers_have_their_own_students(pair, workdir):
    """With two teachers, a student belongs to the one that its config names, wherever it lies."""
    other = workdir / "other" / "teacher"
    shutil.copytree(pair / "teacher", other)
    moved = workdir / "elsewhere"
    shutil.copytree(pair / "student1", moved)
    config = {**CONFIG, "data": {"init_args": {**CONFIG["data"]["init_args"], "teacher": str(other)}}}
    (moved / "config.yaml").write_text(yaml.safe_dump(config))
    assert pairs_of([pair / "student0", other, moved, pair / "teacher"]) == [
        [other, moved],
        [pair / "teacher", pair / "student0"],
    ]


def test_mistakes(pair, workdir, capsys):
    """What is no pair of runs is refused in one line."""
    student = pair / "student1"
    assert "not 0" in refused(capsys, student)
    assert "beside" in refused(capsys, pair / "teacher")
    assert "is no run's folder" in refused(capsys, "nowhere")
    assert "must be a folder" in refused(capsys, pair, "--out", "figure.pdf.png")
    config = {**CONFIG, "data": {"init_args": {**CONFIG["data"]["init_args"], "game": "qbert"}}}
    (student / "config.yaml").write_text(yaml.safe_dump(config))
    assert "is a student of qbert" in refused(capsys, pair)
    (student / "config.yaml").write_text("a: [")
    assert "is no run's config" in refused(capsys, student)
    assert not (workdir / "report").exists()


def test_students_of_one_name_are_two(pair, tmp_path):
    """Runs whose folders have the same name, as those that `fit` numbers, are told apart by where they lie."""
    for name in ("a", "b"):
        shutil.move(pair / f"student{int(name == 'b')}", tmp_path / name / "0")
    curves = read_curves([pair / "teacher", tmp_path / "a" / "0", tmp_path / "b" / "0"])
    assert sorted(curves.students) == ["a/0", "b/0"]
