"""A run's folder: `runs/<name>/<number>`, claimed before anything is written and given back if nothing was."""

import os
import socket
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from distill.errors import DistillError
from distill.files.checkpoint import newest
from distill.files.store import locked, remove_unfinished
from distill.runs.process import rank

_made: set[Path] = set()
"""Folders that this process has made, which it may remove again."""
RUN_DIR_VARIABLE = "DISTILL_RUN_DIR"
"""Tells the processes that a Trainer starts which folder the first one claimed."""
PROCESSES_VARIABLES = ("WORLD_SIZE", "SLURM_NTASKS")
"""Return how many there are, where torchrun or srun has started them."""
CONFIG = "config.yaml"
"""Of a run, everything resolved."""
LOG = "log.txt"
"""In a run's folder, what the terminal showed."""
STOPPED = "stopped.txt"
"""In a run's folder, what has ended it before its time."""
OF_ONE_RUN = ("checkpoints", "play", "best")
"""Folders in a run's that no other run writes into."""
LOCK = "lock"
RESUME_LAST = "last"
"""As a checkpoint's path, the newest whole one of the run."""


def claim(name: str, run_dir: str | None, *, resuming: bool) -> Path:
    """Make a run's folder, which no other run then takes.

    Args:
        name: The run's name, without `run_dir`.
        run_dir: Which folder to take; None takes the next free number below `runs/<name>`.
        resuming: Whether `run_dir` may hold a run already.

    Raises:
        ValueError: where `run_dir` is a file or not empty, and without one where others started all processes.
    """
    if rank() != 0 and RUN_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUN_DIR_VARIABLE])
    if any(int(os.environ.get(name, 1)) > 1 for name in PROCESSES_VARIABLES):
        if run_dir is None:
            raise DistillError("run_dir is not given; processes that torchrun or srun starts cannot agree on a folder")
        if rank() != 0:
            return Path(run_dir)
    folder = _next_number(Path("runs") / name) if run_dir is None else _named(Path(run_dir), resuming)
    os.environ[RUN_DIR_VARIABLE] = str(folder.absolute())
    return folder


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes out of a folder; however this one ends, others may follow.

    Raises:
        ValueError: where another is in it.
    """
    lock = locked((folder / LOCK).open("ab"))
    if lock is None:
        raise DistillError(f"another process runs in {folder}; wait for it, or give another run_dir")
    with lock:
        lock.truncate(0)
        lock.write(f"{os.getpid()} on {socket.gethostname()}".encode())
        lock.flush()
        for part in (folder, *(folder / name for name in OF_ONE_RUN)):
            remove_unfinished(part)
        yield


def runs_by(folder: Path) -> str | None:
    """Return by whom a run goes on, process and machine; None where nobody is in its folder."""
    path = folder / LOCK
    if not path.is_file():
        return None
    lock = locked(path.open("rb+"))
    if lock is not None:
        lock.close()
        return None
    return path.read_text() or "another process"


def current() -> Path:
    """Return the folder that this process claimed last; the working directory, where it claimed none."""
    return Path(os.environ.get(RUN_DIR_VARIABLE, "."))


def last_checkpoint(run: Path) -> str | None:
    """Return a run's newest whole checkpoint; print what is wrong with one that is newer.

    Raises:
        ValueError: where there are checkpoints, but none is whole.
    """
    found, wrong = newest(run / "checkpoints")
    if found is None and wrong:
        raise DistillError(f"{wrong[0]}, and there is no other; begin a new run")
    for reason in wrong:
        print(f"{reason}; taking {found}", file=sys.stderr)
    return None if found is None else str(found)


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """List runs: each folder that is one's, and for others all below them.

    Raises:
        ValueError: for a folder that is no run's and holds none.
    """
    found: list[Path] = []
    for folder in folders:
        inside = sorted(_below(folder))
        if not inside:
            raise DistillError(f"{folder} is no run's folder, and holds none")
        found += inside
    return list(dict.fromkeys(found))


def _below(folder: Path) -> Iterator[Path]:
    if (folder / CONFIG).is_file():
        yield folder  # what lies in a run's folder is its own
    elif folder.is_dir():
        for path in folder.iterdir():
            yield from _below(path)


def give_back(folder: Path) -> None:
    """Remove a claimed folder, and its parents, as far as they are empty and this process made them."""
    for place in (folder, *folder.parents):
        if not place.is_dir() or _holds_anything(place):
            return
        (place / LOCK).unlink(missing_ok=True)
        if place not in _made:
            return
        place.rmdir()
        _made.discard(place)


def is_of(checkpoint: Path, run: Path) -> bool:
    """Return whether a checkpoint is in a run's folder."""
    return checkpoint.resolve().parent.parent == run.resolve()


def _make(folder: Path) -> None:
    """Make a folder and its parents, and remember which were not there."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    _made.update(missing)


def _holds_anything(folder: Path) -> bool:
    return any(path.name != LOCK for path in folder.iterdir())


def _next_number(parent: Path) -> Path:
    _make(parent)
    taken = [int(folder.name) for folder in parent.iterdir() if folder.name.isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        try:
            (parent / str(number)).mkdir()
            _made.add(parent / str(number))
            return parent / str(number)
        except FileExistsError:  # another run was faster
            number += 1


def _named(folder: Path, resuming: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise DistillError(f"run_dir {folder} is a file; give a new folder")
    _make(folder)
    if _holds_anything(folder) and not resuming:
        resume = f", or resume with --resume {folder}" if (folder / CONFIG).is_file() else ""
        raise DistillError(f"run_dir {folder} is not empty; give a new folder{resume}")
    return folder
