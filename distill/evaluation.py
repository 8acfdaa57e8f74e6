"""Episodes -> scores, with intervals, and what they mean beside a teacher's and a random player's."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from distill import protocol
from distill.atari import Atari, num_actions
from distill.randomness import generator
from distill.rollout import Policy, play

MAX_ENVS = 30
"""Environments that an evaluation steps together at most."""


class Episodes(NamedTuple):
    """Which episodes to score, and by which rules."""

    game: str
    numbers: tuple[int, ...]
    """An episode depends on its number and `seed`, not on its companions."""
    seed: int
    epsilon: float = protocol.EPSILON
    max_frames: int = protocol.MAX_FRAMES


class Summary(NamedTuple):
    """Scores of several episodes in a few numbers."""

    mean: float
    interval95: tuple[float, float]
    """Percentiles 2.5 and 97.5 of the means of 10,000 bootstrap samples."""
    episodes: int


def score_episodes(
    policy: Policy, episodes: Episodes, on_episode: Callable[[], None] = lambda: None
) -> Float[np.ndarray, " E"]:
    """Play episodes from no-op starts and return their scores.

    Args:
        policy: Who plays.
        episodes: What to play.
        on_episode: Called whenever an episode has ended.

    Returns:
        Undiscounted, unclipped sums of rewards, in the order of `episodes.numbers`.
    """
    game, numbers, seed, epsilon, max_frames = episodes
    scores = np.zeros(len(numbers))
    if not numbers:
        return scores
    games = Atari(game, min(len(numbers), MAX_ENVS), max_frames=max_frames)
    episode = lambda place: generator(seed, "evaluation", game, numbers[place]) if place < len(numbers) else None  # noqa: E731
    for step in play(policy, games, episode, lambda: epsilon):
        playing = step.episodes >= 0
        np.add.at(scores, step.episodes[playing], step.rewards[playing])
        for _ in range(int(step.ended.sum())):
            on_episode()
    games.close()
    return scores


def summarise(scores: Float[np.ndarray, " E"]) -> Summary:
    """Sum up scores; the bootstrap is seeded, so equal scores have equal intervals.

    Raises:
        ValueError: for no scores at all.
    """
    scores = np.asarray(scores, np.float64)
    if scores.size == 0:
        raise ValueError("there are no scores to sum up")
    samples = generator(0, "bootstrap").choice(scores, size=(10_000, scores.size)).mean(axis=1)
    low, high = np.percentile(samples, [2.5, 97.5])
    return Summary(float(scores.mean()), (float(low), float(high)), int(scores.size))


def random_score(episodes: Episodes) -> float:
    """Return a random player's mean score: published for the paper's ten games, else played."""
    if episodes.game in protocol.NOOP_SCORES:
        return protocol.NOOP_SCORES[episodes.game].random
    actions = num_actions(episodes.game)
    policy = lambda observations: np.zeros((len(observations), actions), np.float32)  # noqa: E731
    return float(score_episodes(policy, episodes._replace(epsilon=1.0)).mean())


def random_adjusted_ratio(student: float, teacher: float, random: float) -> float:
    """Return (student - random) / (teacher - random); not a number where the teacher is no better than random."""
    return (student - random) / (teacher - random) if teacher > random else float("nan")
