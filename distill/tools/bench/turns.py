"""Rivals that take turns, in parts of a benchmark that end in time."""

import statistics
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from distill.runs.status import Line, Status, clock

ROUNDS = 5
LATEST_SECONDS = 210.0
"""After which no part begins that can be left out, so that the benchmark ends within five minutes."""
TELL_SECONDS = 1.0
"""How often it is asked whether a line is due, where lines follow each other."""


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


class Turn(NamedTuple):
    """What a contestant does when it is its turn."""

    work: Callable[[], int]
    """Does a little, and returns how many things that were; called until the turn's time is over."""
    weight: float = 1.0
    """Of its time, beside others' turns."""


class Budget:
    """Time for the parts of a benchmark, one after the other, and a line that says where it is.

    A part never gets more than its seconds; where parts before it took longer, it gets less, and in the end nothing.

    Args:
        parts: Seconds of each, in their order.
    """

    def __init__(self, parts: dict[str, float]) -> None:
        self._parts = parts
        self._part, self._place = next(iter(parts)), 0
        self._begun = time.monotonic()
        self._status = Status(self._line)
        self._ended = threading.Event()
        self.seconds = 0.0
        """Of the present part."""
        self.too_late: list[str] = []
        """Parts for which no time was left."""

    def __enter__(self) -> "Budget":
        self._status.start()
        threading.Thread(target=self._tell, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._status.stop(erase=True)

    def begin(self, part: str, *, needed: bool = False) -> bool:
        """Begin a part, if it is one of the parts and not too late.

        Args:
            part: Its name.
            needed: Whether it is never too late for it.

        Returns:
            Whether it has begun.
        """
        if part not in self._parts:
            return False
        now = time.monotonic()
        if not needed and now > self._begun + LATEST_SECONDS:
            self.too_late.append(part)
            return False
        names = list(self._parts)
        self._part, self._place = part, names.index(part)
        left = max(0.0, self._begun + sum(self._parts.values()) - now)
        planned = sum(self._parts[name] for name in names[self._place :])
        self.seconds = self._parts[part] * min(1.0, left / planned if planned else 0.0)
        self._end = now + self.seconds
        return True

    @property
    def is_over(self) -> bool:
        """Whether the present part's time is."""
        return time.monotonic() >= self._end

    def _tell(self) -> None:
        while not self._ended.wait(TELL_SECONDS):
            self._status.tell()

    def _line(self) -> Line:
        taken, planned = time.monotonic() - self._begun, sum(self._parts.values())
        place = f"part {self._place + 1} of {len(self._parts)}, {self._part}"
        share = min(1.0, taken / planned) if planned else None
        return Line("bench", [place], [f"{clock(taken)} of about {clock(planned)}"], share)


def rate_of(work: Callable[[], int], seconds: float) -> float:
    """Work for so many seconds, once at least, and return what was done a second."""
    start, done = time.perf_counter(), 0
    while True:
        done += work()
        taken = time.perf_counter() - start
        if taken >= seconds:
            return done / taken


def take_turns(turns: dict[str, Turn], budget: Budget) -> dict[str, Rate]:
    """Measure each `ROUNDS` times, or as often as the time allows, but once at least; a round before does not count.

    Every other round has them in the opposite order.
    """
    unit = budget.seconds / (ROUNDS + 1) / sum(turn.weight for turn in turns.values())
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for number in range(ROUNDS + 1):
        for name in list(turns)[:: -1 if number % 2 else 1]:
            rate = rate_of(turns[name].work, turns[name].weight * unit)
            if number:
                rates[name].append(rate)
        if number and budget.is_over:
            break
    return {name: Rate(tuple(found)) for name, found in rates.items()}
