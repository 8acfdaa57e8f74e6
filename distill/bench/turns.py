"""What a turn of a contestant is, and how much work it does."""

import statistics
from collections.abc import Callable
from typing import NamedTuple

from distill import protocol


class Size(NamedTuple):
    """How much work a turn is; by default one to two seconds on two cores."""

    num_envs: int = 30

    play_steps: int = 6_000
    """Over all environments."""
    block_updates: int = 50
    round_blocks: int = 1
    """Blocks of `fit`, and then of each rival."""
    rounds: int = 20
    """Of the smaller networks."""
    full_rounds: int = 12
    """Of the full one."""
    hour_steps: int = 5_400
    """Of a shortened hour, a tenth of a real one, as its updates are."""
    hour_blocks: int = 20
    hours: int = 4
    """Of which the first, in which all begins, is not counted."""
    starts: int = 100
    """Of an evaluation from recorded starts, which takes about two minutes, and is only made beside a peer's."""
    start_episodes: int = 10
    """Of which the starts are drawn."""
    peer_episodes: int = 3
    """That the peer evaluates before, and after."""
    max_frames: int = protocol.MAX_FRAMES

    def rounds_of(self, network: str) -> int:
        """Say how often a network's contestants take turns."""
        return self.full_rounds if network == "dqn" else self.rounds


ON_GPU = Size(
    num_envs=60,
    play_steps=24_000,
    round_blocks=10,
    rounds=12,
    full_rounds=12,
    hour_steps=54_000,
    hour_blocks=200,
    hours=5,
)
"""The same on a GPU with 16 cores; hours are whole ones."""


Turn = Callable[[], float]
"""Does a piece of work and returns its rate, a second."""


class Rate(NamedTuple):
    """Of one thing, a second."""

    turns: tuple[float, ...]
    """As measured, a number a round."""

    @property
    def median(self) -> float:
        """The rate that is reported."""
        return statistics.median(self.turns)

    def over(self, other: "Rate") -> float:
        """Compare it to one that was measured in the same rounds: the median of the rounds' ratios."""
        return statistics.median(one / another for one, another in zip(self.turns, other.turns, strict=True))
