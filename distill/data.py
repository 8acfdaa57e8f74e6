"""`ReplayDataModule`: each simulated hour refills the memory from the teacher, then yields blocks of minibatches."""

import math
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import lightning as L
import numpy as np
import torch
from torch.utils.data import DataLoader, IterableDataset

from distill import checks, protocol
from distill.atari import num_actions, usable_cores
from distill.evaluation import Episodes
from distill.randomness import generator
from distill.recording import Recording
from distill.replay import Block, Memory, Minibatch, Steps, Transitions
from distill.rollout import Policy, Rules, greedy_in
from distill.schedule import Schedule
from distill.self_play import SelfPlay
from distill.store import Store
from distill.weights import load_teacher

ENOUGH_CORES = 4
"""With so many, learning leaves half of them to play."""


class ReplayDataModule(L.LightningDataModule):
    """Play and memory of one game.

    An epoch is a simulated hour. In each, the teacher plays `hour_steps` steps into the memory and the student then
    takes `updates_per_hour` updates; see `overlap` for when the next is played. The teacher's hours are files: an
    hour that is found in the store is not played. Without a teacher the trained module plays itself, and
    `refills_per_hour` says in how many pieces play and updates alternate. Environments live on from refill to refill.

    Args:
        game: ALE name.
        teacher: A shipped teacher's name or a weight file; None lets the trained module play.
        seed: The run's seed, 0 or more.
        hour_steps: Steps an hour over all environments; a multiple of `num_envs` times `refills_per_hour`.
        updates_per_hour: Updates an hour; a multiple of `block_updates`.
        memory_hours: Hours that the memory holds, above 0.
        refills_per_hour: Pieces in which an hour is played, 1 or more; the blocks of an hour are dealt out evenly.
            With a teacher 1.
        warmup_steps: Steps that are played before the first refill; a multiple of `num_envs`. With a teacher 0.
        batch_size: Rows of a minibatch.
        block_updates: Updates of one `training_step`.
        n_steps: Steps that a learning teacher's targets look ahead, 1 or more.
        num_envs: Environments played side by side.
        num_threads: Threads of play, for the environments and for the teacher's network on the CPU. 0 means all usable
            cores where play and learning take turns, else all that learning leaves, which are half of them.
        epsilon: Probability of a random action in play, 0 to 1; or `[hour, probability]` points, between which it
            changes linearly.
        max_frames: Longest episode in frames, in play and in evaluation.
        eval_episodes: Episodes that `validate` scores, 1 or more.
        eval_epsilon: Probability of a random action in them, 0 to 1.
        store: Folder of the teacher's hours, which any number of runs may share; None means the run's own.
        store_limit_gb: Room for them in 10^9 bytes, above 0; beyond it the hours that were not used for the longest
            time go, but none that is in a run's memory. None means no limit.
        overlap: Whether the teacher plays the next hour while the student learns from this one. The outcome is the
            same. None means wherever a GPU learns, or four cores or more are usable: on two, taking turns on both is as
            fast for the smallest student (70 s an hour, against 67) and faster for the full one (180 s, against 250).

    Raises:
        ValueError: for a value out of its range, and as `distill.weights.load_teacher`.
    """

    def __init__(
        self,
        game: str,
        teacher: str | None = None,
        seed: int = 0,
        hour_steps: int = protocol.STEPS_PER_HOUR,
        updates_per_hour: int = protocol.UPDATES_PER_HOUR,
        memory_hours: float = protocol.MEMORY_HOURS,
        refills_per_hour: int = 1,
        warmup_steps: int = 0,
        batch_size: int = 32,
        block_updates: int = 50,
        n_steps: int = 1,
        num_envs: int = 30,
        num_threads: int = 0,
        epsilon: float | list[tuple[float, float]] = protocol.EPSILON,
        max_frames: int = protocol.MAX_FRAMES,
        eval_episodes: int = protocol.EVAL_EPISODES,
        eval_epsilon: float = protocol.EPSILON,
        store: str | None = None,
        store_limit_gb: float | None = None,
        overlap: bool | None = None,
    ) -> None:
        super().__init__()
        self.num_actions = num_actions(game)
        checks.at_least(
            1,
            hour_steps=hour_steps,
            updates_per_hour=updates_per_hour,
            refills_per_hour=refills_per_hour,
            batch_size=batch_size,
            block_updates=block_updates,
            n_steps=n_steps,
            num_envs=num_envs,
            max_frames=max_frames,
            eval_episodes=eval_episodes,
        )
        checks.at_least(0, seed=seed, warmup_steps=warmup_steps, num_threads=num_threads)
        self.epsilon = Schedule.of(epsilon)
        for value in self.epsilon.values:
            checks.between(0, 1, epsilon=value)
        checks.between(0, 1, eval_epsilon=eval_epsilon)
        checks.above_zero(" (the paper's is 10)", memory_hours=memory_hours)
        if store_limit_gb is not None:
            checks.above_zero(", or null for no limit", store_limit_gb=store_limit_gb)
        if teacher is not None and (refills_per_hour, warmup_steps) != (1, 0):
            raise ValueError(
                f"refills_per_hour is {refills_per_hour} and warmup_steps is {warmup_steps}; with a teacher, whose "
                "play does not depend on what is learned, they must be 1 and 0"
            )
        checks.multiple("hour_steps", hour_steps, "num_envs x refills_per_hour", num_envs * refills_per_hour)
        checks.multiple("updates_per_hour", updates_per_hour, "block_updates", block_updates)
        checks.multiple("blocks of an hour", updates_per_hour // block_updates, "refills_per_hour", refills_per_hour)
        checks.multiple("warmup_steps", warmup_steps, "num_envs", num_envs)
        self.game = game
        self.seed = seed
        self.hour_steps = hour_steps
        self.blocks_per_hour = updates_per_hour // block_updates
        self.memory_hours = memory_hours
        self.refills_per_hour = refills_per_hour
        self.warmup_steps = warmup_steps
        self.batch_size = batch_size
        self.block_updates = block_updates
        self.n_steps = n_steps
        self.num_envs = num_envs
        self.num_threads = num_threads
        self.max_frames = max_frames
        self.eval_episodes = eval_episodes
        self.eval_epsilon = eval_epsilon
        self.teacher_source = teacher
        self.teacher = load_teacher(teacher, game, self.num_actions)[0] if teacher else None
        self.store = store
        self.store_limit_gb = store_limit_gb
        self.overlap = overlap
        self.on_play: list[Callable[[int, int], None]] = []
        """Called now and then while nothing is learned, with the steps played of a refill, and the refill's steps."""
        self.play_scores: deque[float] = deque(maxlen=protocol.EVAL_EPISODES)
        """Of the last episodes that were played into the memory."""
        self._totals = np.full(num_envs, np.nan)
        self.memory: Memory | None = None
        self.recording: Recording | None = None
        """The teacher's play, where there is a teacher."""
        self.self_play: SelfPlay | None = None
        """The trained module's, where there is none."""

    def setup(self, stage: str) -> None:
        """Begin with an empty memory."""
        if stage != "fit":
            return
        length = int(self.memory_hours * self.hour_steps) // self.num_envs
        self.memory = Memory(length, self.num_envs, self.num_actions)
        self.play_scores.clear()
        self._totals[:] = np.nan
        if self.teacher is not None:
            cores, on_gpu = usable_cores(), self.trainer.strategy.root_device.type != "cpu"
            overlap = on_gpu or cores >= ENOUGH_CORES if self.overlap is None else self.overlap
            # With enough cores learning has its half whether it shares them or not, for the same bits.
            learn_threads = cores - cores // 2 if cores >= ENOUGH_CORES else cores
            play_threads = max(1, cores - learn_threads) if overlap or cores >= ENOUGH_CORES else cores
            # Weights depend on the number of threads in their last bits: it must not depend on who plays when.
            torch.set_num_threads(min(torch.get_num_threads(), learn_threads))
            self.recording = Recording(
                self._rules(),
                self.teacher.to(self.trainer.strategy.root_device),
                Store(Path(self.store or Path(self.trainer.default_root_dir) / "hours"), self.store_limit_gb),
                keep_hours=math.ceil(self.memory_hours) + 1,
                overlap=overlap,
                num_threads=self.num_threads or play_threads,
            )

    def teardown(self, stage: str) -> None:
        """Stop playing."""
        for play in (self.recording, self.self_play):
            if play is not None:
                play.close()
        self.recording = self.self_play = None

    def on_exception(self, exception: BaseException) -> None:
        """Stop playing."""
        self.teardown("fit")

    def train_dataloader(self) -> DataLoader:
        """Yield an hour's blocks; the memory is refilled as they are asked for."""
        return DataLoader(_Hour(self), batch_size=None)

    def val_dataloader(self) -> DataLoader:
        """Yield this rank's share of the evaluation's episodes."""
        rank, ranks = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        return DataLoader([self.eval_rules(range(rank, self.eval_episodes, ranks))], batch_size=None)

    def eval_rules(self, numbers: range | None = None) -> Episodes:
        """Say which episodes are scored, and how."""
        numbers = tuple(range(self.eval_episodes) if numbers is None else numbers)
        return Episodes(self.game, numbers, self.seed, self.eval_epsilon, self.max_frames)

    def hour(self, hour: int) -> Iterator[Block[Minibatch] | Block[Transitions]]:
        """Play and yield one hour.

        Args:
            hour: Its number, from 0.
        """
        rng = generator(self.seed, "minibatch", self.game, self._rank, hour)
        rows = self.batch_size * self.block_updates
        for block in range(self.blocks_per_hour):
            if block % (self.blocks_per_hour // self.refills_per_hour) == 0:
                self.refill(hour)
            if self.teacher is not None:
                yield Block(self.memory.minibatch(rng, rows), self.batch_size)
            else:
                yield Block(self.memory.transitions(rng, rows, self.n_steps), self.batch_size)

    def refill(self, hour: int) -> None:
        """Add an hour of the teacher's play, or a piece of an hour of the trained module's, to the memory.

        Where a run goes on at a later hour, the teacher's hours before it come first.

        Args:
            hour: The present one, from 0.
        """
        if self.recording is None:
            if self.self_play is None:
                self.self_play = SelfPlay(
                    self._rules(),
                    self._trained_policy(),
                    hour=hour,
                    warmup_steps=self.warmup_steps,
                    num_threads=self.num_threads or usable_cores(),
                )
            self._remember(self.self_play.steps(self.hour_steps // self.refills_per_hour, self._tell))
            return
        # One hour more than is remembered: the oldest observation needs the frames before it.
        oldest = hour if len(self.memory) else max(0, hour - math.ceil(self.memory_hours))
        for one in range(oldest, hour + 1):
            last = one + 1 == self.trainer.max_epochs
            self._remember(self.recording.hour(one, last=last, on_step=lambda done: self._tell(done, self.hour_steps)))

    def _rules(self) -> Rules:
        return Rules(self.game, self.seed, self._rank, self.num_envs, self.hour_steps, self.epsilon, self.max_frames)

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _trained_policy(self) -> Policy:
        network = greedy_in(self.trainer.lightning_module.network)

        def policy(observations: np.ndarray) -> np.ndarray:
            with self.trainer.precision_plugin.forward_context():
                return network(observations)

        return policy

    def _remember(self, steps: Steps) -> None:
        self.memory.extend(steps)
        for first, rewards, ended in zip(steps.first, steps.rewards, steps.ended, strict=True):
            self._totals[first] = 0  # until then, not a number: an episode whose beginning was not seen has no score
            self._totals += rewards
            self.play_scores.extend(score for score in self._totals[ended].tolist() if not math.isnan(score))

    def _tell(self, done: int, steps: int) -> None:
        for listener in self.on_play:
            listener(done, steps)


class _Hour(IterableDataset):
    """The blocks of the Trainer's present epoch."""

    def __init__(self, data: ReplayDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.blocks_per_hour

    def __iter__(self) -> Iterator[Block]:
        return self.data.hour(self.data.trainer.current_epoch)
