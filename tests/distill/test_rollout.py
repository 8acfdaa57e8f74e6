"""The loop that plays, with real games and policies that need no network."""

import itertools
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from same import same_steps

from distill.atari.environments import Atari
from distill.randomness import generator
from distill.replay import Memory, Steps
from distill.rollout import NextEpisode, PlayConfig, PlayState, Policy, Step, collect, in_turn, play
from distill.schedule import Schedule


def episodes(count: float = math.inf, seed: int = 0) -> NextEpisode:
    return in_turn(lambda number: generator(seed, "test", number) if number < count else None)


def fixed(probability: float) -> Callable[[], float]:
    return lambda: probability


def constant(num_actions: int, action: int = 0) -> Policy:
    """A policy with a favourite action."""
    return lambda observations: np.tile(np.eye(num_actions, dtype=np.float32)[action], (len(observations), 1))


def pixel_counter(num_actions: int) -> Policy:
    """A policy that depends on each observation, and on no other: the sum of its pixels says what to do."""
    return lambda observations: np.eye(num_actions, dtype=np.float32)[
        observations.sum(axis=(1, 2, 3), dtype=np.int64) // 7 % num_actions
    ]


def by_episode(steps: Iterator[Step]) -> dict[int, list[tuple]]:
    """What happened in each episode, step by step."""
    seen = defaultdict(list)
    for step in steps:
        for env in np.flatnonzero(step.episodes >= 0):
            what = step.observations[env].tobytes(), step.actions[env], step.rewards[env], step.ended[env]
            seen[int(step.episodes[env])].append(what)
    return dict(seen)


def test_stored_frames_rebuild_the_stacks():
    """The newest frames and the starts of episodes are enough to give back, bit for bit, what the player saw."""
    games, length = Atari("pong", 2, max_frames=76), 50
    observations = []

    def numbering(seen: np.ndarray) -> np.ndarray:
        observations.append(seen.copy())
        return (2 * len(observations) - 2 + np.arange(2, dtype=np.float32))[:, None].repeat(6, axis=1)

    steps = collect(play(numbering, games, episodes(), fixed(1.0), packs=True), length, games)
    assert steps.first.sum() == 6  # each environment began at 0, 19 and 38
    memory = Memory(length, 2, games.num_actions)
    memory.extend(steps)
    batch = memory.minibatch(np.random.default_rng(0), 1600)  # misses one of 100 with probability e^-16
    numbers = batch.labels[:, 0].int().numpy()
    assert set(numbers.tolist()) == set(range(100))
    np.testing.assert_array_equal(batch.observations.numpy(), np.concatenate(observations)[numbers])


def test_the_policy_is_asked_about_what_is_yielded():
    """A step holds the observations that the policy was shown and the values that it gave; epsilon 0 obeys them."""
    rng, asked = np.random.default_rng(0), []

    def policy(observations: np.ndarray) -> np.ndarray:
        asked.append((observations.copy(), rng.random((len(observations), 6), np.float32)))
        return asked[-1][1]

    for step in itertools.islice(play(policy, Atari("pong", 3, max_frames=80), episodes(), fixed(0.0)), 30):
        observations, values = asked[-1]
        np.testing.assert_array_equal(step.observations, observations)
        np.testing.assert_array_equal(step.values, values)
        np.testing.assert_array_equal(step.actions, values.argmax(axis=1))
    assert len(asked) == 30


@pytest.mark.parametrize("epsilon", [0.3, 1.0])
def test_epsilon_explores_uniformly(epsilon):
    """A share epsilon of the actions is uniformly random, whatever the policy's values."""
    playing = play(constant(6, action=2), Atari("pong", 4, max_frames=1600), episodes(), fixed(epsilon))
    actions = np.concatenate([step.actions for step in itertools.islice(playing, 300)])
    share = np.full(6, epsilon / 6)
    share[2] += 1 - epsilon
    # One of 6 binomial counts is further than 5.5 standard deviations off with probability 6 x 4e-8, about 2e-7.
    off = np.abs(np.bincount(actions, minlength=6) - 1200 * share)
    assert (off < 5.5 * np.sqrt(1200 * share * (1 - share))).all()


def test_epsilon_may_change():
    """Epsilon is asked once a step and counts from that step on."""
    asked = itertools.count()
    playing = play(constant(6), Atari("pong", 3, max_frames=400), episodes(), lambda: float(next(asked) >= 20))
    actions = np.stack([step.actions for step in itertools.islice(playing, 40)])
    assert next(asked) == 40
    assert not actions[:20].any()
    assert actions[20:].any(axis=0).all()


@pytest.mark.parametrize(("game", "max_frames"), [("breakout", 1000), ("freeway", 160)])
def test_an_episode_depends_on_its_generator_alone(game, max_frames):
    """Neither companions nor the environment that plays it nor what was played before changes an episode."""
    alone, together, others = (
        by_episode(play(pixel_counter(games.num_actions), games, episodes(3, seed), fixed(0.5)))
        for games, seed in (
            (Atari(game, 1, max_frames=max_frames), 0),
            (Atari(game, 3, max_frames=max_frames), 0),
            (Atari(game, 3, max_frames=max_frames), 1),
        )
    )
    assert alone == together
    assert len(alone) == 3
    assert all(alone[number] != others[number] for number in range(3))
    assert all(alone[one] != alone[other] for one, other in itertools.combinations(range(3), 2))


