"""How mistakes are said."""

import os

import pytest

from distill.cli import main
from distill.console.mistakes import allow_classes
from distill.errors import DistillError


@pytest.mark.parametrize(
    ("rank", "code", "said"),
    [
        ("0", 1, "error: no room\n"),
        ("0", 2, "error: no room\n"),
        ("1", 2, ""),
        ("1", 1, "error: process 1: no room\n"),
    ],
)
def test_who_says_it(monkeypatch, capsys, rank, code, said):
    """A mistake the first of several processes says; what failed, and may have failed in one alone, each says."""

    def failing(args: list[str]) -> None:
        raise DistillError("no room", code)

    monkeypatch.setenv("RANK", rank)
    monkeypatch.setattr("distill.cli.run", failing)
    with pytest.raises(SystemExit) as stop:
        main(["fit"])
    assert stop.value.code == code
    assert capsys.readouterr().err == said


def test_a_folder_that_may_not_be_entered_holds_no_classes(workdir, monkeypatch):
    """Where the working directory has one, as a mounted disk's lost+found, it is passed over."""
    (workdir / "lost").mkdir()
    stat = os.stat

    def refusing(path, *args, **kwargs):
        if "lost/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, *args, **kwargs)

    monkeypatch.setattr(os, "stat", refusing)
    with pytest.raises(PermissionError):
        (workdir / "lost" / "__init__.py").stat()
    allow_classes()
