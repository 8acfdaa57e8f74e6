"""How long a run still takes: what is left of each kind of work, times what that has cost so far. Numbers alone."""

from collections import defaultdict
from dataclasses import dataclass, field


@dataclass
class Cost:
    """Seconds for a unit of work, as measured.

    Args:
        memory: After so many units, what was measured before counts half.
    """

    memory: float
    seconds: float = 0.0
    units: float = 0.0

    def add(self, seconds: float, units: float) -> None:
        """Add a measurement: a number of units, and the seconds that they took."""
        keep = 0.5 ** (units / self.memory)
        self.seconds = self.seconds * keep + seconds
        self.units = self.units * keep + units

    @property
    def known(self) -> bool:
        """Whether anything was measured."""
        return self.units > 0

    def each(self, guess: float) -> float:
        """Return the seconds for a unit, or a guess while nothing was measured."""
        return self.seconds / self.units if self.known else guess


@dataclass
class Estimate:
    """What is left of a run, and what it costs.

    Args:
        hour_steps: Steps of play an hour.
        updates_per_hour: Updates an hour.
        overlaps: Whether hours are played while others are learned.
        step_guess: Seconds for a step of play, until one was measured.
        update_guess: Seconds for an update.
        scoring_steps: Steps of one scoring, as a guess.
    """

    hour_steps: int
    updates_per_hour: int
    overlaps: bool = False
    step_guess: float = 0.0
    update_guess: float = 0.0
    scoring_steps: float = 0.0

    setup_seconds: float = 0.0
    """That environments took to be made, before the first step."""
    steps_left: float = 0.0
    """Of what is being played."""
    hours_to_play: float = 0.0
    """Whose play has not begun."""
    updates_left: float = 0.0
    hours_left: float = 0.0
    """Whose learning has not begun."""
    scorings_left: dict[str, float] = field(default_factory=dict)
    """By what is scored; without the one that goes on."""
    scoring_seconds: float | None = None
    """That the one that goes on still takes; None where none goes on."""

    def __post_init__(self) -> None:
        self.step = Cost(self.hour_steps)
        self.update = Cost(self.updates_per_hour)
        self.waited = Cost(1)
        """Seconds that an hour was waited for which was played while another was learned."""
        self.between = Cost(1)
        """Seconds of an hour that are neither play nor learning nor scoring."""
        self.scoring: dict[str, Cost] = defaultdict(lambda: Cost(0.5))

    @property
    def seconds_of_play(self) -> float:
        """Return what the play of an hour adds to it."""
        play = self.hour_steps * self.step.each(self.step_guess)
        if not self.overlaps:
            return play
        return self.waited.each(max(0.0, play - self.updates_per_hour * self.update.each(self.update_guess)))

    def seconds_of_scoring(self, what: str) -> float:
        """Return what one scoring takes: as long as the last of its kind did."""
        guess = self.setup_seconds + self.scoring_steps * self.step.each(self.step_guess)
        return self.scoring[what].each(guess)

    @property
    def left(self) -> float:
        """Return the seconds that the run still takes."""
        return (
            self.steps_left * self.step.each(self.step_guess)
            + self.hours_to_play * self.seconds_of_play
            + self.updates_left * self.update.each(self.update_guess)
            + self.hours_left * self.between.each(0.0)
            + sum(times * self.seconds_of_scoring(what) for what, times in self.scorings_left.items())
            + (self.scoring_seconds or 0.0)
        )


def scorings_between(first: int, end: int, every: float) -> int:
    """Count the scorings after the hours of these numbers.

    Args:
        first: Number of the first hour, from 0.
        end: Of the hour after the last.
        every: Hours from one scoring to the next, the first after so many; 0 means none.
    """
    return 0 if not every else max(0, int(end / every) - int(first / every))
