"""What `bench` measures of learning: ours, and what bounds it or stands beside it."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger

from distill import protocol
from distill.atari.cartridge import num_actions
from distill.cuda import GraphedUpdates
from distill.data import ReplayDataModule
from distill.files.checkpoint import LAST, write_checkpoint
from distill.networks import DQN, build
from distill.replay import Block, Memory, Minibatch
from distill.runs.checkpoints import CHECKPOINT_SECONDS
from distill.runs.progress import HourBar, PlayScore
from distill.student import StudentModule
from distill.teacher import TeacherModule
from distill.tools.bench.plain import plain_network
from distill.tools.bench.turns import Budget, Rate, rate_of

BLOCK_UPDATES = 50
"""Of a run; fewer where these take long."""
TURN_SECONDS = 0.3
"""Of one contestant, about."""
MOST_ROUNDS = 20
HOURS = 4
"""That are played and learned; the first, in which all begins, is not counted."""


class Remembered(ReplayDataModule):
    """A data module whose memory is given."""

    def __init__(self, memory: Memory, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._given = memory

    def setup(self, stage: str) -> None:
        """Take the memory as it is."""
        super().setup(stage)
        (game,) = self.games
        self.experiences[game].memory = self._given

    def refill(self, number: int, **more: bool) -> None:
        """Play nothing."""


class Clock(L.Callback):
    """When each hour ended, and how long hours took but for their refills."""

    def __init__(self) -> None:
        self.hours: list[float] = []
        self.learning = 0.0
        """Seconds of all hours, each as if its first block had been drawn as fast as the others."""

    def on_train_epoch_start(self, *args: Any) -> None:
        """Begin an hour."""
        self.blocks: list[float] = []

    def on_train_epoch_end(self, *args: Any) -> None:
        """Read the clock."""
        self.hours.append(time.perf_counter())
        self.learning += (self.blocks[-1] - self.blocks[0]) * len(self.blocks) / (len(self.blocks) - 1)

    def on_train_batch_end(self, *args: Any) -> None:
        """Read the clock."""
        self.blocks.append(time.perf_counter())


def trainer(folder: str, hours: int, callbacks: Sequence[L.Callback] = (), **kwargs: Any) -> L.Trainer:
    """Make a Trainer as `fit` does, with bar, scores of play and CSV."""
    bar = HourBar()
    bar.disable()
    return L.Trainer(
        max_epochs=hours,
        limit_val_batches=0,
        num_sanity_val_steps=0,
        enable_model_summary=False,
        enable_checkpointing=False,
        default_root_dir=folder,
        log_every_n_steps=10,
        logger=CSVLogger(folder, name="", version=""),
        callbacks=[bar, PlayScore(), *callbacks],
        **kwargs,
    )


class Alternating(L.Callback):
    """Has rivals do in turn what `fit` does: some blocks of its, as many of each rival's, some of its again.

    So whatever else the machine does hits all alike; and since every other round has the rivals in the opposite order,
    so does what who came before has left in the caches. The first round does not count. Training stops after a round
    that counts and at whose end the time is over.

    Args:
        rivals: Each does a block's work.
        blocks: How many at a time.
        device: Where they work.
        budget: Of this part.
    """

    def __init__(
        self, rivals: dict[str, Callable[[], None]], blocks: int, device: torch.device, budget: Budget
    ) -> None:
        self._rivals, self._blocks, self._device, self._budget = rivals, blocks, device, budget
        self.seconds: dict[str, list[float]] = {name: [] for name in ("fit", *rivals)}
        """That each round took."""

    def on_train_start(self, *args: Any) -> None:
        """Read the clock."""
        self._begun = self._now()

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """After some blocks, have the rivals do as many."""
        if (batch_idx + 1) % self._blocks:
            return
        self.seconds["fit"].append(self._now() - self._begun)
        order = list(self._rivals.items())
        for name, work in order if len(self.seconds["fit"]) % 2 else reversed(order):
            start = self._now()
            for _ in range(self._blocks):
                work()
            self.seconds[name].append(self._now() - start)
        trainer.should_stop = len(self.seconds["fit"]) > 1 and self._budget.is_over
        self._begun = self._now()

    def rates(self, updates: int) -> dict[str, Rate]:
        """Return updates a second, from blocks of a number of updates."""
        return {
            name: Rate(tuple(self._blocks * updates / each for each in seconds[1:]))
            for name, seconds in self.seconds.items()
        }

    def _now(self) -> float:
        if self._device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()


class Learning:
    """One network's updates: inside `Trainer.fit`, in a bare loop, and as a newcomer would write them.

    Args:
        game: ALE name.
        teacher: Whose play is remembered.
        network: A preset's name.
        memory: To draw from.
        device: Where to learn.
        budget: Of the part that comes first.
    """

    def __init__(
        self, game: str, teacher: str, network: str, memory: Memory, device: torch.device, budget: Budget
    ) -> None:
        self.game, self.teacher, self.network, self.memory, self.device = game, teacher, network, memory, device
        self.student = StudentModule(game, network).to(device)
        self.rng = np.random.default_rng(0)
        self.optimizer = self.student.configure_optimizers()
        self.graphs = GraphedUpdates(self.optimizer, self.student.loss) if device.type == "cuda" else None
        fresh = build(network, num_actions=num_actions(game))
        assert isinstance(fresh, DQN)  # a preset for one game
        self.plain_network = plain_network(fresh).to(device)
        self.plain_optimizer = torch.optim.RMSprop(self.plain_network.parameters(), lr=5e-4, alpha=0.95, eps=1e-3)
        self.block_updates = 2
        self.bare()  # the first is slower
        rate = rate_of(self._bare_updates, budget.seconds / 40)
        self.block_updates = min(max(int(rate * budget.seconds / 20), 2), BLOCK_UPDATES)
        self.round_blocks = max(int(rate * min(budget.seconds / 20, TURN_SECONDS) / self.block_updates), 1)
        self.drawn = self._draw()

    def rates(self, budget: Budget, *, sampling: bool) -> dict[str, Rate]:
        """Measure in float32; a number of updates a second, or of minibatches where none is learned from."""
        rivals = {"bare": self.bare, "plain": self.plain} | ({"sampling": self.sampling} if sampling else {})
        return self.fit(rivals, budget)

    def mixed_rates(self, budget: Budget) -> dict[str, Rate]:
        """Measure in mixed precision, beside what is plain."""
        mixed = self.fit({"plain": self.plain}, budget, precision="bf16-mixed")
        return {"fit, bf16-mixed": mixed["fit"], "plain beside bf16-mixed": mixed["plain"]}

    def fit(self, rivals: dict[str, Callable[[], None]], budget: Budget, **kwargs: Any) -> dict[str, Rate]:
        """Learn inside `Trainer.fit`, drawing from the memory, in turn with rivals."""
        alternating = Alternating(rivals, self.round_blocks, self.device, budget)
        data = Remembered(
            self.memory,
            game=self.game,
            teacher=self.teacher,
            updates_per_hour=(1 + MOST_ROUNDS) * self.round_blocks * self.block_updates,
            block_updates=self.block_updates,
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer(folder, 1, callbacks=[alternating], **kwargs).fit(StudentModule(self.game, self.network), data)
        return alternating.rates(self.block_updates)

    def bare(self) -> None:
        """Draw as many minibatches and take the same updates without a Trainer."""
        if self.graphs is not None:
            self.graphs.set_learning_rates()
        for batch in self._draw():
            if self.graphs is not None:
                self.optimizer.step(self.graphs.closure(batch))  # type: ignore[arg-type]  # its loss is a tensor
                continue
            loss = self.student.loss(batch).mean()
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()

    def _bare_updates(self) -> int:
        self.bare()
        return self.block_updates

    def plain(self) -> None:
        """Learn from minibatches that have been drawn, as the framework's tutorials do."""
        for batch in self.drawn:
            outputs = self.plain_network(batch.observations.float() / 255)
            targets = F.softmax(batch.labels / 0.01, dim=1)
            loss = F.kl_div(F.log_softmax(outputs, dim=1), targets, reduction="batchmean")
            self.plain_optimizer.zero_grad()
            loss.backward()
            self.plain_optimizer.step()

    def sampling(self) -> None:
        """Draw minibatches as a run does, a block at a time."""
        self.memory.minibatch(self.rng, 32 * self.block_updates)

    def _draw(self) -> Block[Minibatch]:
        return Block.of(self.memory.minibatch(self.rng, 32 * self.block_updates), 32).to(self.device)


