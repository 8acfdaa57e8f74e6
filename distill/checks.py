"""Arguments refused in one line: what is wrong, and what is allowed. Each raises a `ValueError`."""

import math
import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from distill.errors import DistillError


def at_least(low: float, **values: float) -> None:
    """Raise for a value below a bound."""
    for name, value in values.items():
        if not value >= low:
            raise DistillError(f"{name} is {value}; it must be {low} or more")


def above_zero(hint: str = "", **values: float) -> None:
    """Refuse 0, what is below it, and what is infinite."""
    for name, value in values.items():
        if not 0 < value < math.inf:
            raise DistillError(f"{name} is {value}; it must be above 0{', and finite' if value > 0 else ''}{hint}")


def between(low: float, high: float, **values: float) -> None:
    """Raise for a value outside two bounds."""
    for name, value in values.items():
        if not low <= value <= high:
            raise DistillError(f"{name} is {value}; it must be between {low} and {high}")


def one_of(choices: Iterable[str], **values: str) -> None:
    """Refuse a name that is not among the choices."""
    choices = list(choices)
    for name, value in values.items():
        if value not in choices:
            raise DistillError(f"{name} {value!r} is unknown; choose one of {', '.join(choices)}")


def multiple(name: str, value: int, of: str, unit: int) -> None:
    """Raise for a value that is no multiple of a unit."""
    if value % unit:
        raise DistillError(f"{name} is {value}; it must be a multiple of {of}, {unit}")


def output(
    name: str,
    written: str | os.PathLike[str] | None,
    *read: str | os.PathLike[str] | None,
    overwrite: bool = False,
) -> None:
    """Check that a file can be written, before the work whose result it is to hold; make its folder.

    Args:
        name: The option that gives it.
        written: The file; None where none is to be written.
        read: What the command reads, which it may not write over.
        overwrite: Whether it may replace a file.

    Raises:
        ValueError: for a folder, for what is read, and for a file that exists.
        OSError: where nothing can be written.
    """
    if not written:
        return
    if os.path.isdir(written):
        raise DistillError(f"{name} is {written}, which is a folder; give a file")
    for path in read:
        if path and os.path.exists(written) and os.path.exists(path) and os.path.samefile(written, path):
            raise DistillError(f"{name} is {written}, which is what is read; give another file")
    if os.path.isfile(written) and not overwrite:
        raise DistillError(f"{name} is {written}, which exists; give another file, or --overwrite to replace it")
    if not os.path.exists(written):  # else a pipe, a terminal
        folder = Path(written).resolve().parent
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
