"""A run's folder: `runs/<name>/<number>`, claimed before anything is written and given back if nothing was."""

import csv
import os
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger

RUN_DIR_VARIABLE = "DISTILL_RUN_DIR"
"""Tells the processes that a Trainer starts which folder the first one claimed."""


def claim(name: str, run_dir: str | None, *, resuming: bool) -> Path:
    """Make a run's folder, which no other run then takes.

    Args:
        name: The run's name, without `run_dir`.
        run_dir: Which folder to take; None takes the next free number below `runs/<name>`.
        resuming: Whether `run_dir` may hold a run already.

    Raises:
        ValueError: where `run_dir` is a file or not empty.
    """
    if rank_zero_only.rank != 0 and RUN_DIR_VARIABLE in os.environ:
        return Path(os.environ[RUN_DIR_VARIABLE])
    folder = _number(Path("runs") / name) if run_dir is None else _named(Path(run_dir), resuming)
    os.environ[RUN_DIR_VARIABLE] = str(folder.absolute())
    return folder


def give_back(folder: Path) -> None:
    """Remove a claimed folder, and its parents, as far as they are empty."""
    for place in (folder, *folder.parents[:2]):
        if place == Path(".") or not place.is_dir() or any(place.iterdir()):
            return
        place.rmdir()


class Metrics(CSVLogger):
    """Metrics as CSV in a run's folder; where a run goes on, what it had written before stays.

    Args:
        folder: Of the run.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, name="", version="")
        file = folder / "metrics.csv"  # which Lightning's logger would delete
        self._before = list(csv.DictReader(file.read_text().splitlines())) if file.is_file() else []

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log; the first time, put back what was written before that step."""
        for row in self._before:
            if step is None or int(float(row["step"])) < step:
                self.experiment.log_metrics({name: value for name, value in row.items() if value}, int(row["step"]))
        self._before.clear()
        super().log_metrics(metrics, step)


def _number(parent: Path) -> Path:
    parent.mkdir(parents=True, exist_ok=True)
    taken = [int(folder.name) for folder in parent.iterdir() if folder.name.isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        try:
            (parent / str(number)).mkdir()
            return parent / str(number)
        except FileExistsError:  # another run was faster
            number += 1


def _named(folder: Path, resuming: bool) -> Path:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"run_dir {folder} is a file; give a new folder")
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()) and not resuming:
        raise ValueError(
            f"run_dir {folder} is not empty; give a new folder, or resume with "
            f"--ckpt_path {folder / 'checkpoints' / 'last.ckpt'}"
        )
    return folder
