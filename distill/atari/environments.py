"""Atari games as native vector environments.

An episode here is a function of (game, seed, actions) alone. Each begins with a freshly loaded cartridge, because in
some games (Freeway, Frostbite, Seaquest) what a plain reset leaves behind depends on what was played before. The
load costs 0.09 to 0.18 CPU-seconds, some 300 steps, of which the emulator's table of blended colours takes 85%.
"""

import os
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8

from distill import checks, protocol
from distill.atari.native import IDLE, MadeAs
from distill.atari.rules import PAPER_RULES, EnvRules, LifeRules
from distill.atari.watchdog import Watch
from distill.errors import DistillError

MAX_SEED = 2**31 - 1
"""Seeds of an environment are below this."""


def usable_cores() -> int:
    """Count the cores this process may use; the machine's count ignores containers."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_actions(game: str, num_actions: int, actions: Int64[np.ndarray, " N"]) -> None:
    """Refuse an action that the game does not have, for which a native environment would wait for ever."""
    if actions.min() < 0 or actions.max() >= num_actions:
        raise DistillError(f"{game} has actions 0 to {num_actions - 1}, got {actions.tolist()}")


class Atari:
    """`num_envs` copies of one game, stepped together by native threads.

    Rewards are neither clipped nor scaled, and a lost life does not end an episode. Who goes on stepping after the end
    of one, without `restart`, gets another that depends on what was played before.

    Args:
        game: ALE name, e.g. `ms_pacman`.
        num_envs: Environments, N.
        env: What is done for the player.
        max_frames: Longest episode in frames, the no-ops at its start not counted.
        num_threads: Native threads; 0 means one per usable core.
    """

    def __init__(
        self,
        game: str,
        num_envs: int,
        *,
        env: EnvRules = PAPER_RULES,
        max_frames: int = protocol.MAX_FRAMES,
        num_threads: int = 0,
    ) -> None:
        checks.at_least(1, num_envs=num_envs)  # of none, the native environment crashes
        self.game = game
        self.num_envs = num_envs
        self.env = env
        self.num_actions = len(env.actions(game))
        self.max_frames = max_frames
        self._made_as = MadeAs(
            game, num_envs, min(num_threads or usable_cores(), num_envs), max_frames, env, os.getpid()
        )
        self._envs = IDLE.take(self._made_as) or self._made_as.make()
        self._at_rest = True
        self._noops = np.zeros(num_envs, np.int32)
        self._lives = LifeRules(env, game, num_envs)
        self._watch = Watch(f"environments of {game}")

    def restart(
        self, seeds: Int64[np.ndarray, " M"], which: Bool[np.ndarray, " N"] | None = None
    ) -> UInt8[np.ndarray, "N 4 84 84"]:
        """Begin new episodes, each from a fresh cartridge and its own number of no-ops.

        Args:
            seeds: One for each new episode, 0 to `MAX_SEED - 1`.
            which: The environments to restart; None means all, which must come first.

        Returns:
            The observations of all environments.
        """
        options = None if which is None else {"reset_mask": which}
        with self._watch:
            self._at_rest = False
            observations, info = self._envs.reset(seed=seeds, options=options)
            self._at_rest = True
        idled = info["episode_frame_number"]
        self._noops = idled if which is None else np.where(which, idled, self._noops)
        self._lives.begin(which)
        return observations

    def lead_in(self, env: int) -> UInt8[np.ndarray, " F"]:
        """Return the actions, one a frame, before the first observation of an environment's episode: its no-ops."""
        return np.zeros(self._noops[env], np.uint8)

    def rebuild(
        self, seeds: Int64[np.ndarray, " N"], actions: Sequence[Int64[np.ndarray, " _"]]
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int[np.ndarray, " N"]]:
        """Bring each environment where a seed and the actions since have brought it once.

        All step together for as long as the longest list, so that every list ends on the same step.

        Args:
            seeds: One for each environment.
            actions: One list for each, of any lengths.

        Returns:
            Observations, and lives left; 0 lives where no action was taken.
        """
        lengths = np.array([len(one) for one in actions])
        longest = lengths.max()
        begins = longest - lengths
        padded = np.zeros((longest, self.num_envs), np.int64)
        for env, one in enumerate(actions):
            padded[begins[env] :, env] = one
        observations, lives = self.restart(seeds), np.zeros(self.num_envs, np.int64)
        for time in range(longest + 1):
            starting = begins == time
            if time and starting.any():
                observations = self.restart(seeds[starting], starting)
                lives = np.where(starting, 0, lives)
            if time < longest:
                observations, _, _, lives = self.step(padded[time])
        return observations, lives

    def send(self, actions: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        """Begin a step in every environment, which `recv` ends.

        Returns:
            The actions that are taken: these, or FIRE where it is pressed for the player.

        Raises:
            ValueError: for an action that the game does not have (the native environment would wait for ever), and
                after a fork.
        """
        check_actions(self.game, self.num_actions, actions)
        actions = self._lives.taken(actions)
        with self._watch:
            self._at_rest = False
            self._envs.send(actions)
        return actions

    def recv(
        self,
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int32[np.ndarray, " N"], Bool[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Wait until every environment has taken the step.

        Returns:
            Observations, rewards, whether the episode ended with this step, and lives left.
        """
        with self._watch:
            observations, rewards, terminated, truncated, info = self._envs.recv()
            self._at_rest = True
        return self._lives.seen(observations, info["lives"]), rewards, terminated | truncated, info["lives"]

    def step(
        self, actions: Int64[np.ndarray, " N"]
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int32[np.ndarray, " N"], Bool[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Take one step in every environment: `send`, and `recv`."""
        self.send(actions)
        return self.recv()

    def close(self) -> None:
        """Let the next that is made like this one have its environments; nothing else may be asked of this one."""
        if not hasattr(self, "_envs"):
            return
        if self._at_rest:
            IDLE.put(self._made_as, self._envs)
        else:
            self._envs.close()
        del self._envs  # whose bindings complain of whoever still has them when the interpreter ends
