"""What `bench` measures of play: ours, and what bounds it."""

import functools
import itertools
import time
from collections.abc import Callable

import numpy as np

from distill import protocol
from distill.atari import Atari
from distill.bench.turns import Size, Turn
from distill.engine import frozen_policy
from distill.networks import DQN
from distill.randomness import generator
from distill.replay import Steps
from distill.rollout import collect, play


class Playing:
    """Ours, and what bounds it: the same environments and network with nothing around them."""

    def __init__(self, game: str, network: DQN, size: Size) -> None:
        self.size = size
        self.policy = frozen_policy(network)
        self.games, self.others = Atari(game, size.num_envs), Atari(game, size.num_envs)
        self.games.restart(np.arange(size.num_envs))
        self.seen = self.others.restart(np.arange(size.num_envs))
        episodes = lambda number: generator(0, "bench", number)  # noqa: E731
        self.playing = play(self.policy, self.games, episodes, lambda: protocol.EPSILON, packs=True)
        self.actions = itertools.cycle(
            np.random.default_rng(0).integers(self.games.num_actions, size=(97, size.num_envs))
        )
        self.collected: list[Steps] = []

    def turns(self) -> dict[str, Turn]:
        """List the contestants; rates are steps a second."""
        return {name: functools.partial(self._measure, getattr(self, name)) for name in ("ours", "bare", "environment")}

    def ours(self) -> None:
        """Play as for an hour file: explore, restart, label, compress."""
        self.collected.append(collect(self.playing, self.size.play_steps // self.size.num_envs, self.games))

    def bare(self) -> None:
        """Step the environments by the network's greedy actions, and do nothing else."""
        for _ in range(self.size.play_steps // self.size.num_envs):
            self.seen = self.others.step(self.policy(self.seen).argmax(axis=1))[0]

    def environment(self) -> None:
        """Step the environments, and do nothing else."""
        for _ in range(self.size.play_steps // self.size.num_envs):
            self.others.step(next(self.actions))

    def _measure(self, work: Callable[[], None]) -> float:
        start = time.perf_counter()
        work()
        return self.size.play_steps / (time.perf_counter() - start)
