"""Episodes -> scores."""

import functools
import math
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import closing
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float, Int64, UInt64
from torch import nn

from distill import protocol
from distill.atari.environments import Atari, usable_cores
from distill.atari.rules import PAPER_RULES, EnvRules
from distill.engine import SessionPolicy, frozen_policy
from distill.randomness import generator
from distill.rollout import GROUP_ENVS, Policy, Step, VectorEnv, in_turn, play

MAX_ENVS = 30
"""Environments that an evaluation from no-op starts steps together at most."""
MAX_HANDED_OVER = 100
"""The same from recorded starts; the next so many wait until all of these have ended."""
PRIME = np.uint64(1_099_511_628_211)
"""Of the Fowler-Noll-Vo hash, which tells episodes apart."""


@runtime_checkable
class RecordedStarts(Protocol):
    """Where recorded play has led, see `distill.atari.starts.Starts`."""

    @property
    def described(self) -> str:
        """Describe whose starts these are."""

    def check_game(self, *games: str) -> None:
        """Raise a `ValueError` where the starts are of none of these games."""

    def environments(self, numbers: Sequence[int], max_frames: int, env: EnvRules = PAPER_RULES) -> VectorEnv:
        """Make an environment for each of these starts, which are counted round and round."""


class EvalConfig(NamedTuple):
    """Which episodes to score, and by which rules."""

    game: str
    numbers: tuple[int, ...]
    """An episode depends on its number and `seed`, not on its companions. From recorded starts, the number is also that
    of the start, counted round and round."""
    seed: int
    epsilon: float = protocol.EPSILON
    max_frames: int = protocol.MAX_FRAMES
    """In recorded starts those before the hand-over included."""
    env: EnvRules = PAPER_RULES
    """With recorded starts, nothing may be sticky."""
    starts: RecordedStarts | None = None
    """None means up to 30 no-ops."""

    @property
    def are_published(self) -> bool:
        """Whether published scores are compared with these, by custom: up to 30 minutes, the paper's steps."""
        return self.max_frames == protocol.MAX_FRAMES and not {"sticky", "frame_skip"} & self.env.changed.keys()

    @property
    def described(self) -> str:
        """Describe the rules by which they are played."""
        starts = "no-op starts" if self.starts is None else self.starts.described
        return f"{starts}, epsilon {self.epsilon:g}{self.env.described}, at most {self.max_frames:,} frames"

    def score(
        self, network: nn.Module, on_step: "Callable[[Progress], None]" = lambda progress: None
    ) -> Float[np.ndarray, " E"]:
        """Have a network play them with its present weights; return their scores, in the order of their numbers.

        Args:
            network: Maps uint8 observations `[B, 4, 84, 84]` to one number per action.
            on_step: Called after each step, with how far they are.
        """
        return play_episodes(frozen_policy(network), self, on_step).scores


class Played(NamedTuple):
    """What became of episodes, in the order of their numbers."""

    scores: Float[np.ndarray, " E"]
    """Undiscounted, unclipped sums of rewards, since the hand-over where there was one."""
    fingerprints: UInt64[np.ndarray, " E"]
    """Equal where first observation and all actions are."""


class Progress(NamedTuple):
    """How far episodes are while they are played: arrays in the order of their numbers, which change."""

    episodes: EvalConfig
    scores: Float[np.ndarray, " E"]
    steps: Int64[np.ndarray, " E"]
    """Since the hand-over where there was one."""
    ended: Bool[np.ndarray, " E"]

    @property
    def described(self) -> str:
        """Describe how many have ended, and their mean score; while none has, the frames played, and theirs."""
        ended = int(self.ended.sum())
        if ended:
            return f"{ended}/{len(self.ended)} episodes, mean {self.scores[self.ended].mean():.1f}"
        begun = self.scores[self.steps > 0]
        frames = self.episodes.env.frame_skip * int(self.steps.sum())
        return f"{frames:,} frames, {begun.mean():.1f} so far" if len(begun) else f"{frames:,} frames"

    def steps_left(self, guess: float | None = None) -> float | None:
        """Estimate how many steps are still to be played, by the lengths of the episodes that have ended.

        Args:
            guess: Steps of an episode, as they were elsewhere; counts as two that have ended here.

        Returns:
            None where nothing is known of how long an episode is.
        """
        lengths = self.steps[self.ended].tolist() + ([] if guess is None else [guess, guess])
        if not lengths:
            return None
        open_ = self.steps[~self.ended]
        # One that is longer already goes on for a quarter of that.
        return float(np.maximum(np.mean(lengths) - open_, open_ / 4).sum())


