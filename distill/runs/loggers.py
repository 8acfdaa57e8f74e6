"""Where a run's curves go: `metrics.csv`, and TensorBoard and Weights & Biases beside it.

Their x-axis is the number of updates taken. A logger that also takes a finished run's scores, or a video of it, defines
`log_scores` or `log_film`.
"""

import csv
import importlib.util
import io
import os
import re
import time
from argparse import Namespace
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import yaml
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from distill import protocol
from distill.data import ReplayDataModule
from distill.engine import frozen_policy
from distill.errors import DistillError
from distill.files.store import write_atomically
from distill.film import Actor, film, temperature_of
from distill.module import PolicyModule
from distill.runs.folder import current
from distill.runs.scores import flat_scores, games_of

FILM_SECONDS = 30
FIRST_COLUMNS = ("hour", "step", "seconds", "updates_per_second")


class Metrics(CSVLogger):
    """Metrics as CSV in a run's folder; where a run goes on, what it had written before stays.

    Each row begins with the simulated hour, the updates taken (`step`), the seconds for which the run has gone on, and
    the updates a second since the row before.

    Args:
        folder: Of the run.
        updates_per_hour: Of an hour.
    """

    def __init__(self, folder: Path, updates_per_hour: int) -> None:
        super().__init__(folder, name="", version="")
        self._updates_per_hour = updates_per_hour
        self._seconds_before = 0.0
        self._begun = time.monotonic()
        self._last = 0, 0.0  # step and seconds
        self._experiment: _MetricRows | None = None  # type: ignore[assignment]  # Lightning's would not put rows back
        self._file = folder / "metrics.csv"
        self._before = list(csv.DictReader(self._file.read_text().splitlines())) if self._file.is_file() else []

    @property
    @rank_zero_experiment
    def experiment(self) -> "_MetricRows":
        """Return what holds the rows."""
        self._experiment = self._experiment or _MetricRows(self._file)
        return self._experiment

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        """Log; the first time, put back what was written before: up to that step, and at it up to these metrics."""
        for row in self._before:
            had = {name: value for name, value in row.items() if value}
            at = int(had.pop("step"))
            if step is not None and (at > step or (at == step and set(had) & set(metrics))):
                break  # from here on all is logged again
            self.experiment.log_metrics(had, at)
            self._seconds_before = float(had.get("seconds", 0))
            self._last = at, self._seconds_before
        self._before.clear()
        now, (last_step, last_seconds) = self._seconds_before + time.monotonic() - self._begun, self._last
        timed: dict[str, Any] = {"seconds": round(now, 2)}
        if step is not None:
            timed["hour"] = round(step / self._updates_per_hour, 4)
            if step > last_step:
                timed["updates_per_second"] = round((step - last_step) / max(now - last_seconds, 1e-9), 2)
                self._last = step, now
        super().log_metrics({**timed, **metrics}, step)


class _MetricRows:
    """All rows of a file, which is only ever replaced whole."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._rows: list[dict[str, Any]] = []
        self._saved = 0

    def log_hparams(self, params: dict[str, Any]) -> None:
        """Do nothing: the run's config holds them."""

    def log_metrics(self, metrics: dict[str, Any], step: int) -> None:
        """Add a row."""
        self._rows.append({**metrics, "step": step})

    def save(self) -> None:
        """Write the file, if there is news."""
        if len(self._rows) > self._saved:
            text = io.StringIO()
            names = sorted(set().union(*self._rows) - set(FIRST_COLUMNS))
            writer = csv.DictWriter(text, [*FIRST_COLUMNS, *names], lineterminator="\n")
            writer.writeheader()
            writer.writerows(self._rows)
            write_atomically(self._file, text.getvalue().encode())
            self._saved = len(self._rows)


class TensorBoard(TensorBoardLogger):
    """Curves, config and scores for TensorBoard, in the run's folder.

    Args:
        folder: Where its files go; None means into the run's.

    Raises:
        ValueError: where TensorBoard is missing.
    """

    def __init__(self, folder: str | None = None) -> None:
        if importlib.util.find_spec("tensorboard") is None:
            raise DistillError('tensorboard is missing; pip install "distill[tensorboard]" installs it')
        super().__init__(folder or current(), name="", version="", default_hp_metric=False)

    @rank_zero_only
    def save(self) -> None:
        """Write what was logged."""
        self.experiment.flush()

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Log the config as text."""
        self.hparams = dict(vars(params) if isinstance(params, Namespace) else params)
        self.experiment.add_text("config", f"```yaml\n{yaml.safe_dump(self.hparams, sort_keys=False)}\n```")

    @rank_zero_only
    def log_scores(self, scores: Mapping[str, Any], updates: int) -> None:
        """Log a finished run's scores, beside its config where TensorBoard compares runs."""
        super().log_hyperparams(self.hparams, flat_scores(scores), updates)


