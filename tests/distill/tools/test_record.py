"""A window on a virtual screen, keys pressed as a person would, and the file that comes of it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from distill.cli import main
from distill.tools.play_log import read, verify

DISPLAY = ":97"


def test_mistakes_are_one_line(tmp_path, capsys):
    """An unknown game, a size that is none, and a file that exists are refused before any window opens."""
    (tmp_path / "log.txt").write_text("precious")
    for args, reason in (
        (["pongg"], "did you mean pong"),
        (["pong", "--zoom", "0"], "zoom is 0.0; it must be above 0"),
        (["pong"], "log.txt exists; give a new file"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(["record", *args, "--out", str(tmp_path / "log.txt")])
        assert stop.value.code == 2
        error = capsys.readouterr().err
        assert reason in error
        assert error.count("\n") == 1
    assert (tmp_path / "log.txt").read_text() == "precious"


@pytest.fixture
def screen(monkeypatch):
    """A virtual screen."""
    if not (shutil.which("Xvfb") and shutil.which("xdotool")):
        pytest.skip("Xvfb and xdotool are not installed")
    server = subprocess.Popen(["Xvfb", DISPLAY, "-screen", "0", "800x800x24"], stderr=subprocess.DEVNULL)
    environment = {**os.environ, "DISPLAY": DISPLAY, "PYTHONUNBUFFERED": "1"}
    time.sleep(1)
    yield environment
    server.terminate()
    server.wait()


def keys(environment: dict, *args: str) -> None:
    subprocess.run(["xdotool", *args], env=environment, check=True, stdout=subprocess.DEVNULL, timeout=60)


def wait_for(condition, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@pytest.mark.slow
def test_a_person_plays(screen, tmp_path):
    """An episode of Breakout is played with the keyboard; its log replays frame by frame to the score it printed."""
    path, said = tmp_path / "log.txt", tmp_path / "said.txt"
    recorder = started(screen, "breakout", path, said)
    wait_for(path.exists, 60)
    time.sleep(2)
    assert frames(path) == 0  # it waits for a key
    keys(screen, "keydown", "d")
    wait_for(lambda: frames(path) > 30, 30)
    keys(screen, "keyup", "d", "key", "p")
    time.sleep(1)
    paused = frames(path)
    time.sleep(1)
    assert frames(path) == paused
    keys(screen, "keydown", "space")
    wait_for(lambda: "episode 0" in said.read_text(), 120)
    keys(screen, "keyup", "space", "keydown", "a")
    wait_for(lambda: read(path)[1][-1].episode == "1", 30)
    keys(screen, "keyup", "a", "key", "Escape")
    assert recorder.wait(timeout=30) == 0
    _, rows = read(path)
    first = [row for row in rows if row.episode == "0"]
    assert {row.action for row in first} >= {1, 3}
    assert f"episode 0: {sum(row.reward for row in first)}\n{len(rows):,} frames in {path}\n" == said.read_text()
    for verified in verify("breakout", rows, lambda row: None):
        assert verified.diverges == ""
        assert len(verified.episode.actions) >= verified.episode.frames - 1
    assert {row.episode for row in rows} == {"0", "1"}


@pytest.mark.slow
def test_a_killed_recorder_loses_nothing(screen, tmp_path):
    """What was played until the recorder is killed is in the file, and can be verified."""
    path = tmp_path / "log.txt"
    recorder = started(screen, "pong", path, tmp_path / "said.txt")
    wait_for(path.exists, 60)
    time.sleep(2)
    keys(screen, "keydown", "w")
    wait_for(lambda: frames(path) > 60, 30)
    recorder.kill()
    recorder.wait()
    keys(screen, "keyup", "w")
    (verified,) = verify("pong", read(path)[1], lambda row: None)
    assert verified.diverges == ""
    assert len(verified.episode.actions) >= 59


def started(environment: dict, game: str, path: Path, said: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "distill", "record", game, "--out", str(path), "--player", "Ada"]
    with said.open("w") as out:
        return subprocess.Popen(command, env=environment, stdout=out)


def frames(path: Path) -> int:
    return len(path.read_text().splitlines()) - 2
