"""What a run shows while it runs: simulated hours, updates a second, loss, agreement, score, time left."""

import os
import sys
import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import ProgressBar
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from distill.data import ReplayDataModule
from distill.player import Player
from distill.runs.process import LINE_SECONDS_VARIABLE

LINE_SECONDS = 30.0
"""How often a line is printed where there is no terminal to draw a bar on."""


class PlayScore(L.Callback):
    """Log, once an hour, the mean score of the last episodes that were played into each memory, and the hour.

    All that is logged when an hour ends then stands at the updates taken; Lightning would count blocks.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log it, once an episode has ended."""
        pl_module.log("hour", float(trainer.current_epoch + 1), sync_dist=True)
        pl_module.log("step", float(trainer.global_step), sync_dist=True)
        assert isinstance(pl_module, Player)
        for game, experience in ReplayDataModule.of(trainer).experiences.items():
            if experience.scores:
                name = pl_module.metric("play", game, "score")
                pl_module.log(name, sum(experience.scores) / len(experience.scores))


class HourBar(ProgressBar):
    """A bar in simulated hours; where output goes to a file, a line now and then."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("hour {task.completed:.2f}{task.fields[of]}"),
            TextColumn("{task.fields[state]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            refresh_per_second=2,
            speed_estimate_period=600,
        )
        self._task: Any = None
        self._of = ""
        self._printed = 0.0
        self._line_seconds = float(os.environ.get(LINE_SECONDS_VARIABLE, LINE_SECONDS))
        self._learning_seconds = 0.0
        self._updates = 0

    def disable(self) -> None:
        """Show nothing; Lightning calls it on every rank but the first."""
        self._console.quiet = True

    def enable(self) -> None:
        """Show something again."""
        self._console.quiet = False

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Draw the bar."""
        hours = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        self._of = f"/{hours}" if hours else ""
        self._task = self._bar.add_task("play", total=hours, completed=trainer.current_epoch, of=self._of, state="")
        if self._console.is_terminal:
            self._bar.start()
        ReplayDataModule.of(trainer).on_play.append(lambda done, steps: self._show_play(trainer, done, steps))

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Start the clock of a block."""
        self._block_start = time.monotonic()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Show what a block brought."""
        self._learning_seconds += time.monotonic() - self._block_start
        self._updates += batch.updates
        self._show("learn", trainer, (batch_idx + 1) / trainer.num_training_batches)

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Say that episodes are being scored."""
        if self._task is not None:
            self._bar.update(self._task, description="score")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Leave the finished bar where it is."""
        self._bar.stop()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the bar where it was."""
        self._bar.stop()

    def _show_play(self, trainer: L.Trainer, done: int, steps: int) -> None:
        if steps >= ReplayDataModule.of(trainer).hour_steps:
            self._show("play", trainer, 0.0, f" {done:,}/{steps:,} steps")

    def _show(self, what: str, trainer: L.Trainer, of_hour: float, more: str = "") -> None:
        now = time.monotonic()
        hours = trainer.current_epoch + of_hour
        if not self._console.is_terminal and now - self._printed < self._line_seconds:
            return
        metrics = trainer.callback_metrics
        names = {
            "train/loss": "loss {:.4f}",
            "train/value": "value {:.3f}",
            "train/agreement": "agreement {:.1%}",
            "play/score": "play {:.1f}",
            "val/score": "score {:.1f}",
        }
        parts = [shown.format(float(metrics[name])) for name, shown in names.items() if name in metrics]
        if self._updates:
            parts.insert(0, f"{self._updates / self._learning_seconds:.0f} updates/s")
        state = " · ".join(parts) + more
        self._bar.update(self._task, completed=hours, description=f"{what:5}", state=state)
        if not self._console.is_terminal:
            self._printed = now
            self._console.print(
                f"{what:5} hour {hours:.2f}{self._of} {state} · {_clock(self._bar.tasks[0].elapsed)} "
                f"· left {_clock(self._bar.tasks[0].time_remaining)}",
                soft_wrap=True,
            )
            sys.stderr.flush()


def _clock(seconds: float | None) -> str:
    return "?" if seconds is None else f"{int(seconds) // 60}:{int(seconds) % 60:02}"
