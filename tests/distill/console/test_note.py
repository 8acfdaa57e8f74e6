"""What a terminal shows while PyTorch is imported."""

import os
import sys

import pytest

from distill.console.note import note


def shown(monkeypatch, text: str, **environment: str) -> str:
    """Return what a terminal of such an environment is sent for a note."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal, monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with note(text):
            during = os.read(master, 4096).decode()
        terminal.write("over")
    after = os.read(master, 4096).decode()
    os.close(master)
    assert after.endswith("over")
    return during + "|" + after


@pytest.mark.parametrize("columns", ["20", "80"])
def test_a_note_comes_and_goes(monkeypatch, columns):
    """It takes one line, however narrow, and is erased."""
    said = shown(monkeypatch, "word " * 99, TERM="xterm", COLUMNS=columns)
    during, after = said.split("|")
    assert len(during) == int(columns) - 1
    assert "\n" not in said
    assert after == "\r\x1b[2Kover"


def test_a_dumb_terminal_gets_a_plain_line(monkeypatch):
    """Where nothing can be erased, the line ends."""
    assert shown(monkeypatch, "loading", TERM="dumb") == "loading\r\n|over"


def test_elsewhere_nothing_is_shown(capsys):
    """Into a file no note is written."""
    with note("loading"):
        pass
    assert capsys.readouterr() == ("", "")
