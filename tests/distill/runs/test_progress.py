"""What runs on real games say of how far they are."""

import re

import pytest

from distill.cli import main
from distill.runs.status import LINE_SECONDS_VARIABLE

SMALL = ["fit", "--config", "conf/compress.yaml", "--config", "conf/debug.yaml", "--model.network", "net3"]
NUMBERS = r"hour \d\.\d\d/2 · \d:\d\d left"


@pytest.fixture
def said(workdir, make_teacher, monkeypatch, capsys):
    """Return what runs on a shrunken conf/compress.yaml print to standard error, a line at each look."""
    monkeypatch.setattr("distill.runs.status.LOOK_SECONDS", 0.0)
    monkeypatch.setattr("distill.runs.progress.SHOWN_AFTER_SECONDS", 0.0)
    monkeypatch.setenv(LINE_SECONDS_VARIABLE, "0")

    def run(*args: str) -> str:
        main([*SMALL, "--data.teacher", make_teacher("pong"), *args])
        return capsys.readouterr().err

    return run


def test_each_phase_says_how_far_it_is(said):
    """Without a terminal lines give phase, hour, time left and figures, in play, in learning and in scoring."""
    lines = said("--data.overlap=false").splitlines()
    phases = [line.split()[0] for line in lines]
    assert [phase for at, phase in enumerate(phases) if phase != phases[at - 1]] == [
        *("play", "learn", "score", "play", "learn", "score", "done")
    ]
    for line in lines[:-1]:
        assert re.match(rf"\w+ +{NUMBERS} · .*\d:\d\d elapsed$", line)
    assert any(re.match(rf"play  {NUMBERS} · 240/240 steps", line) for line in lines)
    assert any(re.match(rf"learn {NUMBERS} · agreement \S+% · loss \S+ · \d+ updates/s", line) for line in lines)
    scoring = [line for line in lines if line.startswith("score")]
    assert re.match(rf"score {NUMBERS} · 4 frames, \S+ so far · agreement", scoring[1])
    assert any(re.match(rf"score {NUMBERS} · 1/1 episodes, mean \S+ · agreement", line) for line in scoring)
    assert any(re.match(rf"score {NUMBERS} · teacher \d/1 episodes, mean ", line) for line in scoring)
    assert re.match(r"done  hour 2.00/2 · took \d:\d\d · agreement", lines[-1])
    assert re.search(r"0:00 left · .* teacher 1/1 episodes|0:00 left · teacher 1/1 episodes", scoring[-1])


def test_hours_of_a_store_are_not_played(said):
    """A run whose hours are all found says nothing of play, and plans no time for it."""
    said("--run_dir", "first", "--data.store", "hours", "--data.overlap=false")
    lines = said("--run_dir", "second", "--data.store", "hours", "--data.overlap=false").splitlines()
    assert not any("steps" in line for line in lines)


def test_a_learning_teacher_shows_its_warm_up(said):
    """The steps before the first update are counted, which may be minutes."""
    own = ["--model", "distill.teacher.TeacherModule", "--data.teacher=null", "--data.warmup_steps=200"]
    lines = said(*own, "--data.refills_per_hour=2", "--model.score_every_hours=2").splitlines()
    assert any(re.match(rf"play  {NUMBERS} · 200/320 steps", line) for line in lines)
    assert lines[-1].startswith("done")


@pytest.mark.parametrize("columns", [20, 80])
def test_a_terminal_of_any_width_is_drawn_on(said, monkeypatch, columns):
    """No line is longer than the terminal, from the first to the last."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": str(columns)}.items():
        monkeypatch.setenv(name, value)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said("--trainer.max_epochs=1"))
    lines = re.split(r"[\r\n]", plain)
    assert max(map(len, lines)) <= columns
    assert any(line.startswith("done") for line in lines)
    if columns == 80:
        drawn = [line for line in lines if re.match("play|learn|score", line)]
        assert drawn
        assert all(re.match(r"\w+ +hour \d\.\d\d/1  \d:\d\d left", line) for line in drawn)
