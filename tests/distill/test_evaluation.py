"""Scores of real games, and what is made of them."""

import math

import numpy as np
import pytest
import torch

from distill import evaluation
from distill.atari.environments import MAX_SEED, Atari
from distill.atari.rules import EnvRules
from distill.engine import frozen_policy
from distill.evaluation import EvalConfig, Progress, play_episodes, random_score, score_episodes
from distill.networks import build
from distill.randomness import generator
from distill.summary import random_adjusted_ratio, summarise

QBERT = EvalConfig("qbert", (0, 1, 2, 3), seed=3, epsilon=0.0, max_frames=800)


def policy(observations: np.ndarray) -> np.ndarray:
    """One of six actions by the pixels of the observation."""
    return np.eye(6, dtype=np.float32)[observations.sum(axis=(1, 2, 3), dtype=np.int64) // 2 % 6]


@pytest.fixture(scope="module")
def scores():
    return score_episodes(policy, QBERT)


def test_scores_are_sums_of_rewards(scores):
    """A score is what a plain loop over one environment adds up, neither clipped nor discounted."""
    expected = []
    for number in QBERT.numbers:
        games = Atari("qbert", 1, max_frames=800)
        observations = games.restart(generator(3, "evaluation", "qbert", number).integers(MAX_SEED, size=1))
        score, ended = 0, False
        while not ended:
            observations, rewards, ends, _ = games.step(policy(observations).argmax(axis=1))
            score, ended = score + rewards[0], ends[0]
        expected.append(score)
    assert scores.tolist() == expected
    assert min(expected) > 50
    assert len(set(expected)) > 2


@pytest.mark.parametrize(
    ("numbers", "max_envs"), [((2, 3), 30), ((3, 0, 2, 1), 30), ((3, 0, 2, 1), 3), ((1, 2), 1), ((1, 1), 30)]
)
def test_a_score_belongs_to_its_number(scores, numbers, max_envs, monkeypatch):
    """Whichever episodes are scored together, in whatever order and on however few environments."""
    monkeypatch.setattr(evaluation, "MAX_ENVS", max_envs)
    found = score_episodes(policy, QBERT._replace(numbers=numbers))
    assert found.tolist() == [scores[number] for number in numbers]


@pytest.mark.parametrize("changed", [{"seed": 4}, {"epsilon": 1.0}, {"max_frames": 100}])
def test_the_rules_count(scores, changed):
    """Seed, epsilon and the longest episode all reach the games."""
    assert score_episodes(policy, QBERT._replace(numbers=(0, 1), **changed)).tolist() != scores[:2].tolist()


def test_progress_is_told(monkeypatch):
    """After each step the listener hears how far each episode is: its steps, its score so far, whether it has ended."""
    monkeypatch.setattr(evaluation, "MAX_ENVS", 2)
    heard = []
    episodes = QBERT._replace(numbers=(0, 1, 2), max_frames=40)
    scores = score_episodes(
        policy, episodes, lambda at: heard.append((at.steps.tolist(), at.ended.tolist(), at.scores.tolist()))
    )
    assert [steps for steps, _, _ in heard] == [[n, n, 0] for n in range(1, 11)] + [[10, 10, n] for n in range(1, 11)]
    assert [ended for _, ended, _ in heard].count([True, True, False]) == 10
    assert heard[-1] == ([10, 10, 10], [True] * 3, scores.tolist())


def progress(steps: list[int], scores: list[float], ended: list[bool]) -> Progress:
    return Progress(QBERT, np.array(scores), np.array(steps), np.array(ended))


def test_progress_is_described():
    """While no episode has ended, frames and running scores say how far play is; then those that have, and theirs."""
    assert progress([0, 0], [0.0, 0.0], [False, False]).described == "0 frames"
    assert progress([300, 200, 0], [3.0, 4.0, 0.0], [False] * 3).described == "2,000 frames, 3.5 so far"
    assert progress([300, 200, 10], [3.0, 4.0, 0.0], [True, True, False]).described == "2/3 episodes, mean 3.5"


def test_what_is_left_of_episodes():
    """Those that are open go on to the mean length of what has ended; one beyond it for a quarter of its own."""
    assert progress([5, 7], [0.0] * 2, [False] * 2).steps_left() is None
    assert progress([5, 20, 0], [0.0] * 3, [False] * 3).steps_left(10.0) == 5 + 5 + 10
    assert progress([30, 5], [0.0] * 2, [True, False]).steps_left() == 25
    assert progress([40, 5], [0.0] * 2, [True, False]).steps_left(10.0) == 15
    assert progress([40, 5], [0.0] * 2, [True] * 2).steps_left() == 0


def test_no_episodes():
    """Scoring nothing gives no scores, which cannot be summed up."""
    scores = score_episodes(policy, QBERT._replace(numbers=()))
    assert scores.shape == (0,)
    with pytest.raises(ValueError, match="no scores"):
        summarise(scores)


def test_summary():
    """The interval is that of a mean: centred on it, and as wide as the spread over the root of the number."""
    scores = np.random.default_rng(0).normal(50, 10, size=100)
    mean, (low, high), episodes, standard_error, iqm, median, least, most = summarise(scores)
    assert standard_error == pytest.approx(scores.std(ddof=1) / 10)
    assert iqm == pytest.approx(np.sort(scores)[25:75].mean())
    assert (median, least, most) == (np.median(scores), scores.min(), scores.max())
    assert mean == pytest.approx(scores.mean())
    assert episodes == 100
    assert low < mean < high
    assert mean - low == pytest.approx(1.96 * scores.std() / 10, rel=0.1)
    assert high - mean == pytest.approx(1.96 * scores.std() / 10, rel=0.1)
    assert summarise(scores[::-1]) == summarise(scores)


def test_summary_of_one_score():
    """One score is its own mean and interval."""
    assert summarise(np.array([7.0])) == (7.0, (7.0, 7.0), 1, 0.0, 7.0, 7.0, 7.0, 7.0)


@pytest.mark.parametrize(
    ("student", "teacher", "random", "ratio"),
    [
        (18.9, 18.9, -20.7, 1.0),
        (-20.7, 18.9, -20.7, 0.0),
        (-0.9, 18.9, -20.7, 0.5),  # 19.8 / 39.6
        (300.0, 200.0, 100.0, 2.0),
        (-100.0, 200.0, 100.0, -2.0),
    ],
)
def test_ratio(student, teacher, random, ratio):
    """A random player has 0, the teacher 1."""
    assert random_adjusted_ratio(student, teacher, random) == pytest.approx(ratio)


@pytest.mark.parametrize("teacher", [100.0, 50.0])
def test_ratio_to_a_poor_teacher(teacher):
    """A teacher no better than random is no measure."""
    assert math.isnan(random_adjusted_ratio(300.0, teacher, 100.0))


def test_published_random_score():
    """Pong's random score is the printed one, and nothing is played for it."""
    assert random_score(EvalConfig("pong", (), seed=0)) == -20.7


def test_played_random_score():
    """Elsewhere a random player is scored, whatever the epsilon of the episodes."""
    episodes = EvalConfig("carnival", (0, 1, 2), seed=0, epsilon=0.05, max_frames=400)
    favourite = lambda observations: np.eye(6, dtype=np.float32)[np.full(len(observations), 3)]  # noqa: E731
    expected = score_episodes(favourite, episodes._replace(epsilon=1.0))
    assert expected.min() > 0
    assert random_score(episodes) == pytest.approx(expected.mean())


def test_an_interval_is_of_95_percent():
    """Of the exact binomial distribution of 50 zeros and 50 ones, P(<= 39) is 1.8% and P(<= 40) is 2.8%."""
    assert summarise(np.repeat([0.0, 1.0], 50)).interval95 == (0.40, 0.60)


def test_published_random_scores_are_of_their_rules(monkeypatch):
    """With other starts, sticky actions or shorter episodes a random player plays."""
    monkeypatch.setattr("distill.evaluation.score_episodes", lambda policy, rules: np.array([7.0]))
    whole = EvalConfig("pong", (0,), 0)
    assert random_score(whole) == -20.7
    for other in ({"max_frames": 400}, {"env": EnvRules(sticky=0.25)}, {"starts": object()}):
        assert random_score(whole._replace(**other)) == 7.0


def test_groups_of_environments_play_what_all_play_together():
    """An episode's score and actions are the same, whether its environment steps with all others or with a few."""
    torch.manual_seed(0)
    asked = frozen_policy(build("net5", num_actions=6))
    episodes = QBERT._replace(numbers=tuple(range(11)), max_frames=300)
    grouped, together = (play_episodes(policy, episodes) for policy in (asked, lambda seen: asked(seen)))
    assert len(np.unique(together.fingerprints)) > 5
    assert np.array_equal(grouped.scores, together.scores)
    assert np.array_equal(grouped.fingerprints, together.fingerprints)


def test_what_fails_in_a_group_ends_the_evaluation():
    """The error of one thread comes out, and the others stop."""
    torch.manual_seed(0)
    asked = frozen_policy(build("net5", num_actions=6))
    heard = []

    def fail(progress: Progress) -> None:
        heard.append(1)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        play_episodes(asked, QBERT._replace(numbers=tuple(range(11)), max_frames=300), fail)
    assert len(heard) < 11
