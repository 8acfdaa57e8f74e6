"""What `bench` measures of play: ours, and what bounds it, the environments alone and the fastest forward pass."""

import itertools
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from distill import protocol
from distill.atari.environments import Atari, usable_cores
from distill.engine import frozen_policy
from distill.files.store import Store
from distill.hours.teacher_play import TeacherPlay
from distill.networks import DQN
from distill.replay import Steps
from distill.rollout import PlayConfig
from distill.schedule import Schedule
from distill.tools.bench.plain import policies
from distill.tools.bench.turns import Rate, Turn, rate_of

OURS = "pass, ours"


class Playing:
    """Ours, and what bounds it.

    Args:
        game: ALE name.
        network: Of the teacher, where it is to play.
        num_envs: Environments, N.
        folder: For hours of play.
        seconds: That a short hour is to take, about.
    """

    def __init__(self, game: str, network: DQN, num_envs: int, folder: Path, seconds: float) -> None:
        self._policies = {OURS: frozen_policy(network)} | {
            f"pass, {name}": policy for name, policy in policies(network).items()
        }
        self._games = Atari(game, num_envs)
        self._seen: UInt8[np.ndarray, "N 4 84 84"] = self._games.restart(np.arange(num_envs))
        self._actions = itertools.cycle(np.random.default_rng(0).integers(self._games.num_actions, size=(97, num_envs)))
        bounds = (rate_of(self._environment, seconds / 8), rate_of(lambda: self._pass(OURS), seconds / 8))
        length = int(_one_after_the_other(*bounds) * seconds) // num_envs
        self.hour_steps = num_envs * min(max(length, 10), protocol.STEPS_PER_HOUR // num_envs)
        epsilon = Schedule.of(protocol.EPSILON)
        rules = PlayConfig(game, 0, 0, num_envs, self.hour_steps, epsilon, protocol.MAX_FRAMES)
        self._recording = TeacherPlay(
            rules, network, Store(folder), memory_hours=0, overlap=False, num_threads=usable_cores()
        )
        self.collected: list[Steps] = []

    def turns(self) -> dict[str, Turn]:
        """List the contestants; rates are steps a second, or observations."""
        turns = {"play, ours": Turn(self._ours, weight=4), "play, environment": Turn(self._environment, weight=2)}
        return turns | {name: Turn(lambda name=name: self._pass(name)) for name in self._policies}  # type: ignore[misc]

    def ceiling(self, rates: dict[str, Rate]) -> Rate:
        """Return the play of who steps the environments, and then has the fastest pass, and does nothing else."""
        fastest = max((rates[name] for name in self._policies), key=lambda rate: rate.median)
        return Rate(tuple(map(_one_after_the_other, rates["play, environment"].turns, fastest.turns)))

    @property
    def file_bytes(self) -> int:
        """Count the bytes of the last hour's file."""
        return self._recording.store.path(self._recording.name(len(self.collected) - 1)).stat().st_size

    def close(self) -> None:
        """Stop the environments."""
        self._recording.close()
        self._games.close()

    def _ours(self) -> int:
        """Play as a run does: an hour, though a short one, into a file."""
        self.collected.append(self._recording.hour(len(self.collected)))
        return self.hour_steps

    def _environment(self) -> int:
        """Step the environments, and do nothing else."""
        self._games.step(next(self._actions))
        return self._games.num_envs

    def _pass(self, name: str) -> int:
        """Ask a policy about as many observations as there are environments."""
        self._policies[name](self._seen)
        return len(self._seen)


def _one_after_the_other(first: float, second: float) -> float:
    return 1 / (1 / first + 1 / second)
