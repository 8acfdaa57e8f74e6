"""The only loop that plays: policy + games + epsilon -> steps, for collecting and for scoring alike.

What an episode draws (its environment's seed, when it explores and how) comes from the episode's own generator, made
when it begins. So an episode depends on (policy, game, epsilon, its generator), not on which environment played it or
on what was played before; and play that was broken off anywhere goes on from there (`PlayState`).
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float32, Int32, Int64, Shaped, UInt8

from distill.atari.environments import MAX_SEED, Atari
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.frames import compress
from distill.randomness import generator
from distill.replay import Steps
from distill.schedule import Schedule

Policy = Callable[[UInt8[np.ndarray, "N 4 84 84"]], Float32[np.ndarray, "N A"]]
"""Observations to values, one per legal action; the greedy action is the largest."""


@runtime_checkable
class VectorEnv(Protocol):
    """Environments of one game, stepped together: `Atari`, or `ReplayedAtari`."""

    num_envs: int
    num_actions: int
    max_frames: int
    env: EnvRules

    def lead_in(self, env: int) -> np.ndarray:
        """Return the actions before an environment's first observation; see `Atari.lead_in`."""

    def rebuild(self, seeds: np.ndarray, actions: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Begin; see `Atari.rebuild`."""

    def restart(self, seeds: np.ndarray, which: np.ndarray | None = None) -> np.ndarray:
        """Begin new episodes; see `Atari.restart`."""

    def send(self, actions: np.ndarray) -> np.ndarray:
        """Begin a step; see `Atari.send`."""

    def recv(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """End it; see `Atari.recv`."""

    def close(self) -> None:
        """Stop."""


class Step(NamedTuple):
    """One step of N environments: what was seen, thought, done, and what came of it."""

    observations: UInt8[np.ndarray, "N 4 84 84"]
    values: Float32[np.ndarray, "N A"]
    actions: Int64[np.ndarray, " N"]
    """Those that were taken, FIRE that was pressed for the player among them."""
    rewards: Int32[np.ndarray, " N"]
    ended: Bool[np.ndarray, " N"]
    """The episode ended with this step."""
    first: Bool[np.ndarray, " N"]
    """The episode began with this step."""
    lost_life: Bool[np.ndarray, " N"]
    episodes: Int64[np.ndarray, " N"]
    """Their numbers, of play counted in each environment from 0; -1 where an environment idles."""
    packed: Shaped[np.ndarray, " N"] | None = None
    """The newest frame of each observation, as `compress` gives it, where that was asked for."""


class PlayState(NamedTuple):
    """Where play stands: what it takes to rebuild N environments and go on with the same bits."""

    numbers: Int64[np.ndarray, " N"]
    """Of the episode that each environment is in, counted from its first, 0."""
    actions: list[Int64[np.ndarray, " _"]]
    """Of that episode so far, for each environment."""

    @classmethod
    def fresh(cls, num_envs: int) -> "PlayState":
        """Return the beginning: the first episodes, no action taken."""
        return cls(np.zeros(num_envs, np.int64), [np.zeros(0, np.int64)] * num_envs)

    def of_envs(self, envs: slice) -> "PlayState":
        """Return the state of some environments."""
        return PlayState(self.numbers[envs], self.actions[envs])

    def after(self, steps: Steps) -> "PlayState":
        """Return the state after further steps."""
        actions = []
        for env, taken in enumerate(self.actions):
            ends = np.flatnonzero(steps.ended[:, env])
            before = [] if len(ends) else [taken]
            actions.append(np.concatenate([*before, steps.actions[ends[-1] + 1 if len(ends) else 0 :, env]]))
        return PlayState(self.numbers + steps.ended.sum(axis=0), actions)


ALWAYS = Schedule.of(1.0)
GROUP_ENVS = 8
"""Environments that a thread steps, about: each step of a group costs Python as much as a step of more."""


@dataclass(frozen=True)
class PlayConfig:
    """How a run's hours are played."""

    game: str
    seed: int
    rank: int
    num_envs: int
    hour_steps: int
    """Over all environments."""
    epsilon: Schedule
    """The probability of a random action."""
    max_frames: int
    beta: Schedule = ALWAYS
    """The share of episodes in which the teacher acts; in the others its student does."""
    env: EnvRules = PAPER_RULES

    @property
    def num_actions(self) -> int:
        """Count the actions."""
        return len(self.env.actions(self.game))

    def games(self, num_threads: int, num_envs: int | None = None) -> Atari:
        """Make the environments, or so many of them."""
        envs, frames = num_envs or self.num_envs, self.max_frames
        return Atari(self.game, envs, env=self.env, max_frames=frames, num_threads=num_threads)

    def epsilon_after(self, steps: int) -> float:
        """Return the probability of a random action after a number of steps."""
        return self.epsilon.at(steps / self.hour_steps)

    def episode(self, env: int, number: int) -> np.random.Generator:
        """Make the generator of an environment's episode; there is no last one."""
        return generator(self.seed, "play", self.game, self.rank, env, number)

    def episodes_from(self, numbers: Int64[np.ndarray, " N"], first_env: int = 0) -> "NextEpisode":
        """Return the episodes of some environments, each its own, from those of these numbers on.

        Args:
            numbers: Of each environment's first.
            first_env: The number of the first of these environments.
        """
        counts = [itertools.count(number) for number in numbers.tolist()]

        def following(env: int) -> tuple[int, np.random.Generator]:
            number = next(counts[env])
            return number, self.episode(first_env + env, number)

        return following

    def student_acts(self, env: int, number: int, hour: int) -> bool:
        """Return whether the student acts in the part of an environment's episode that lies in an hour."""
        return bool(generator(self.seed, "actor", self.game, self.rank, env, number).random() >= self.beta.at(hour))


Actors = Callable[
    [UInt8[np.ndarray, "N 4 84 84"], Float32[np.ndarray, "N A"], Int64[np.ndarray, " N"]], Float32[np.ndarray, "N A"]
]
"""Observations, the policy's values and the episodes' numbers to the values that are acted on."""

NextEpisode = Callable[[int], tuple[int, np.random.Generator] | None]
"""An environment that is free to the number and the generator of its next episode; None where there is none."""


def in_turn(generator_of: Callable[[int], np.random.Generator | None]) -> NextEpisode:
    """Number episodes in the order in which they begin, whatever environments they are in.

    Args:
        generator_of: The generator of the episode of a number; None where there is no such episode.
    """
    counts = itertools.count()

    def following(env: int) -> tuple[int, np.random.Generator] | None:
        number = next(counts)
        rng = generator_of(number)
        return None if rng is None else (number, rng)

    return following


def environment_seed(episode: np.random.Generator) -> int:
    """Draw the seed of an episode's environment, the first number of its generator."""
    return int(episode.integers(MAX_SEED))


def play(
    policy: Policy,
    games: VectorEnv,
    episodes: NextEpisode,
    epsilon: Callable[[], float],
    taken: Sequence[Int64[np.ndarray, " _"]] | None = None,
    actors: Actors | None = None,
    *,
    packs: bool = False,
) -> Iterator[Step]:
    """Play epsilon-greedily for as long as there are episodes.

    Args:
        policy: Asked once a step for all environments.
        games: The environments; whatever they were doing, they begin anew.
        episodes: Asked for each environment's next episode.
        epsilon: Asked once a step: the probability of a uniformly random action.
        taken: The actions of each environment's first episode with which to go on; None means none.
        actors: Who acts; None means the policy.
        packs: Whether to compress the frames, for `collect`, while the environments step.

    Yields:
        Steps, until every episode has ended; an environment for which none is left idles.
    """
    num_envs, everyone = games.num_envs, np.arange(games.num_envs)
    length = games.max_frames // games.env.frame_skip + 1
    explore = np.ones((num_envs, length), np.float32)
    random_actions = np.zeros((num_envs, length), np.int64)
    episode = np.full(num_envs, -1)

    def begin(env: int) -> int:
        following = episodes(env)
        if following is None:
            episode[env] = -1
            return 0
        episode[env], rng = following
        seed = environment_seed(rng)
        explore[env] = rng.random(length, np.float32)
        random_actions[env] = rng.integers(games.num_actions, size=length)
        return seed

    seeds = np.array([begin(env) for env in range(num_envs)])
    taken = PlayState.fresh(num_envs).actions if taken is None else taken
    age = np.array([len(actions) for actions in taken])
    observations, lives = games.rebuild(seeds, taken)
    while (episode >= 0).any():
        playing = episode >= 0
        values = policy(observations) if playing.all() else _values_of_some(policy, observations, playing)
        now = np.minimum(age, length - 1)
        exploring = explore[everyone, now] < epsilon()
        acted_on = values if actors is None else actors(observations, values, episode)
        actions = np.where(exploring, random_actions[everyone, now], acted_on.argmax(axis=1))
        actions = games.send(actions)
        packed = compress(observations[:, -1]) if packs else None
        following, rewards, ended, new_lives = games.recv()
        over = np.flatnonzero(ended & playing)
        yield Step(
            observations,
            values,
            actions,
            rewards,
            ended=ended & playing,
            first=(age == 0) & playing,
            lost_life=(new_lives < lives) & playing,
            episodes=episode.copy(),
            packed=packed,
        )
        age += 1
        observations, lives = following, new_lives
        if len(over):
            seeds = np.array([begin(env) for env in over.tolist()])
            age[over] = 0
            going_on = episode[over] >= 0
            if going_on.any():
                which = np.zeros(num_envs, bool)
                which[over[going_on]] = True
                observations = games.restart(seeds[going_on], which)
                lives = np.where(which, 0, lives)


def _values_of_some(policy: Policy, observations: np.ndarray, playing: np.ndarray) -> np.ndarray:
    """Ask only for the environments that are playing; the others have values of 0."""
    some = policy(observations[playing])
    values = np.zeros((len(playing), some.shape[1]), some.dtype)
    values[playing] = some
    return values


def collect(
    playing: Iterator[Step],
    length: int,
    games: VectorEnv,
    on_step: Callable[[int], None] = lambda done: None,
    into: Steps | None = None,
) -> Steps:
    """Take so many steps of play, all environments together.

    Args:
        playing: From `play` that packs, for as long as needed.
        length: Steps of each environment, T.
        games: The environments of the play.
        on_step: Called after each step with the number of steps done, over all environments.
        into: What to write over; None makes room.
    """
    steps = Steps.empty(length, games.num_envs, games.num_actions) if into is None else into
    for row in range(length):
        step = next(playing)
        assert step.packed is not None, "frames are collected as they are packed"
        steps.frames[row] = step.packed
        steps.labels[row] = step.values
        for name in ("actions", "rewards", "ended", "first", "lost_life"):
            getattr(steps, name)[row] = getattr(step, name)
        on_step((row + 1) * games.num_envs)
    return steps
