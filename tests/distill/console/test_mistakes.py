"""How mistakes are said."""

import os

import pytest

from distill.console.mistakes import allow_classes, fail


@pytest.mark.parametrize(
    ("rank", "everywhere", "said"),
    [
        ("0", False, "error: no room\n"),
        ("1", False, ""),
        ("1", True, "error: process 1: no room\n"),
    ],
)
def test_who_says_it(monkeypatch, capsys, rank, everywhere, said):
    """What all processes find the first one says; what one alone may find each says for itself."""
    monkeypatch.setenv("RANK", rank)
    with pytest.raises(SystemExit) as stop:
        fail("no room", code=1, everywhere=everywhere)
    assert stop.value.code == 1
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