class Refilled(ReplayDataModule):
    """A data module that keeps how many seconds each of its refills took."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.refills: list[float] = []

    def refill(self, number: int, **more: bool) -> None:
        """Refill, and look at the time."""
        start = time.perf_counter()
        super().refill(number, **more)
        self.refills.append(time.perf_counter() - start)


class Hours(NamedTuple):
    """Hours of a run that are shorter than real ones, but of as many updates a step."""

    steps: int
    updates: int
    block_updates: int

    @classmethod
    def lasting(cls, seconds: float, plays: float, learns: float, rates: tuple[float, float], num_envs: int) -> "Hours":
        """Make them so short that several take so many seconds together; none longer than a real one.

        Args:
            seconds: For all.
            plays: How often an hour is played.
            learns: How often one is learned from.
            rates: Of play and of learning: steps and updates a second.
            num_envs: Environments.
        """
        steps, updates = protocol.STEPS_PER_HOUR, protocol.UPDATES_PER_HOUR
        share = min(1.0, seconds / (plays * steps / rates[0] + learns * updates / rates[1]))
        length, blocks = max(int(share * steps / num_envs), 4), max(int(share * updates / BLOCK_UPDATES), 2)
        block_updates = min(max(int(share * updates / blocks), 2), BLOCK_UPDATES)
        return cls(length * num_envs, blocks * block_updates, block_updates)

    def of(self, game: str, teacher: str, num_envs: int, **kwargs: Any) -> Refilled:
        """Make a data module with such hours."""
        return Refilled(
            game,
            teacher,
            hour_steps=self.steps,
            updates_per_hour=self.updates,
            block_updates=self.block_updates,
            num_envs=num_envs,
            **kwargs,
        )


def hours_an_hour(
    game: str, teacher: str, num_envs: int, rates: tuple[float, float], budget: Budget
) -> tuple[float, float]:
    """Fit the smallest student as a run on this machine does.

    Returns:
        Simulated hours per hour of the clock, and the share of it in which learning waits for play and its frames. The
        first hour is not counted; each other one is counted with its play.
    """
    hours = Hours.lasting(budget.seconds * 0.7, HOURS, HOURS, rates, num_envs)
    clock, data = Clock(), hours.of(game, teacher, num_envs)
    with tempfile.TemporaryDirectory() as folder:
        trainer(folder, HOURS, callbacks=[clock]).fit(StudentModule(game), data)
    simulated = (HOURS - 1) * hours.steps / protocol.STEPS_PER_HOUR
    seconds = clock.hours[-1] - clock.hours[0]
    return simulated / seconds * 3600, sum(data.refills[1:]) / seconds


def four_temperatures(game: str, teacher: str, num_envs: int, rates: tuple[float, float], budget: Budget) -> float:
    """Distil at four temperatures, one after the other in one store, two short hours each.

    Returns:
        The seconds that it took over those of the first one's refills, which are the play, and of all updates.
    """
    hours = Hours.lasting(budget.seconds * 0.7, 2, 8, rates, num_envs)
    clock, start, play = Clock(), time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for temperature in (1.0, 0.1, 0.01, 0.001):
            data = hours.of(game, teacher, num_envs, store=f"{folder}/hours", overlap=False)
            trainer(folder, 2, callbacks=[clock]).fit(StudentModule(game, temperature=temperature), data)
            play = play or sum(data.refills)
    return (time.perf_counter() - start) / (play + clock.learning)


def checkpointing(game: str) -> float:
    """Write a learning teacher's checkpoint, the largest there is: its share of the time until the next is due."""
    teacher = TeacherModule(game, optimizer="adam")
    optimizer = teacher.configure_optimizers()
    for weights in teacher.network.parameters():
        weights.grad = torch.zeros_like(weights)
    optimizer.step()
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        content = {"state_dict": teacher.state_dict(), "optimizer_states": [optimizer.state_dict()]}
        write_checkpoint(Path(folder) / LAST, content)
    return (time.perf_counter() - start) / CHECKPOINT_SECONDS
