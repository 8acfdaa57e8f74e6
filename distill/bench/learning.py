"""What `bench` measures of learning: ours, and what bounds it or stands beside it."""

import functools
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lightning as L
import numpy as np
import torch
import torch.nn.functional as F
from lightning.pytorch.loggers import CSVLogger
from torch import nn

from distill import protocol
from distill.bench.turns import Size, Turn
from distill.console.progress import HourBar, PlayScore
from distill.data import ReplayDataModule
from distill.files.checkpoint import LAST, write_checkpoint
from distill.graphs import GraphedUpdates
from distill.hours.experience import Experience
from distill.networks import PRESETS
from distill.replay import Block, Memory, Minibatch
from distill.runs.checkpoints import SECONDS
from distill.student import StudentModule
from distill.teacher import TeacherModule


class Remembered(ReplayDataModule):
    """A data module whose memory is given."""

    def __init__(self, memory: Memory, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._given = memory

    def setup(self, stage: str) -> None:
        """Take the memory as it is."""
        (game,) = self.games
        self.experiences = {game: Experience(self._rules(game), self.memory_hours)}
        self.experiences[game].memory = self._given

    def refill(self, number: int, **more: bool) -> None:
        """Play nothing."""


class Clock(L.Callback):
    """When the first block ended, and the last; when each hour did; and how long hours took but for their refills."""

    def __init__(self) -> None:
        self.hours: list[float] = []
        self.learning = 0.0
        """Seconds of all hours, each as if its first block had been drawn as fast as the others."""

    def on_train_epoch_start(self, *args: Any) -> None:
        """Begin an hour."""
        self.blocks: list[float] = []

    def on_train_epoch_end(self, *args: Any) -> None:
        """Look at the time."""
        self.hours.append(time.perf_counter())
        self.learning += (self.blocks[-1] - self.blocks[0]) * len(self.blocks) / (len(self.blocks) - 1)

    def on_train_batch_end(self, trainer: L.Trainer, *args: Any) -> None:
        """Look at the time."""
        self.last = time.perf_counter()
        self.blocks.append(self.last)
        if not hasattr(self, "first"):
            self.first, self.before = self.last, trainer.global_step


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


class Learning:
    """One network's updates: inside `Trainer.fit`, in a bare loop, and as a newcomer would write them."""

    def __init__(self, game: str, teacher: str, network: str, memory: Memory, size: Size, device: torch.device) -> None:
        self.game, self.teacher, self.network, self.memory, self.device = game, teacher, network, memory, device
        self.block_updates = size.block_updates
        self.blocks = size.full_blocks if network == "dqn" else size.blocks
        self.updates = self.blocks * self.block_updates
        self.student = StudentModule(game, network).to(device)
        self.drawn = self._draw(np.random.default_rng(0))
        self.optimizer = self.student.configure_optimizers()
        self.plain_network = plain_network(network, self.student.network.for_game(game).num_actions).to(device)
        self.plain_optimizer = torch.optim.RMSprop(self.plain_network.parameters(), lr=5e-4, alpha=0.95, eps=1e-3)

    def turns(self) -> dict[str, Turn]:
        """List the contestants; rates are updates a second."""
        return {
            "bare": self.bare,
            "fit": self.fit,
            "plain": self.plain,
            "fit, bf16-mixed": functools.partial(self.fit, precision="bf16-mixed"),
        }

    def fit(self, **kwargs: Any) -> float:
        """Learn inside `Trainer.fit`, drawing from the memory; all is counted from the end of the first block."""
        data = Remembered(
            self.memory,
            game=self.game,
            teacher=self.teacher,
            updates_per_hour=self.updates,
            block_updates=self.block_updates,
        )
        clock = Clock()
        with tempfile.TemporaryDirectory() as folder:
            running = trainer(folder, 1, callbacks=[clock], **kwargs)
            running.fit(StudentModule(self.game, self.network), data)
        return (running.global_step - clock.before) / (clock.last - clock.first)

    def bare(self) -> float:
        """Draw the same minibatches and take the same updates without a Trainer; counted as `fit` is."""
        rng = np.random.default_rng(0)
        graphs = GraphedUpdates(self.optimizer, self.student.loss) if self.device.type == "cuda" else None
        if graphs is not None:
            graphs.set_learning_rates()
        for block in range(self.blocks):
            if block == 1:
                start = self._now()
            for batch in self._draw(rng):
                if graphs is not None:
                    self.optimizer.step(graphs.closure(batch))  # type: ignore[arg-type]  # its loss is a tensor
                    continue
                loss = self.student.loss(batch).mean()
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
        return self.counted / (self._now() - start)

    @property
    def counted(self) -> int:
        """Updates of all blocks but the first."""
        return (self.blocks - 1) * self.block_updates

    def _draw(self, rng: np.random.Generator) -> Block[Minibatch]:
        return Block.of(self.memory.minibatch(rng, 32 * self.block_updates), 32).to(self.device)

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def plain(self) -> float:
        """Learn from minibatches that have been drawn, as the framework's tutorials do."""
        start = self._now()
        for _ in range(self.blocks - 1):
            for batch in self.drawn:
                outputs = self.plain_network(batch.observations.float() / 255)
                targets = F.softmax(batch.labels / 0.01, dim=1)
                loss = F.kl_div(F.log_softmax(outputs, dim=1), targets, reduction="batchmean")
                self.plain_optimizer.zero_grad()
                loss.backward()
                self.plain_optimizer.step()
        return self.counted / (self._now() - start)


def plain_network(name: str, num_actions: int) -> nn.Sequential:
    """Build the same network out of PyTorch's own layers."""
    first, second, third, hidden = PRESETS[name]
    return nn.Sequential(
        nn.Conv2d(4, first, 8, stride=4),
        nn.ReLU(),
        nn.Conv2d(first, second, 4, stride=2),
        nn.ReLU(),
        nn.Conv2d(second, third, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(third * 49, hidden),
        nn.ReLU(),
        nn.Linear(hidden, num_actions),
    )


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


def short_hours(game: str, teacher: str, size: Size, **kwargs: Any) -> Refilled:
    """Make a data module with hours of that size."""
    return Refilled(
        game,
        teacher,
        hour_steps=size.hour_steps,
        updates_per_hour=size.hour_blocks * size.block_updates,
        block_updates=size.block_updates,
        num_envs=size.num_envs,
        **kwargs,
    )


def hours_an_hour(game: str, teacher: str, size: Size) -> tuple[float, float]:
    """Fit the smallest student as a run on this machine does.

    Returns:
        Simulated hours per hour of the clock, and the share of it in which learning waits for play and its frames. The
        first hour is not counted; each other one is counted with its play.
    """
    clock, data = Clock(), short_hours(game, teacher, size)
    with tempfile.TemporaryDirectory() as folder:
        trainer(folder, size.hours, callbacks=[clock]).fit(StudentModule(game), data)
    simulated = (size.hours - 1) * size.hour_steps / protocol.STEPS_PER_HOUR
    seconds = clock.hours[-1] - clock.hours[0]
    return simulated / seconds * 3600, sum(data.refills[1:]) / seconds


def four_temperatures(game: str, teacher: str, size: Size) -> float:
    """Distil at four temperatures, one after the other in one store, two short hours each.

    Returns:
        The seconds that it took over those of the first one's refills, which are the play, and of all updates.
    """
    clock, start, play = Clock(), time.perf_counter(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        for temperature in (1.0, 0.1, 0.01, 0.001):
            data = short_hours(game, teacher, size, store=f"{folder}/hours", overlap=False)
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
    return (time.perf_counter() - start) / SECONDS


def sampling(memory: Memory, size: Size) -> float:
    """Draw minibatches of 32 as a run does, a block at a time; minibatches a second."""
    rng, start = np.random.default_rng(0), time.perf_counter()
    for _ in range(2 * size.blocks):
        memory.minibatch(rng, 32 * size.block_updates)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return 2 * size.blocks * size.block_updates / (time.perf_counter() - start)
