"""The memory of the last hours of play, and the rows that a learner draws from it.

Each frame is stored once; the stack of four that the player saw is put together again when a row is drawn.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, Shaped, UInt8
from torch import Tensor

from distill.errors import DistillError
from distill.frames import Frames, PackedFrames, RawFrames, blank
from distill.protocol import STACKED_FRAMES

Rows = TypeVar("Rows", bound="_Rows")


@dataclass(frozen=True)
class _Rows:
    """Tensors that share their first axis, of one game."""

    observations: UInt8[Tensor, "B 4 84 84"]
    game: str = field(default="", kw_only=True)

    def __len__(self) -> int:
        return len(self.observations)

    def __getitem__(self: Rows, rows: Tensor | slice) -> Rows:
        return self._each(lambda tensor: tensor[rows])

    def to(self: Rows, *args: Any, **kwargs: Any) -> Rows:
        """Move all tensors, as `torch.Tensor.to` does; Lightning calls it."""
        return self._each(lambda tensor: tensor.to(*args, **kwargs))

    def _each(self: Rows, change: Callable[[Tensor], Tensor]) -> Rows:
        changed: dict[str, Any] = {name: change(of) for name, of in vars(self).items() if isinstance(of, Tensor)}
        return replace(self, **changed)


@dataclass(frozen=True)
class Minibatch(_Rows):
    """What a student learns from."""

    labels: Float32[Tensor, "B A"]
    """The teacher's values of all legal actions, stored when it acted."""


@dataclass(frozen=True)
class Transitions(_Rows):
    """What a teacher learns from: an observation, the `T` steps that followed, and where they led."""

    actions: Int64[Tensor, " B"]
    """Of the first of the steps."""
    rewards: Float32[Tensor, "B T"]
    ended: Bool[Tensor, "B T"]
    lost_life: Bool[Tensor, "B T"]
    next_observations: UInt8[Tensor, "B 4 84 84"]
    """The observation after the steps; another episode's where one ended on the way."""


@dataclass(frozen=True)
class TDBatch(_Rows):
    """Observations, what was done, and what that should have been valued at."""

    actions: Int64[Tensor, " B"]
    targets: Float32[Tensor, " B"]


