"""What a turn of a contestant is, and how much work it does."""

from collections.abc import Callable
from typing import NamedTuple

from distill import protocol


class Size(NamedTuple):
    """How much work a turn is; by default one to two seconds on two cores."""

    num_envs: int = 30

    play_steps: int = 6_000
    """Over all environments."""
    block_updates: int = 50
    blocks: int = 11
    """Of the smaller networks, of which the first is not counted."""
    full_blocks: int = 3
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


ON_GPU = Size(num_envs=60, play_steps=24_000, blocks=31, full_blocks=31, hour_steps=54_000, hour_blocks=200, hours=5)
"""The same on a GPU with 16 cores; hours are whole ones."""


Turn = Callable[[], float]
"""Does a piece of work and returns its rate, a second."""
