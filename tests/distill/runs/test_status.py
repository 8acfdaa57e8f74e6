"""A line that says how far something is, wherever it is shown."""

import io
import re

import pytest
from rich.console import Console

from distill.runs.status import LINE_SECONDS_VARIABLE, Line, Status, clock

LINE = Line(
    "learn",
    ["hour 2.34/6", "12:34 left"],
    ["agreement 97.1%", "loss 0.0123", "142 updates/s", "score 18.2", "1:23:45 elapsed"],
    0.4,
)


def drawn(width: int, line: Line = LINE) -> str:
    """Return what so many columns show of a line."""
    console = Console(file=io.StringIO(), force_terminal=True, width=width, color_system=None)
    console.print(line.drawn(width))
    return console.file.getvalue()


@pytest.mark.parametrize("width", range(1, 140))
def test_a_line_fits_its_terminal(width):
    """It takes one line, of no more columns than there are; hour and time left are there from 40 columns on."""
    text = drawn(width)
    assert text.count("\n") == 1
    assert len(text.rstrip("\n")) <= width
    if width >= 40:
        assert "learn  hour 2.34/6  12:34 left" in text


@pytest.mark.parametrize(
    ("width", "bar", "parts"), [(40, False, 0), (48, True, 0), (80, True, 2), (100, True, 3), (120, True, 4)]
)
def test_the_most_important_comes_first(width, bar, parts):
    """As far as there is room come the bar, then agreement, loss, updates a second and the rest, in this order."""
    text = drawn(width)
    assert ("━" in text) == bar
    assert [part in text for part in LINE.more] == [True] * parts + [False] * (len(LINE.more) - parts)


def test_elsewhere_lines_follow_each_other(monkeypatch, capsys):
    """In a file there is a line now and then, with all that is known, and the last at once."""
    monkeypatch.setenv(LINE_SECONDS_VARIABLE, "1000")
    status = Status(lambda: LINE)
    status.start()
    status.tell()
    status.tell()
    status.stop(Line("done", ["took 1:00"]))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "learn hour 2.34/6 · 12:34 left · agreement 97.1% · loss 0.0123 · 142 updates/s · score 18.2 · 1:23:45 elapsed",
        "done  took 1:00",
    ]


@pytest.mark.parametrize("term", ["dumb", "unknown"])
def test_a_dumb_terminal_is_a_file(monkeypatch, capsys, term):
    """Where nothing can be redrawn there is no control sequence, even if it is a terminal."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", term)
    status = Status(lambda: LINE)
    status.start()
    status.tell()
    status.stop()
    assert capsys.readouterr().err == f"{LINE}\n"


def test_a_terminal_shows_the_line_where_it_stands(monkeypatch, capsys):
    """On a terminal nothing but the line is shown, and in the end the last one in its place, or nothing."""
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")
    for last, erase in ((Line("done", ["took 1:00"]), False), (None, True)):
        status = Status(lambda: LINE)
        status.start()
        status.tell()
        status.stop(last, erase=erase)
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "\n")
        lines = {line.strip() for line in plain.split("\n")} - {""}
        assert lines == {"learn  hour 2.34/6  12:34 left"} | ({"done   took 1:00"} if last else set())


@pytest.mark.parametrize(
    ("seconds", "said"), [(0.4, "0:00"), (59.7, "1:00"), (754, "12:34"), (3599.6, "1:00:00"), (100_000, "27:46:40")]
)
def test_a_time_is_written(seconds, said):
    """Minutes and seconds, and hours from the first on."""
    assert clock(seconds) == said
