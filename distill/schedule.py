"""A number that changes with simulated time."""

import itertools
from typing import NamedTuple

import numpy as np

from distill.errors import DistillError


class Schedule(NamedTuple):
    """A number at every simulated hour: linear between points, and constant before the first and after the last."""

    hours: tuple[float, ...]
    values: tuple[float, ...]

    @classmethod
    def of(cls, points: float | list[tuple[float, float]]) -> "Schedule":
        """Make one of a number, which is then constant, or of `(hour, value)` points.

        Raises:
            ValueError: if there are no points, or their hours do not ascend from 0 on.
        """
        if not isinstance(points, list):
            return cls((0.0,), (float(points),))
        hours, values = tuple(zip(*points, strict=True)) or ((), ())
        if not hours or hours[0] < 0 or any(after <= before for before, after in itertools.pairwise(hours)):
            raise DistillError(f"a schedule has hours {list(hours)}; there must be one, and they must ascend from 0 on")
        return cls(tuple(map(float, hours)), tuple(map(float, values)))

    def at(self, hour: float) -> float:
        """Return the number at an hour of simulated time."""
        return float(np.interp(hour, self.hours, self.values))