def test_episodes_begin_differently():
    """A player that never explores still meets another game in each episode, by its own number of no-ops."""
    seen = by_episode(play(constant(6), Atari("pong", 3, max_frames=80), episodes(3), fixed(0.0)))
    assert all(seen[one] != seen[other] for one, other in itertools.combinations(range(3), 2))


def test_play_begins_the_games_anew():
    """Environments that were in the middle of a game play what fresh ones play."""
    games = Atari("freeway", 2, max_frames=120)
    first = by_episode(play(constant(3, action=1), games, episodes(3), fixed(0.5)))
    list(itertools.islice(play(constant(3), games, episodes(seed=1), fixed(1.0)), 20))
    assert by_episode(play(constant(3, action=1), games, episodes(3), fixed(0.5))) == first


@pytest.mark.parametrize(("count", "num_envs"), [(0, 2), (1, 2), (2, 2), (7, 3)])
def test_play_ends_with_the_last_episode(count, num_envs):
    """Each episode is played once and whole, by one environment; those that find none left idle as number -1."""
    playing = play(constant(6), Atari("pong", num_envs, max_frames=40), episodes(count), fixed(1.0))
    steps = list(playing)
    assert len(steps) == -(-count // num_envs) * 10
    where = defaultdict(list)
    for time, step in enumerate(steps):
        for env, number in enumerate(step.episodes.tolist()):
            where[number].append((env, time, bool(step.first[env]), bool(step.ended[env])))
    idle = where.pop(-1, [])
    assert len(idle) == len(steps) * num_envs - 10 * count
    assert sorted(where) == list(range(count))
    for places in where.values():
        envs, times, first, ended = zip(*places, strict=True)
        assert len(set(envs)) == 1
        assert times == tuple(range(times[0], times[0] + 10))
        assert first == (True,) + 9 * (False,)
        assert ended == 9 * (False,) + (True,)


def test_an_idle_environment_plays_no_episode():
    """Where no episode is played, none begins and none ends."""
    steps = play(constant(6), Atari("pong", 2, max_frames=40), episodes(3), fixed(1.0))
    idle = [(step.first[1], step.ended[1]) for step in steps if step.episodes[1] < 0]
    assert len(idle) == 10
    assert not np.any(idle)


@pytest.mark.parametrize("game", ["freeway", pytest.param("breakout", marks=pytest.mark.slow)])
def test_play_goes_on_where_it_was_broken_off(game):
    """Environments that are brought to where play stood play on as the old ones do, wherever it was broken off."""
    pieces = [17, 1, 30, 2, 25]
    games = Atari(game, 3, max_frames=120)
    policy = pixel_counter(games.num_actions)
    rules = PlayConfig(game, 0, 0, 3, 300, Schedule.of(0.5), 120)
    position, rebuilt = PlayState.fresh(3), rules.games(2)
    whole = play(policy, games, rules.episodes_from(position.numbers), fixed(0.5), packs=True)
    for length in pieces:
        episodes_left = rules.episodes_from(position.numbers)
        broken = play(policy, rebuilt, episodes_left, fixed(0.5), position.actions, packs=True)
        steps = collect(broken, length, rebuilt)
        assert same_steps(steps, collect(whole, length, games))
        position = position.after(steps)
    assert position.numbers.sum() > 3


def test_where_play_stands():
    """Each environment counts its episodes; an open one has the actions since its start."""
    first, ended = np.zeros((2, 4, 3), bool)
    first[0], first[2, 1], first[2, 2], first[3, 1] = True, True, True, True
    ended[1, 1], ended[1, 2], ended[2, 1], ended[3, 2] = True, True, True, True
    steps = Steps.empty(4, 3, 6)
    steps.first[:], steps.ended[:] = first, ended
    steps.actions[:] = np.arange(12).reshape(4, 3)
    position = PlayState.fresh(3).after(steps)
    assert position.numbers.tolist() == [0, 2, 2]  # of the last, the second is about to begin
    assert [actions.tolist() for actions in position.actions] == [[0, 3, 6, 9], [10], []]
    steps.first[0], steps.first[0, 2] = False, True
    position = position.after(steps)
    assert position.numbers.tolist() == [0, 4, 4]
    assert [actions.tolist() for actions in position.actions] == [[0, 3, 6, 9, 0, 3, 6, 9], [10], []]


def test_lost_lives():
    """An episode of Breakout loses its five lives one at a time, and a new episode's five are no loss."""
    games = Atari("breakout", 2)
    lost = defaultdict(int)
    for step in play(constant(4), games, episodes(4), fixed(1.0)):
        for number, one in zip(step.episodes.tolist(), step.lost_life, strict=True):
            lost[number] += one
        assert step.lost_life[step.ended & (step.episodes >= 0)].all()
    lost.pop(-1, None)
    assert lost == {0: 5, 1: 5, 2: 5, 3: 5}


def test_each_process_plays_for_itself():
    """Episodes, and who acts in them, depend on the process's rank, and on the environment."""
    rules = PlayConfig("breakout", 0, 0, 4, 400, Schedule.of(0.3), 2000, Schedule.of(0.5))
    other = replace(rules, rank=1)
    assert len({one.episode(env, 0).random() for one in (rules, other) for env in range(4)}) == 8
    acts = [[one.student_acts(env, number, 0) for number in range(64)] for one in (rules, other) for env in range(2)]
    assert len(set(map(tuple, acts))) == 4
