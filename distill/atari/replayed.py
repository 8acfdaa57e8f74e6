"""Games that begin where somebody else's play ends: frame by frame up to there, then as `Atari`.

The recorded actions are replayed one frame at a time; the agent then acts every four frames and sees what the native
environment would have shown it: the maximum of the last two grey screens, resized by area, four of them, four frames
apart. A test holds this to the bit.

The emulators are our own, not those of a native vector environment, which would replay every prefix for as long as the
longest, go on with games that are over, and hand out each single screen.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8

from distill import protocol
from distill.atari.emulators import Process, Recording, hand_over, step
from distill.atari.environments import check_actions, usable_cores
from distill.atari.rules import PAPER_RULES, EnvRules, LifeRules
from distill.atari.watchdog import PATIENCE_SECONDS
from distill.errors import DistillError


class ReplayedAtari:
    """Copies of one game, each handed over at a start of its own; a drop-in for `Atari` that never restarts.

    Its emulators are in processes, so a script that makes one begins with `if __name__ == "__main__":`.

    Args:
        starts: Where they begin.
        which: For each environment, the number of its start.
        env: What is done for the player; nothing may be sticky.
        max_frames: Longest episode in frames, those before the start included.
        num_processes: 0 means one per usable core.
    """

    def __init__(
        self,
        starts: Recording,
        which: Sequence[int],
        *,
        env: EnvRules = PAPER_RULES,
        max_frames: int = protocol.MAX_FRAMES,
        num_processes: int = 0,
    ) -> None:
        if env.sticky:
            raise DistillError(
                f"sticky is {env.sticky}; with recorded starts it must be 0, or their replay would lead elsewhere"
            )
        self.game = starts.game
        self.num_envs = len(which)
        self.env = env
        self._console = np.array(env.actions(starts.game))
        self.num_actions = len(self._console)
        self.max_frames = max_frames
        self._starts = starts
        self._which = list(which)
        for number in which:
            frames = len(starts.starts[number].actions)
            if frames >= max_frames:
                raise DistillError(
                    f"start {number} of {self.game} is {frames} frames into its episode; max_frames is {max_frames} "
                    "and must be above that"
                )
        self._num_processes = min(num_processes or usable_cores(), self.num_envs)
        self._processes: list[Process] = []

    def lead_in(self, env: int) -> UInt8[np.ndarray, " F"]:
        """Return the recorded actions, one a frame, before an environment's start."""
        return self._starts.starts[self._which[env]].actions

    def rebuild(
        self, seeds: Int64[np.ndarray, " N"], actions: Sequence[Int64[np.ndarray, " _"]]
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int[np.ndarray, " N"]]:
        """Replay what leads to the starts.

        Args:
            seeds: Not used: nothing is random before a start.
            actions: Of the agent since; none.

        Returns:
            Observations, and lives left.

        Raises:
            ValueError: where an episode ends before its start, or the screen there is not the recorded one.
        """
        assert not any(map(len, actions)), "a start is handed over at its beginning"
        self.close()
        self._processes = [Process(self._starts) for _ in range(self._num_processes)]
        self._over = np.zeros(self.num_envs, bool)
        self._stack = np.zeros((self.num_envs, protocol.STACKED_FRAMES, *[protocol.FRAME_SIZE] * 2), np.uint8)
        self._lives = np.zeros(self.num_envs, np.int64)
        which = np.array(self._which)
        for envs, process in self._ask(hand_over, lambda envs: (which[envs].tolist(), self.env.frame_skip)):
            self._stack[envs], self._lives[envs] = process.answer()
        self._life_rules = LifeRules(self.env, self.game, self.num_envs)
        self._life_rules.begin(None)
        return self._stack, self._lives.copy()

    def restart(self, seeds: Int64[np.ndarray, " M"], which: Bool[np.ndarray, " N"] | None = None) -> np.ndarray:
        """Refuse: an environment plays from its start once."""
        raise DistillError("a start is played from once; make other environments for other starts")

    def send(self, actions: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        """Begin a step in every environment; see `Atari.send`."""
        check_actions(self.game, self.num_actions, actions)
        actions = self._life_rules.taken(actions)
        of_console = self._console[actions]

        ask = lambda envs: ((envs // self._num_processes).tolist(), of_console[envs].tolist(), self.max_frames)  # noqa: E731
        self._asked = self._ask(step, ask)
        return actions

    def recv(
        self,
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int32[np.ndarray, " N"], Bool[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """End the step; see `Atari.recv`."""
        rewards = np.zeros(self.num_envs, np.int32)
        ended = np.zeros(self.num_envs, bool)
        self._stack = np.roll(self._stack, -1, axis=1)  # a new array: the one given before stays as it is
        for envs, process in self._asked:
            self._stack[envs, -1], rewards[envs], ended[envs], self._lives[envs] = process.answer(PATIENCE_SECONDS)
        self._over |= ended
        return self._life_rules.seen(self._stack, self._lives), rewards, ended, self._lives.copy()

    def _ask(
        self, call: Callable[..., Any], ask: Callable[[np.ndarray], tuple[Any, ...]]
    ) -> list[tuple[np.ndarray, Process]]:
        """Have each process work for those of its environments that are not over; return these, and the process."""
        shares = [np.arange(first, self.num_envs, self._num_processes) for first in range(self._num_processes)]
        shares = [share[~self._over[share]] for share in shares]
        asked = [(share, process) for share, process in zip(shares, self._processes, strict=True) if len(share)]
        for share, process in asked:
            process.ask(call, *ask(share))
        return asked

    def close(self) -> None:
        """End the processes."""
        for process in self._processes:
            process.close()
        self._processes = []