@dataclass(frozen=True)
class Block(Generic[Rows]):
    """The minibatches of one `training_step`, each of one game."""

    rows: dict[str, Rows]
    """Each game's, in the order in which they are learned."""
    games: tuple[str, ...]
    """Of each minibatch."""
    batch_size: int

    @classmethod
    def of(cls, rows: Rows, batch_size: int) -> "Block[Rows]":
        """Make one of a single game's rows."""
        return cls({rows.game: rows}, (rows.game,) * -(-len(rows) // batch_size), batch_size)

    @property
    def updates(self) -> int:
        """Count the block's minibatches."""
        return len(self.games)

    def to(self, *args: Any, **kwargs: Any) -> "Block[Rows]":
        """Move all rows, as `torch.Tensor.to` does; Lightning calls it."""
        return replace(self, rows={game: rows.to(*args, **kwargs) for game, rows in self.rows.items()})

    def __iter__(self) -> Iterator[Rows]:
        taken = dict.fromkeys(self.rows, 0)
        for game in self.games:
            yield self.rows[game][taken[game] : taken[game] + self.batch_size]
            taken[game] += self.batch_size


@dataclass(frozen=True)
class Steps:
    """A stretch of play by N environments, in the order of time: `T` steps of each."""

    frames: Shaped[np.ndarray, "T N"]
    """The newest frame of each observation, as `compress` gives it."""
    labels: Float32[np.ndarray, "T N A"]
    actions: Int64[np.ndarray, "T N"]
    rewards: Int32[np.ndarray, "T N"]
    ended: Bool[np.ndarray, "T N"]
    first: Bool[np.ndarray, "T N"]
    lost_life: Bool[np.ndarray, "T N"]

    @classmethod
    def empty(cls, length: int, num_envs: int, num_actions: int) -> "Steps":
        """Make room for `length` steps of `num_envs` environments."""
        shape = (length, num_envs)
        return cls(
            frames=blank(*shape),
            labels=np.empty((*shape, num_actions), np.float32),
            actions=np.empty(shape, np.int64),
            rewards=np.empty(shape, np.int32),
            ended=np.empty(shape, bool),
            first=np.empty(shape, bool),
            lost_life=np.empty(shape, bool),
        )

    def __len__(self) -> int:
        """Count the steps of each environment."""
        return len(self.frames)

    def __getitem__(self, times: slice) -> "Steps":
        return Steps(**{one.name: getattr(self, one.name)[times] for one in fields(self)})

    def of_envs(self, envs: slice) -> "Steps":
        """Return the steps of some environments, as views of these."""
        return Steps(**{one.name: getattr(self, one.name)[:, envs] for one in fields(self)})

    @classmethod
    def joined(cls, pieces: Sequence["Steps"]) -> "Steps":
        """Join stretches that directly follow each other."""
        return cls(**{one.name: np.concatenate([getattr(piece, one.name) for piece in pieces]) for one in fields(cls)})


class Memory:
    """The newest steps of N environments, from which rows are drawn uniformly.

    Args:
        length: Steps of each environment to remember.
        num_envs: Environments, N.
        num_actions: Legal actions, A.
        game: Whose steps they are.
        device: Where frames are kept as they are; None packs them, in main memory.
        life_loss: Whether a stack holds frames of one life alone.
    """

    def __init__(
        self,
        length: int,
        num_envs: int,
        num_actions: int,
        game: str = "",
        device: torch.device | None = None,
        *,
        life_loss: bool = False,
    ) -> None:
        self.game = game
        self.length = length
        self._ring = ring_of(length)
        self._frames: Frames = (
            PackedFrames(self._ring, num_envs) if device is None else RawFrames(self._ring, num_envs, device)
        )
        kept = Steps.empty(self._ring, num_envs, num_actions)
        self._kept = {one.name: getattr(kept, one.name) for one in fields(Steps) if one.name != "frames"}
        self._life_loss = life_loss
        self._older = np.full((self._ring, num_envs), -1)  # frames of the stack before the newest; none of nothing
        self._num_envs = num_envs
        self._written = 0
        self._forgotten = 0

    def __len__(self) -> int:
        """Count the steps that rows are drawn from."""
        return (self._written - self._oldest) * self._num_envs

    @property
    def _oldest(self) -> int:
        return max(self._forgotten, self._written - self.length)

    @property
    def episode_steps(self) -> float:
        """Estimate how long an episode is: the steps that rows are drawn from over the episodes that ended in them.

        Where fewer have ended than there are environments, no episode is known to be longer than what each has played.
        """
        newest = np.arange(self._oldest, self._written) % self._ring
        return len(self) / max(self._num_envs, int(self._kept["ended"][newest].sum()))

    @property
    def nbytes(self) -> int:
        """Count the bytes that all steps take, frames and everything else."""
        return self._frames.nbytes + sum(kept.nbytes for kept in self._kept.values()) + self._older.nbytes

    def extend(self, steps: Steps) -> None:
        """Add steps that directly follow the last ones; the oldest make room."""
        older = self._older[(self._written - 1) % self._ring]
        begins = steps.first
        if self._life_loss:
            before = self._kept["lost_life"][(self._written - 1) % self._ring] & (self._written > 0)
            begins = begins | np.concatenate([before[None], steps.lost_life[:-1]])
        places = np.arange(self._written, self._written + len(steps)) % self._ring
        for row, place in enumerate(places):
            older = np.where(begins[row], 0, np.minimum(older + 1, STACKED_FRAMES - 1))
            self._older[place] = older
        newest = slice(max(0, len(steps) - self._ring), None)  # whose places are all different
        for name, kept in self._kept.items():
            kept[places[newest]] = getattr(steps, name)[newest]
        self._frames.put(places[newest], steps.frames[newest])
        self._written += len(steps)

    def forget(self) -> None:
        """Draw no more from what was added so far; the frames that newer observations need of it stay."""
        self._forgotten = self._written

    def minibatch(self, rng: np.random.Generator, rows: int) -> Minibatch:
        """Draw steps uniformly, with replacement.

        Args:
            rng: What to draw with.
            rows: How many, B.

        Raises:
            ValueError: while the memory is empty.
        """
        times, envs = self._draw(rng, rows, ahead=0)
        return Minibatch(self._observations(times, envs), self._values("labels", times, envs), game=self.game)

    def transitions(self, rng: np.random.Generator, rows: int, n_steps: int) -> Transitions:
        """Draw steps uniformly, with replacement, and what followed them.

        Args:
            rng: What to draw with.
            rows: How many, B.
            n_steps: Steps to look ahead, T; an episode's end may lie within.

        Raises:
            ValueError: while no more than `n_steps` steps of each environment are remembered.
        """
        times, envs = self._draw(rng, rows, ahead=n_steps)
        ahead, same = times[:, None] + np.arange(n_steps), np.broadcast_to(envs[:, None], (rows, n_steps))
        rewards, ended, lost_life = (self._values(name, ahead, same) for name in ("rewards", "ended", "lost_life"))
        return Transitions(
            observations=self._observations(times, envs),
            actions=self._values("actions", times, envs),
            rewards=rewards.float(),
            ended=ended,
            lost_life=lost_life,
            next_observations=self._observations(times + n_steps, envs),
            game=self.game,
        )

    def skip(self, rng: np.random.Generator, rows: int, n_steps: int = 0) -> None:
        """Take as much from a generator as `minibatch` does, or `transitions`, without looking anything up."""
        self._draw(rng, rows, n_steps)

    def _draw(self, rng: np.random.Generator, rows: int, ahead: int) -> tuple[np.ndarray, np.ndarray]:
        newest = self._written - ahead
        if newest <= self._oldest:
            raise DistillError(f"the memory holds {len(self)} steps, too few to look {ahead} ahead")
        return rng.integers(self._oldest, newest, size=rows), rng.integers(self._num_envs, size=rows)

    def _observations(self, times: np.ndarray, envs: np.ndarray) -> UInt8[Tensor, "B 4 84 84"]:
        lags = np.arange(STACKED_FRAMES)[::-1]
        missing = lags > self._older[times % self._ring, envs][:, None]
        return self._frames.stacks((times[:, None] - lags) % self._ring, envs, missing)

    def _values(self, name: str, times: np.ndarray, envs: np.ndarray) -> Tensor:
        return torch.from_numpy(self._kept[name][times % self._ring, envs])


def ring_of(length: int) -> int:
    """Count the steps to keep: the oldest remembered observations need the frames before them."""
    return length + STACKED_FRAMES - 1
