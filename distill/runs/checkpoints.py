"""When a run's checkpoints are written, and what they say of a half-learned hour."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch.callbacks import Checkpoint

from distill.data import ReplayDataModule
from distill.files.checkpoint import BEFORE, LAST, read_checkpoint, write_checkpoint
from distill.module import Diverged
from distill.runs.config import IN_CHECKPOINT
from distill.runs.signals import Signals, Stopped

CHECKPOINT_SECONDS = 120
"""Between two checkpoints at most, and a block."""


class SealedFiles(CheckpointIO):
    """Lightning's reading and writing of checkpoints, by way of our files."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint."""
        write_checkpoint(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint onto the CPU."""
        return read_checkpoint(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


class Checkpoints(Checkpoint):
    """Writes a run's checkpoints: every few minutes, after an hour's last update, and at its end.

    What lies between the last two, scoring and a change of teachers, is done again by a run that goes on from the
    first of them. Whoever is asked to stop while a block is learned learns it to its end, writes a checkpoint, and
    stops; in between blocks, at once. On several devices all stop after the same block; between blocks without a
    further checkpoint. Where the Trainer is to end early (`should_stop`, `max_time`; of several processes, that of
    any), the hour is learned to its end before, for half an hour of learning is none on the clock that all runs share.

    Args:
        folder: Where they are.
        signals: Who may ask to stop.
        seconds: Between two of them, above 0.
    """

    def __init__(self, folder: Path, signals: Signals, seconds: float = CHECKPOINT_SECONDS) -> None:
        self.dirpath = folder
        self.config = ""
        """The run's, which each checkpoint holds as text."""
        self.on_first: Callable[[], None] | None = None
        """Called once, when the first checkpoint has been written."""
        self.seconds = seconds
        self._signals = signals
        self._saved_at = time.monotonic()
        self._saved_step = 0
        self._between_blocks = False
        self._hour_is_learned = False
        self._ending = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take the signals from the Trainer, which would stop anywhere, and pass them on to its other processes."""
        self._signals.pass_on = getattr(trainer.strategy.launcher, "kill", None)
        self._signals.listen()
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
        self._between_blocks = True

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Defer what would cut a block in two."""
        self._signals.deferred = True
        self._between_blocks = False

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write a checkpoint if it is time, and stop if somebody asked for it."""
        self._hour_is_learned = batch_idx + 1 == trainer.num_training_batches
        self._ending |= trainer.should_stop
        trainer.should_stop = self._hour_is_learned and trainer.strategy.reduce_boolean_decision(
            self._ending, all=False
        )
        stopping = trainer.strategy.reduce_boolean_decision(self._signals.asked is not None, all=False)
        due = time.monotonic() - self._saved_at > self.seconds
        if self._hour_is_learned or stopping or trainer.strategy.reduce_boolean_decision(due, all=False):
            self._save(trainer)
        self._between_blocks = not self._hour_is_learned
        self._signals.deferred = False
        if stopping:
            raise Stopped(self._signals.asked or 15)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the hour's checkpoint; callbacks of this kind come last."""
        self._hour_is_learned = False
        trainer.should_stop = trainer.strategy.reduce_boolean_decision(trainer.should_stop, all=False)
        self._signals.deferred = True
        self._save(trainer)
        self._signals.deferred = False
        self._signals.stop_if_asked()
        self._between_blocks = True

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Keep what was learned where play was stopped."""
        news = self._between_blocks and trainer.global_step > self._saved_step
        if isinstance(exception, Stopped) and news and trainer.world_size == 1:
            self._save(trainer)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Keep the config; note that an hour's updates are done, but its scores are not."""
        checkpoint[IN_CHECKPOINT] = self.config
        if self._hour_is_learned:
            loops = checkpoint["loops"]["fit_loop"]
            for count in ("total", "current"):
                learned = loops["epoch_loop.batch_progress"][count]
                learned["completed"] = learned["processed"]
            # As of a validation that was broken off in its first step: else the Trainer would take it for done.
            scored = loops["epoch_loop.val_loop.batch_progress"]
            scored["total"] |= {"ready": 1, "started": 1, "processed": 0, "completed": 0}
            scored["current"] |= dict.fromkeys(("ready", "started", "processed", "completed"), 0)
            scored["is_last_batch"] = False

    def _save(self, trainer: L.Trainer) -> None:
        for name, weights in trainer.lightning_module.named_parameters():
            if not torch.isfinite(weights).all():
                raise Diverged(f"{name} became infinite or not a number by update {trainer.global_step}")
        last, following = self.dirpath / LAST, self.dirpath / f".{LAST}"
        trainer.save_checkpoint(following, weights_only=False)
        if trainer.is_global_zero:
            if last.exists():
                os.replace(last, self.dirpath / BEFORE)
            os.replace(following, last)
            if self.on_first is not None:
                self.on_first()
                self.on_first = None
        ReplayDataModule.of(trainer).checkpoint_is_written()
        if trainer.is_global_zero:
            for logger in trainer.loggers:
                logger.save()
        self._saved_at, self._saved_step = time.monotonic(), trainer.global_step