def play_episodes(
    policy: Policy, episodes: EvalConfig, on_step: Callable[[Progress], None] = lambda progress: None
) -> Played:
    """Play episodes to their ends.

    Args:
        policy: Who plays.
        episodes: What to play.
        on_step: Called after each step, with how far they are.

    Raises:
        ValueError: for a start that cannot be reached any more.
    """
    numbers = episodes.numbers
    played = Played(np.zeros(len(numbers)), np.zeros(len(numbers), np.uint64))
    progress = Progress(episodes, played.scores, np.zeros(len(numbers), np.int64), np.zeros(len(numbers), bool))
    lock = threading.Lock()

    def after_step() -> None:
        with lock:
            on_step(progress)

    def play_part(part: slice, make_games: Callable[[EvalConfig], VectorEnv]) -> Iterator[None]:
        of = episodes._replace(numbers=numbers[part])
        views = [array[part] for array in (played.scores, played.fingerprints, progress.steps, progress.ended)]
        for _ in _play_together(policy, of, make_games, *views):
            after_step()
            yield

    if numbers and episodes.starts is None:
        _play_in_groups(policy, len(numbers), play_part)
        return played
    for first in range(0, len(numbers), MAX_HANDED_OVER):
        for _ in play_part(slice(first, first + MAX_HANDED_OVER), games_for):
            pass
    return played


def _play_in_groups(
    policy: Policy, count: int, play_part: Callable[[slice, Callable[[EvalConfig], VectorEnv]], Iterator[None]]
) -> None:
    """Play episodes from no-op starts, in threads where the policy allows it: while some are answered, others step."""
    envs = min(count, MAX_ENVS)
    groups = math.ceil(envs / GROUP_ENVS) if isinstance(policy, SessionPolicy) else 1
    make = functools.partial(games_for, max_envs=math.ceil(envs / groups), num_threads=2 * usable_cores() // groups)
    given_up = threading.Event()

    def play_group(group: int) -> None:
        for _ in play_part(slice(group, None, groups), make):
            if given_up.is_set():
                return

    if groups == 1:  # not in a thread, for which OpenMP would make a team of threads beside this one's
        play_group(0)
        return
    with ThreadPoolExecutor(groups, "evaluate") as pool:
        try:
            for playing in as_completed(pool.submit(play_group, group) for group in range(groups)):
                playing.result()
        except BaseException:
            given_up.set()
            raise


def _play_together(
    policy: Policy,
    episodes: EvalConfig,
    make_games: Callable[[EvalConfig], VectorEnv],
    scores: np.ndarray,
    fingerprints: np.ndarray,
    steps: np.ndarray,
    ended: np.ndarray,
) -> Iterator[None]:
    """Play episodes side by side, step by step, and fill in what becomes of them."""
    with closing(make_games(episodes)) as games:
        for step in steps_of(policy, episodes, games):
            for env in np.flatnonzero(step.first):
                fingerprints[step.episodes[env]] = zlib.crc32(step.observations[env].tobytes())
            playing = step.episodes >= 0
            which = step.episodes[playing]
            scores[which] += step.rewards[playing]
            fingerprints[which] = (fingerprints[which] ^ (1 + step.actions[playing]).astype("u8")) * PRIME
            steps[which] += 1
            ended[step.episodes[step.ended]] = True
            yield


def games_for(episodes: EvalConfig, max_envs: int = MAX_ENVS, num_threads: int = 0) -> VectorEnv:
    """Make environments in which episodes can be played.

    Args:
        episodes: What is to be played.
        max_envs: Environments at most, from no-op starts.
        num_threads: Of these environments; 0 means one per usable core.

    Raises:
        ValueError: for starts of another game, and for sticky actions with starts.
    """
    numbers, starts, max_frames, env = episodes.numbers, episodes.starts, episodes.max_frames, episodes.env
    if starts is None:
        envs = min(len(numbers), max_envs)
        return Atari(episodes.game, envs, env=env, max_frames=max_frames, num_threads=num_threads)
    starts.check_game(episodes.game)
    return starts.environments(numbers, max_frames, env)


def steps_of(policy: Policy, episodes: EvalConfig, games: VectorEnv) -> Iterator[Step]:
    """Play episodes step by step; a step's `episodes` are places in `episodes.numbers`."""
    numbers = episodes.numbers

    def episode(place: int) -> np.random.Generator | None:
        if place >= len(numbers):
            return None
        return generator(episodes.seed, "evaluation", episodes.game, numbers[place])

    return play(policy, games, in_turn(episode), lambda: episodes.epsilon)


def score_episodes(
    policy: Policy, episodes: EvalConfig, on_step: Callable[[Progress], None] = lambda progress: None
) -> Float[np.ndarray, " E"]:
    """Play episodes and return their scores; see `play_episodes`."""
    return play_episodes(policy, episodes, on_step).scores


def random_score(episodes: EvalConfig) -> float:
    """Return a random player's mean score: published where game and rules are those of Mnih et al., else played."""
    if episodes.are_published and episodes.starts is None and episodes.game in protocol.NOOP_SCORES:
        return protocol.NOOP_SCORES[episodes.game].random
    actions = len(episodes.env.actions(episodes.game))
    policy = lambda observations: np.zeros((len(observations), actions), np.float32)  # noqa: E731
    return float(score_episodes(policy, episodes._replace(epsilon=1.0)).mean())
