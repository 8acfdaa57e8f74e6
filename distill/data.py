"""`ReplayDataModule`: each simulated hour refills the memory from the teacher, then yields blocks of minibatches."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator

import lightning as L
import numpy as np
from torch.utils.data import DataLoader, IterableDataset

from distill import protocol
from distill.atari import Atari, num_actions
from distill.evaluation import Episodes
from distill.randomness import generator
from distill.replay import Block, Memory, Minibatch, Steps, Transitions
from distill.rollout import Policy, Step, greedy_in, play
from distill.weights import load_teacher


class ReplayDataModule(L.LightningDataModule):
    """Play and memory of one game.

    An epoch is a simulated hour. In each, the teacher plays `hour_steps` steps into the memory and the student then
    takes `updates_per_hour` updates. Without a teacher the trained module plays itself, and `refills_per_hour` says
    in how many pieces play and updates alternate. Environments live on from refill to refill.

    Args:
        game: ALE name.
        teacher: A shipped teacher's name or a weight file; None lets the trained module play.
        seed: The run's seed, 0 or more.
        hour_steps: Steps an hour over all environments; a multiple of `num_envs` times `refills_per_hour`.
        updates_per_hour: Updates an hour; a multiple of `block_updates`.
        memory_hours: Hours that the memory holds, above 0.
        refills_per_hour: Pieces in which an hour is played, 1 or more; the blocks of an hour are dealt out evenly.
        warmup_steps: Steps that are played before the first refill; a multiple of `num_envs`.
        batch_size: Rows of a minibatch.
        block_updates: Updates of one `training_step`.
        n_steps: Steps that a learning teacher's targets look ahead, 1 or more.
        num_envs: Environments played side by side.
        num_threads: Their native threads; 0 means one per usable core.
        epsilon: Probability of a random action in play, 0 to 1; from `epsilon_start` it falls there over
            `epsilon_hours`.
        epsilon_start: Its value at the beginning; None means `epsilon`.
        epsilon_hours: How long it falls.
        max_frames: Longest episode in frames, in play and in evaluation.
        eval_episodes: Episodes that `validate` scores, 1 or more.
        eval_epsilon: Probability of a random action in them, 0 to 1.

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
        epsilon: float = protocol.EPSILON,
        epsilon_start: float | None = None,
        epsilon_hours: float = 0.0,
        max_frames: int = protocol.MAX_FRAMES,
        eval_episodes: int = protocol.EVAL_EPISODES,
        eval_epsilon: float = protocol.EPSILON,
    ) -> None:
        super().__init__()
        self.num_actions = num_actions(game)
        _check_at_least(
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
        _check_at_least(0, seed=seed, warmup_steps=warmup_steps, num_threads=num_threads, epsilon_hours=epsilon_hours)
        _check_share(epsilon=epsilon, epsilon_start=epsilon if epsilon_start is None else epsilon_start)
        _check_share(eval_epsilon=eval_epsilon)
        if not memory_hours > 0:
            raise ValueError(f"memory_hours is {memory_hours}; it must be above 0 (the paper's is 10)")
        _check_multiple("hour_steps", hour_steps, "num_envs x refills_per_hour", num_envs * refills_per_hour)
        _check_multiple("updates_per_hour", updates_per_hour, "block_updates", block_updates)
        _check_multiple("blocks of an hour", updates_per_hour // block_updates, "refills_per_hour", refills_per_hour)
        _check_multiple("warmup_steps", warmup_steps, "num_envs", num_envs)
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
        self.epsilon = epsilon
        self.epsilon_start = epsilon if epsilon_start is None else epsilon_start
        self.epsilon_hours = epsilon_hours
        self.max_frames = max_frames
        self.eval_episodes = eval_episodes
        self.eval_epsilon = eval_epsilon
        self.teacher_source = teacher
        self.teacher = load_teacher(teacher, game, self.num_actions)[0] if teacher else None
        self.on_play: list[Callable[[int, int], None]] = []
        """Called after each step with the steps played of a refill, and the refill's steps."""
        self.play_scores: deque[float] = deque(maxlen=protocol.EVAL_EPISODES)
        """Of the last episodes that were played into the memory."""
        self._play_totals = np.zeros(num_envs)
        self.memory: Memory | None = None
        self.played_steps = 0
        self._play: Iterator[Step] | None = None

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
                self.refill(self.hour_steps // self.refills_per_hour, hour)
            if self.teacher is not None:
                yield Block(self.memory.minibatch(rng, rows), self.batch_size)
            else:
                yield Block(self.memory.transitions(rng, rows, self.n_steps), self.batch_size)

    def refill(self, steps: int, hour: int) -> None:
        """Play so many steps, over all environments, into the memory.

        Args:
            steps: How many; the first refill of a run adds `warmup_steps`.
            hour: The present one, from 0; above 0 in the first refill where a run goes on.
        """
        if self.memory is None:
            length = int(self.memory_hours * self.hour_steps) // self.num_envs
            self.memory = Memory(length, self.num_envs, self.num_actions)
            self._play = self._endless_play(hour)
            self.played_steps = hour * self.hour_steps
            steps += self.warmup_steps
        self.memory.extend(self._collect(steps // self.num_envs))

    def setup(self, stage: str) -> None:
        """Begin with an empty memory."""
        if stage == "fit":
            self.memory, self._play = None, None
            self.play_scores.clear()
            self._play_totals[:] = 0

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    def _collect(self, length: int) -> Steps:
        steps = Steps.empty(length, self.num_envs, self.num_actions)
        for row in range(length):
            step = next(self._play)
            steps.frames[row] = step.observations[:, -1]
            steps.labels[row] = step.values
            steps.actions[row] = step.actions
            steps.rewards[row] = step.rewards
            steps.ended[row] = step.ended
            steps.first[row] = step.first
            steps.lost_life[row] = step.lost_life
            self._play_totals += step.rewards
            self.play_scores.extend(self._play_totals[step.ended].tolist())
            self._play_totals[step.ended] = 0
            self.played_steps += self.num_envs
            for listener in self.on_play:
                listener((row + 1) * self.num_envs, length * self.num_envs)
        return steps

    def _endless_play(self, hour: int) -> Iterator[Step]:
        games = Atari(self.game, self.num_envs, max_frames=self.max_frames, num_threads=self.num_threads)
        if self.teacher is not None:
            self.teacher.to(self.trainer.strategy.root_device)
        policy = self._learning_policy() if self.teacher is None else greedy_in(self.teacher)
        seeds = (self.seed, "play", self.game, self._rank, hour)
        episodes = (generator(*seeds, number) for number in itertools.count())
        return play(policy, games, episodes, self._epsilon)

    def _learning_policy(self) -> Policy:
        network = greedy_in(self.trainer.lightning_module.network)

        def policy(observations: np.ndarray) -> np.ndarray:
            with self.trainer.precision_plugin.forward_context():
                return network(observations)

        return policy

    def _epsilon(self) -> float:
        fall = self.epsilon_hours * self.hour_steps
        share = 1.0 if fall == 0 else min(1.0, self.played_steps / fall)
        return self.epsilon_start + share * (self.epsilon - self.epsilon_start)


class _Hour(IterableDataset):
    """The blocks of the Trainer's present epoch."""

    def __init__(self, data: ReplayDataModule) -> None:
        self.data = data

    def __len__(self) -> int:
        return self.data.blocks_per_hour

    def __iter__(self) -> Iterator[Block]:
        return self.data.hour(self.data.trainer.current_epoch)


def _check_at_least(low: int, **values: float) -> None:
    for name, value in values.items():
        if value < low:
            raise ValueError(f"{name} is {value}; it must be {low} or more")


def _check_share(**values: float) -> None:
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it must be between 0 and 1")


def _check_multiple(name: str, value: int, of: str, unit: int) -> None:
    if value % unit:
        raise ValueError(f"{name} is {value}; it must be a multiple of {of}, {unit}")