class Wandb(WandbLogger):
    """Curves, config, scores as table and summary, and a video of play for Weights & Biases.

    A run that goes on goes on there, too. `WANDB_MODE=offline` needs no account.

    Args:
        project: There.
        name: Of the run there; None means its folder's.
        video: Whether the end of a run is filmed, 30 seconds of each game.
        folder: Where its files go; None means into the run's.
    """

    def __init__(
        self, project: str = "distill", name: str | None = None, video: bool = True, folder: str | None = None
    ) -> None:
        self.video = video
        place = Path(folder or current())
        super().__init__(name=name or _name_of(current()), save_dir=place, id=_id_in(place), project=project)
        del self._wandb_init["anonymous"]  # of which wandb would warn

    @property
    def experiment(self) -> Any:
        """The run there; where it cannot begin, the reason is a `ValueError`."""
        from wandb.errors import Error

        try:
            return super().experiment
        except Error as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise DistillError(f"W&B: {reason}; WANDB_MODE=offline needs no account") from error

    @rank_zero_only
    def log_scores(self, scores: Mapping[str, Any], updates: int) -> None:
        """Log a finished run's scores: as numbers, which stand in the summary then, and as a table."""
        import wandb

        rows: list[Iterable[Any]] = [
            [game, who, of[who]["mean"], *of[who]["interval95"], of[who]["episodes"], of.get("random_adjusted_ratio")]
            for game, of in games_of(scores).items()
            for who in ("teacher", "student")
            if who in of
        ]
        columns: list[str | int] = ["game", "who", "score", "low", "high", "episodes", "student's share above random"]
        logged: dict[str, Any] = {**flat_scores(scores), "scores": wandb.Table(columns, rows)}
        self.log_metrics(logged, updates)
        self.experiment.summary["protocol"] = scores["protocol"]

    @rank_zero_only
    def log_film(self, game: str, path: Path, updates: int) -> None:
        """Log a video of play."""
        import wandb

        logged: dict[str, Any] = {f"play/{game}": wandb.Video(str(path), format="mp4")}
        self.log_metrics(logged, updates)

    @rank_zero_only
    def end(self) -> None:
        """Close the log."""
        self.experiment.finish()
        self._experiment = None


@runtime_checkable
class Filming(Protocol):
    """A logger that may take videos."""

    video: bool
    """Whether it does."""

    def log_film(self, game: str, path: Path, updates: int) -> None:
        """Log a video of play."""


def log_config(loggers: Sequence[Logger], config: Mapping[str, Any]) -> None:
    """Log the whole config of a run, as it was resolved; the run's folder has it anyway.

    Raises:
        ValueError: where W&B cannot be reached.
    """
    for logger in loggers:
        if not isinstance(logger, Metrics):
            logger.log_hyperparams(dict(config))


def log_end(
    loggers: Sequence[Logger], scores: Mapping[str, Any], model: PolicyModule, data: ReplayDataModule, folder: Path
) -> None:
    """Log what a run comes to: its scores, and its play where a logger takes videos.

    Args:
        loggers: Of the Trainer.
        scores: What `scores.json` holds.
        model: The trained module.
        data: Its data module.
        folder: The run's folder, where the videos are kept.
    """
    for logger in loggers:
        if hasattr(logger, "log_scores"):
            logger.log_scores(scores, model.global_step)
    filming = [logger for logger in loggers if isinstance(logger, Filming) and logger.video]
    for game in model.games if filming else ():
        rules = data.eval_config(game)
        rules = rules._replace(
            numbers=(0,), max_frames=min(rules.max_frames, FILM_SECONDS * protocol.FRAMES_PER_SECOND)
        )
        path = folder / f"{game}.mp4"
        film(_actors(game, model, data), rules, path)
        for logger in filming:
            logger.log_film(game, path, model.global_step)
    for logger in loggers:
        if isinstance(logger, Wandb):
            logger.end()


def _actors(game: str, model: PolicyModule, data: ReplayDataModule) -> list[Actor]:
    """Put a student beside its teacher; a learning teacher plays alone, as does a dataset's student."""
    own = frozen_policy(model.network.for_game(game))
    if game not in data.teachers:
        return [Actor("teacher", own, temperature_of(model.kind))]
    teacher, student = data.teachers[game], Actor("student", own, temperature_of(model.kind))
    if teacher.network is None:
        return [student]
    return [Actor("teacher", frozen_policy(teacher.network), temperature_of(teacher.kind)), student]


def _name_of(run: Path) -> str:
    """Name a run by its folder: `compress/0` for runs/compress/0."""
    parts = run.parts
    return "/".join(parts[parts.index("runs") + 1 :] if "runs" in parts else parts[-2:])


def _id_in(folder: Path) -> str | None:
    """Return the id that a folder was logged under before; None for none, and where W&B's agent gives one."""
    if "WANDB_RUN_ID" in os.environ:
        return None
    names = (re.fullmatch(r"(?:offline-)?run-(\d{8}_\d{6})-(.+)", path.name) for path in (folder / "wandb").glob("*"))
    before = sorted(name.groups() for name in names if name)
    return before[-1][1] if before else None
