"""What a run shows while it runs: phase, simulated hours, time left, agreement, loss, updates a second, scores."""

import time
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
from lightning.pytorch.callbacks import ProgressBar
from lightning.pytorch.utilities.seed import isolate_rng

from distill import protocol
from distill.data import ReplayDataModule
from distill.engine import module_policy
from distill.evaluation import Progress
from distill.module import PolicyModule
from distill.runs import status
from distill.runs.estimate import Cost, Estimate, scorings_between
from distill.runs.results import TEACHER
from distill.runs.status import Line, Status, clock

SHOWN_AFTER_SECONDS = 1.0
"""How long play goes on before it is shown: a piece of an hour that takes less would only flicker."""
SCORED_STEPS = 3_000
"""After so many a step's cost counts half: towards the end, when few episodes are left, one takes longer."""
EPISODE_STEPS = 2_000
"""Of an episode, until one was seen."""
FIGURES = {
    "train/agreement": "agreement {:.1%}",
    "train/loss": "loss {:.4f}",
    "train/value": "value {:.3f}",
    "play/score": "play {:.1f}",
    "val/score": "score {:.1f}",
}
"""What is shown of what is logged, in the order of its importance; the updates a second come after the loss."""
AFTER_LOSS = 2


class PlayScore(L.Callback):
    """Log, once an hour, the mean score of the last episodes that were played into each memory, and the hour.

    All that is logged when an hour ends then stands at the updates taken; Lightning would count blocks.
    """

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Log it, once an episode has ended."""
        pl_module.log("hour", float(trainer.current_epoch + 1), sync_dist=True)
        pl_module.log("step", float(trainer.global_step), sync_dist=True)
        assert isinstance(pl_module, PolicyModule)
        for game, experience in ReplayDataModule.of(trainer).experiences.items():
            if experience.scores:
                name = pl_module.metric("play", game, "score")
                pl_module.log(name, sum(experience.scores) / len(experience.scores))


class HourBar(ProgressBar):
    """A bar in simulated hours; where output goes to a file, a line now and then.

    It goes on after learning, while networks are scored, until `finish` or `stop`. Whoever looks for time left finds
    each moment's seconds in one of the costs of an `Estimate`: the clock is read where play, learning and scoring
    begin and end.
    """

    def __init__(self) -> None:
        super().__init__()
        self._status = Status(self._line)
        self._estimate: Estimate | None = None
        self._hours: int | None = None
        self._first_hour = 0.0
        self._hour = 0.0
        self._phase, self._detail = "", ""
        self._figures: list[str] = []
        self._begun = self._mark = self._left_at = time.monotonic()
        self._looked, self._left = 0.0, 0.0
        self._played_steps = 0
        self._refill_begun: float | None = None
        self._waiting = 0.0
        self._blocks = 0
        self._scoring: Progress | None = None
        self._scored_step, self._scored = Cost(SCORED_STEPS), (0.0, 0)

    def log_to(self, log: Path) -> None:
        """Have a file take what is shown."""
        self._status.log = log

    def disable(self) -> None:
        """Show nothing; Lightning calls it on every rank but the first."""
        self._status.quiet = True

    def enable(self) -> None:
        """Show something again."""
        self._status.quiet = False

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Listen to play and scoring."""
        super().setup(trainer, pl_module, stage)
        assert isinstance(pl_module, PolicyModule)
        if self._status.quiet or self._on_score in pl_module.on_score:
            return
        self._model, self._data = pl_module, ReplayDataModule.of(trainer)
        self._begun = time.monotonic()
        self._model.on_score.append(self._on_score)
        self._data.on_play.append(self._on_play)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Begin to estimate, and to show."""
        if self._status.quiet:
            return
        data, model = self._data, self._model
        self._hours = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else None
        taken = trainer.fit_loop.epoch_loop.batch_progress.current.ready
        self._hour = self._first_hour = trainer.current_epoch + taken % data.blocks_per_hour / data.blocks_per_hour
        self._estimate = Estimate(
            data.hour_steps,
            data.updates_per_hour,
            any(of.source.overlap for of in data.experiences.values()),
            *_guesses(model, data.num_envs, data.batch_size),
        )
        self._plan(trainer)
        if not data.teachers:
            self._estimate.steps_left = data.warmup_steps if self._hour == 0 else 0
        if getattr(model, "score_every_hours", None) and self._hour == 0:
            self._estimate.scorings_left[""] = self._estimate.scorings_left.get("", 0) + 1
        self._mark = time.monotonic()
        self._show("play")
        self._status.start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Plan what is left."""
        if not self._status.quiet and self._blocks:
            self._plan(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Count the time since the last block as play, or as between hours, where a refill lay in it."""
        if self._estimate is None:
            return
        blocks = self._data.blocks_per_hour // self._data.refills_per_hour
        if batch_idx % blocks == 0 or not self._blocks:
            seconds = self._since_mark()
            if self._blocks and self._estimate.overlaps:
                self._estimate.waited.add(self._waiting + seconds, 1)
            elif self._blocks:
                self._estimate.between.add(seconds, 1 / self._data.refills_per_hour)
            self._estimate.steps_left = self._waiting = 0
            self._refill_begun = None
            if self._hours is not None and (batch_idx == 0 or not self._data.teachers):
                per_hour = self._data.refills_per_hour
                next_refill = trainer.current_epoch * per_hour + batch_idx // blocks + 1
                unplayed = self._data.unplayed_refills(next_refill, self._hours * per_hour)
                self._estimate.hours_to_play = unplayed / per_hour
            if batch_idx == 0 or not self._blocks:
                self._estimate.scoring_steps = self._steps_of_scoring(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count what a block took, and show what it brought."""
        if self._estimate is None:
            return
        seconds, updates = self._since_mark(), batch.updates
        self._blocks += 1
        if self._blocks > 1:  # the first takes longer
            self._estimate.update.add(seconds, updates)
        self._estimate.updates_left -= updates
        share = (batch_idx + 1) / self._data.blocks_per_hour
        self._hour = trainer.current_epoch + share
        if self._hours is not None:
            self._estimate.hours_left = max(0.0, self._hours - self._hour)
        if time.monotonic() - self._looked >= status.LOOK_SECONDS or share == 1:
            self._look_at(trainer)
            self._show("learn")

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show that episodes are being scored."""
        if not self._status.quiet and not trainer.sanity_checking:
            self._mark = time.monotonic()
            self._show("score")
            self._status.start()

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Show the score."""
        if not self._status.quiet:
            self._look_at(trainer)
            self._mark = time.monotonic()

    def on_exception(self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException) -> None:
        """Leave the bar where it was."""
        self.stop()

    def stop(self) -> None:
        """Leave the bar where it is."""
        self._status.stop()

    def finish(self) -> None:
        """Leave in its place how long all took."""
        if self._phase:
            hours = [self._said_hour] if self._estimate is not None else []
            took = f"took {clock(time.monotonic() - self._begun)}"
            self._status.stop(Line("done", [*hours, took], self._figures))
            self._phase = ""

    def _on_play(self, done: int, steps: int) -> None:
        estimate = self._estimate
        if estimate is None:
            return
        now = time.monotonic()
        seconds = self._since_mark()
        if self._refill_begun is None or done < self._played_steps:
            # With the first step come the end of the hour before and, once, environments, which are no cost of a step.
            self._refill_begun = now
            part = steps // self._data.hour_steps or 1 / self._data.refills_per_hour
            estimate.hours_to_play = max(0.0, estimate.hours_to_play - part)
            if estimate.step.known and not estimate.overlaps:
                rest = max(0.0, seconds - done * estimate.step.each(0.0))
                estimate.between.add(rest, 1 / self._data.refills_per_hour)
            elif not estimate.step.known:
                estimate.setup_seconds = seconds
        elif done > self._played_steps:
            estimate.step.add(seconds, done - self._played_steps)
        self._waiting += seconds
        self._played_steps = done
        estimate.steps_left = steps - done
        if now - self._looked >= status.LOOK_SECONDS and now - self._refill_begun >= SHOWN_AFTER_SECONDS:
            self._looked = now
            self._show("play", f"{done:,}/{steps:,} steps")

    def _on_score(self, who: str, progress: Progress) -> None:
        now, game = time.monotonic(), progress.episodes.game
        over = bool(progress.ended.all())
        if progress is self._scoring and not over and now - self._looked < status.LOOK_SECONDS:
            return
        what = f"{who} {game}" if len(self._model.games) > 1 else who
        taken, steps = now - self._mark, int(progress.steps.sum())
        if progress is not self._scoring:
            self._scoring, self._scored_step = progress, Cost(SCORED_STEPS)
            self._scored = taken, steps  # until then, environments were made
            if self._estimate is not None:
                self._estimate.scorings_left[what] = max(0.0, self._estimate.scorings_left.get(what, 0) - 1)
        self._looked = now
        if self._estimate is not None:
            if steps > self._scored[1]:
                self._scored_step.add(taken - self._scored[0], steps - self._scored[1])
                self._scored = taken, steps
            left = progress.steps_left(self._episode_steps(game))
            self._estimate.scoring_seconds = max(0.0, self._estimate.seconds_of_scoring(what) - taken)
            if left is not None and self._scored_step.known:
                self._estimate.scoring_seconds = self._scored_step.each(0.0) * left
            if over:
                self._estimate.scoring[what].add(taken, 1)
                self._estimate.scoring_seconds = None
                self._mark = now
        self._show("score", f"{what} {progress.described}".strip())

    def _since_mark(self) -> float:
        now = time.monotonic()
        seconds, self._mark = now - self._mark, now
        return seconds

    def _look_at(self, trainer: L.Trainer) -> None:
        self._looked = time.monotonic()
        metrics = trainer.callback_metrics
        self._figures = [shown.format(float(metrics[name])) for name, shown in FIGURES.items() if name in metrics]
        if self._estimate is not None and self._estimate.update.known:
            after = sum(name in metrics for name in list(FIGURES)[:AFTER_LOSS])
            self._figures.insert(after, f"{1 / self._estimate.update.each(1.0):.0f} updates/s")

    def _plan(self, trainer: L.Trainer) -> None:
        """Set what is left when an hour begins."""
        if self._estimate is None or self._hours is None:
            return
        data, estimate, hours = self._data, self._estimate, self._hours
        first = int(self._hour)
        estimate.updates_left = (hours - self._hour) * estimate.updates_per_hour
        estimate.hours_left = hours - self._hour
        estimate.hours_to_play = (
            data.unplayed_refills(int(self._hour * data.refills_per_hour), hours * data.refills_per_hour)
            / data.refills_per_hour
        )
        every = 0.0
        if trainer.limit_val_batches:
            block = trainer.val_check_batch
            times = data.blocks_per_hour / block if block and block != float("inf") else 1.0
            every = (trainer.check_val_every_n_epoch or 1) / times
        own = scorings_between(first, hours, every)
        own += scorings_between(first, hours, getattr(self._model, "score_every_hours", None) or 0)
        own += not data.teachers or not every or hours % every != 0  # when all is learned
        several = len(data.games) > 1
        for game in data.games:
            estimate.scorings_left[f" {game}" if several else ""] = own
            teacher = data.teachers.get(game)
            unscored = teacher is not None and teacher.network is not None and teacher.summary is None
            estimate.scorings_left[f"{TEACHER} {game}" if several else TEACHER] = int(unscored)
        estimate.scoring_steps = self._steps_of_scoring(trainer)

    def _steps_of_scoring(self, trainer: L.Trainer) -> float:
        steps = [self._episode_steps(game) for game in self._data.games]
        return sum(steps) / len(steps) * self._data.eval_episodes / trainer.world_size

    def _episode_steps(self, game: str) -> float:
        steps: float = EPISODE_STEPS
        if (experience := self._data.experiences.get(game)) is not None and len(experience.memory):
            steps, least = experience.memory.episode_steps, len(experience.memory) / self._data.num_envs
            if steps >= least:  # hardly any has ended
                steps = max(2 * least, EPISODE_STEPS)
        return min(steps, self._data.max_frames / self._data.env_of(game).frame_skip)

    def _show(self, phase: str, detail: str = "") -> None:
        self._phase, self._detail = phase, detail
        if self._estimate is not None:
            self._left, self._left_at = self._estimate.left, time.monotonic()
        self._status.tell()

    @property
    def _said_hour(self) -> str:
        return f"hour {self._hour:.2f}" + (f"/{self._hours}" if self._hours else "")

    def _line(self) -> Line:
        now = time.monotonic()
        detail = [self._detail] if self._detail else []
        if self._estimate is None:  # of `validate`
            return Line(self._phase, detail, [f"{clock(now - self._begun)} elapsed"])
        more = [*self._figures, f"{clock(now - self._begun)} elapsed"]
        if self._hours is None:
            return Line(self._phase, [self._said_hour, *detail], more)
        taken, left = now - self._begun, max(0.0, self._left - (now - self._left_at))
        before = self._first_hour / self._hours
        share = before + (1 - before) * taken / (taken + left) if taken + left else None
        return Line(self._phase, [self._said_hour, f"{clock(left)} left", *detail], more, share)


def _guesses(model: PolicyModule, num_envs: int, batch_size: int) -> tuple[float, float]:
    """Guess the seconds of a step of play and of an update, before there was one: by forward passes of the network."""
    policy = module_policy(model.network.for_game(model.games[0]), dtype=None)
    seen = np.zeros((max(num_envs, batch_size), protocol.STACKED_FRAMES, 84, 84), np.uint8)
    seconds = []
    with isolate_rng():  # a network may draw
        for _ in range(3):
            begun = time.monotonic()
            with model.trainer.precision_plugin.forward_context():
                policy(seen)
            seconds.append(time.monotonic() - begun)
    row = min(seconds) / len(seen)
    return 2 * row, 3 * row * batch_size
