"""Rivals that take turns, in parts of a benchmark that end in time."""

import statistics
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from distill.status import LINE_SECONDS

ROUNDS = 5
LATEST_SECONDS = 210.0
"""After which no part begins that can be left out, so that the benchmark ends within five minutes."""


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
    """Time for the parts of a benchmark, one after the other, and a bar or a line now and then that says where it is.

    A part never gets more than its seconds; where parts before it took longer, it gets less, and in the end nothing.

    Args:
        parts: Seconds of each, in their order.
        console: Where to say it.
    """

    def __init__(self, parts: dict[str, float], console: Console) -> None:
        self._parts, self._console = parts, console
        self._part, self._place = next(iter(parts)), 0
        self._begun = time.monotonic()
        self._ended = threading.Event()
        self._bar = Progress(
            TextColumn("measuring {task.description}, part"),
            MofNCompleteColumn(),
            BarColumn(bar_width=20),
            TimeElapsedColumn(),
            TextColumn(f"of about {_clock(sum(parts.values()))}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=len(parts))
        self.seconds = 0.0
        """Of the present part."""
        self.too_late: list[str] = []
        """Parts for which no time was left."""

    def __enter__(self) -> "Budget":
        if self._console.is_terminal:
            self._bar.start()
        else:
            threading.Thread(target=self._print_lines, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._console.is_terminal:
            self._bar.stop()

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
        self._bar.update(self._task, description=part, completed=self._place + 1)
        return True

    @property
    def is_over(self) -> bool:
        """Whether the present part's time is."""
        return time.monotonic() >= self._end

    def _print_lines(self) -> None:
        total = f"of about {_clock(sum(self._parts.values()))}"
        while not self._ended.wait(LINE_SECONDS):
            place = f"part {self._place + 1} of {len(self._parts)}"
            taken = _clock(time.monotonic() - self._begun)
            self._console.print(f"measuring {self._part}, {place}, {taken} {total}", soft_wrap=True)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


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
