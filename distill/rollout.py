"""The only loop that plays: policy + games + epsilon -> steps, for collecting and for scoring alike.

What an episode draws (its environment's seed, when it explores and how) comes from the episode's own generator, made
when it begins. So an episode depends on (policy, game, epsilon, its generator), not on which environment played it or
on what was played before.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int32, Int64, UInt8
from torch import nn

from distill import protocol
from distill.atari import MAX_SEED, Atari

Policy = Callable[[UInt8[np.ndarray, "N 4 84 84"]], Float32[np.ndarray, "N A"]]
"""Observations to values, one per legal action; the greedy action is the largest."""


class Step(NamedTuple):
    """One step of N environments: what was seen, thought, done, and what came of it."""

    observations: UInt8[np.ndarray, "N 4 84 84"]
    values: Float32[np.ndarray, "N A"]
    actions: Int64[np.ndarray, " N"]
    rewards: Int32[np.ndarray, " N"]
    ended: Bool[np.ndarray, " N"]
    """The episode ended with this step."""
    first: Bool[np.ndarray, " N"]
    """The episode began with this step."""
    lost_life: Bool[np.ndarray, " N"]
    episodes: Int64[np.ndarray, " N"]
    """Which of the given generators the episode came from, counted from 0; -1 where an environment idles."""


def play(
    policy: Policy, games: Atari, episodes: Iterator[np.random.Generator], epsilon: Callable[[], float]
) -> Iterator[Step]:
    """Play epsilon-greedily for as long as there are episodes.

    Args:
        policy: Asked once a step for all environments.
        games: The environments; whatever they were doing, they begin anew.
        episodes: A generator for each episode, taken by the next environment that is free.
        epsilon: Asked once a step: the probability of a uniformly random action.

    Yields:
        Steps, until every episode has ended; an environment for which none is left idles.
    """
    num_envs, everyone = games.num_envs, np.arange(games.num_envs)
    length = games.max_frames // protocol.FRAMES_PER_STEP + 1
    explore = np.ones((num_envs, length), np.float32)
    random_actions = np.zeros((num_envs, length), np.int64)
    episode = np.full(num_envs, -1)
    age = np.zeros(num_envs, np.int64)
    count = 0

    def begin(envs: np.ndarray) -> np.ndarray:
        nonlocal count
        seeds = np.zeros(len(envs), np.int64)
        for place, env in enumerate(envs):
            rng = next(episodes, None)
            episode[env], age[env] = -1, 0
            if rng is not None:
                episode[env], count = count, count + 1
                seeds[place] = rng.integers(MAX_SEED)
                explore[env] = rng.random(length, np.float32)
                random_actions[env] = rng.integers(games.num_actions, size=length)
        return seeds

    observations = games.restart(begin(everyone))
    lives = None
    while (episode >= 0).any():
        values = policy(observations)
        now = np.minimum(age, length - 1)
        exploring = explore[everyone, now] < epsilon()
        actions = np.where(exploring, random_actions[everyone, now], values.argmax(axis=1))
        following, rewards, ended, new_lives = games.step(actions)
        lost_life = np.zeros(num_envs, bool) if lives is None else new_lives < lives
        playing = episode >= 0
        yield Step(
            observations,
            values,
            actions,
            rewards,
            ended=ended & playing,
            first=(age == 0) & playing,
            lost_life=lost_life & playing,
            episodes=episode.copy(),
        )
        age += 1
        observations, lives = following, new_lives
        over = np.flatnonzero(ended & playing)
        if len(over):
            seeds = begin(over)
            going_on = episode[over] >= 0
            if going_on.any():
                which = np.zeros(num_envs, bool)
                which[over[going_on]] = True
                observations = games.restart(seeds[going_on], which)
                lives = np.where(which, 0, lives)


def greedy_in(network: nn.Module) -> Policy:
    """Make a policy of a network, on whatever device it is at the time, without gradients."""

    @torch.inference_mode()
    def policy(observations: np.ndarray) -> np.ndarray:
        device = next(network.parameters()).device
        return network(torch.from_numpy(observations).to(device)).float().cpu().numpy()

    return policy
