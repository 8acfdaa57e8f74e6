"""What the two kinds of play have in common: a teacher's whole hours, and pieces of a learning module's own."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

from distill.replay import Steps


class Piece(NamedTuple):
    """Play to be remembered, which directly follows the piece before it."""

    steps: Steps
    forget: bool = False
    """Whether the memory first forgets all that was before."""


@runtime_checkable
class PlaySource(Protocol):
    """The play of one game, in pieces: `TeacherPlay` or `LivePlay`."""

    overlap: bool
    """Whether play goes on while a student learns."""

    def begin_refill(self, pieces: int, *, played: int, new_hour: bool, resuming_mid_hour: bool) -> None:
        """Prepare for a refill, which may be another game's.

        Args:
            pieces: Of this game that are to be remembered after it.
            played: How many of them had been played before it.
            new_hour: Whether it is the first of an hour.
            resuming_mid_hour: Whether the run goes on within an hour, part of which was played before.
        """

    def due(self, on_step: Callable[[int, int], None]) -> Iterator[Piece]:
        """Find or play what is to be remembered and was not yielded yet, in the order of time.

        Args:
            on_step: Called now and then while play goes on, with the number of steps done, and of all.
        """

    def play_ahead(self, piece: int) -> None:
        """Begin to find or play a piece that will be due, if play goes on while a student learns."""

    def is_stored(self, piece: int) -> bool:
        """Return whether a piece need not be played."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a run that goes on needs, as plain values."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load that state, before the first refill."""

    def checkpoint_is_written(self) -> None:
        """Remove files that only older checkpoints need."""

    def close(self, *, failed: bool) -> None:
        """Stop playing; the state stays, and is brought up to date unless something has failed."""
