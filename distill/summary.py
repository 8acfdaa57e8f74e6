"""Scores of episodes in a few numbers, and what they mean beside a teacher's and a random player's."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from distill.errors import DistillError
from distill.randomness import generator


class Summary(NamedTuple):
    """Scores of several episodes in a few numbers."""

    mean: float
    interval95: tuple[float, float]
    """Percentiles 2.5 and 97.5 of the means of 10,000 bootstrap samples."""
    episodes: int
    standard_error: float
    """Of the mean; 0 for one episode."""
    iqm: float
    """Interquartile mean: of the middle half (Agarwal et al. 2021)."""
    median: float
    min: float
    max: float


def summarise(scores: Float[np.ndarray, " E"]) -> Summary:
    """Sum up scores, in whatever order; the bootstrap is seeded, so equal scores have equal intervals.

    Raises:
        ValueError: for no scores at all.
    """
    scores = np.sort(np.asarray(scores, np.float64))
    if scores.size == 0:
        raise DistillError("there are no scores to sum up")
    samples = generator(0, "bootstrap").choice(scores, size=(10_000, scores.size)).mean(axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    quarter = scores.size // 4
    return Summary(
        mean=float(scores.mean()),
        interval95=(float(low), float(high)),
        episodes=int(scores.size),
        standard_error=float(scores.std(ddof=1) / np.sqrt(scores.size)) if scores.size > 1 else 0.0,
        iqm=float(scores[quarter : scores.size - quarter].mean()),
        median=float(np.median(scores)),
        min=float(scores[0]),
        max=float(scores[-1]),
    )


def random_adjusted_ratio(student: float, teacher: float, random: float) -> float:
    """Return (student - random) / (teacher - random); not a number where the teacher is no better than random."""
    return (student - random) / (teacher - random) if teacher > random else float("nan")


def geometric_mean(ratios: Sequence[float | None]) -> float | None:
    """Return the geometric mean of ratios; None where one of them is missing, 0 or less."""
    known = [ratio for ratio in ratios if ratio is not None]
    if not known or len(known) < len(ratios) or any(ratio <= 0 for ratio in known):
        return None
    return float(np.exp(np.mean(np.log(known))))
