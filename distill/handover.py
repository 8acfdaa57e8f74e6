"""Games that begin where somebody else's play ends: frame by frame up to there, then as `Atari`.

The recorded actions are replayed one frame at a time; the agent then acts every four frames and sees what the native
environment would have shown it: the maximum of the last two grey screens, resized by area, four of them, four frames
apart. A test holds this to the bit.
"""

from collections import deque
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Int, Int32, Int64, UInt8

from distill import protocol
from distill.atari import aligned, check_actions, legal_actions, native, num_actions
from distill.starts import Starts, screen_hash

SCREENS = (protocol.STACKED_FRAMES - 1) * protocol.FRAMES_PER_STEP + 2
"""The newest so many make an observation."""


class HandedOver:
    """Copies of one game, each handed over at a start of its own; a drop-in for `Atari` that never restarts.

    Args:
        starts: Where they begin.
        which: For each environment, the number of its start.
        max_frames: Longest episode in frames, those before the start included.
        num_threads: Native threads; 0 means one per usable core.
    """

    def __init__(
        self, starts: Starts, which: Sequence[int], *, max_frames: int = protocol.MAX_FRAMES, num_threads: int = 0
    ) -> None:
        self.game = starts.game
        self.num_envs = len(which)
        self.num_actions = num_actions(starts.game)
        self.max_frames = max_frames
        self._starts = starts
        self._which = list(which)
        self._legal = np.array(legal_actions(starts.game))
        for number in which:
            frames = len(starts.starts[number].actions)
            if frames >= max_frames:
                raise ValueError(
                    f"start {number} of {self.game} is {frames} frames into its episode; max_frames is {max_frames} "
                    "and must be above that"
                )
        self._envs = native(
            starts.game,
            self.num_envs,
            num_threads=num_threads,
            max_num_frames_per_episode=max_frames,
            repeat_action_probability=0.0,
            stack_num=1,
            frameskip=1,
            maxpool=False,
            noop_max=0,
            img_height=210,
            img_width=160,
            full_action_space=True,
        )

    def lead_in(self, env: int) -> UInt8[np.ndarray, " F"]:
        """Give the recorded actions, one a frame, before an environment's start."""
        return self._starts.starts[self._which[env]].actions

    def rebuild(
        self, seeds: Int64[np.ndarray, " N"], actions: Sequence[Int64[np.ndarray, " _"]]
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int[np.ndarray, " N"]]:
        """Replay what leads to the starts, all of them ending on the same frame.

        Args:
            seeds: Not used: nothing is random before a start.
            actions: Of the agent since; none.

        Returns:
            Observations, and lives left.

        Raises:
            ValueError: where an episode ends before its start, or the screen there is not the recorded one.
        """
        assert not any(map(len, actions)), "a start is handed over at its beginning"
        begins, padded = aligned([self.lead_in(env) for env in range(self.num_envs)])
        seeds = np.full(self.num_envs, self._starts.seed)
        screens: deque[UInt8[np.ndarray, "N 210 160"]] = deque(maxlen=SCREENS)
        screens.append(self._envs.reset(seed=seeds)[0][:, 0])
        lives = np.zeros(self.num_envs, np.int64)
        for time in range(len(padded)):
            starting = begins == time
            if time and starting.any():
                screens[-1] = self._envs.reset(seed=seeds[starting], options={"reset_mask": starting})[0][:, 0]
            seen, _, terminated, truncated, info = self._envs.step(padded[time])
            screens.append(seen[:, 0])
            lives = info["lives"]
            over = np.flatnonzero((terminated | truncated) & (begins <= time))
            if len(over):
                raise ValueError(f"{self._name(int(over[0]))} lies behind the end of its episode")
        for env, number in enumerate(self._which):
            if screen_hash(screens[-1][env]) != self._starts.starts[number].screen:
                raise ValueError(
                    f"{self._name(env)} shows another screen than was recorded; the file, or ale-py, which was "
                    f"{self._starts.ale_py}, is not what it was"
                )
        self._stack = np.zeros((self.num_envs, protocol.STACKED_FRAMES, *[protocol.FRAME_SIZE] * 2), np.uint8)
        for env, frames in enumerate((len(padded) - begins).tolist()):
            for place in range(protocol.STACKED_FRAMES):
                age = place * protocol.FRAMES_PER_STEP
                if frames >= age:
                    newest = screens[-1 - age][env]
                    seen = np.maximum(newest, screens[-2 - age][env]) if frames > age else newest
                    self._stack[env, -1 - place] = shrink(seen)
        self._over = np.zeros(self.num_envs, bool)
        return self._stack, lives

    def restart(self, seeds: Int64[np.ndarray, " M"], which: Bool[np.ndarray, " N"] | None = None) -> np.ndarray:
        """Refuse: an environment plays from its start once."""
        raise ValueError("a start is played from once; make other environments for other starts")

    def step(
        self, actions: Int64[np.ndarray, " N"]
    ) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int32[np.ndarray, " N"], Bool[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Take one step of four frames in every environment; see `Atari.step`."""
        check_actions(self.game, actions)
        rewards = np.zeros(self.num_envs, np.int32)
        ended = np.zeros(self.num_envs, bool)
        before = newest = None
        for _ in range(protocol.FRAMES_PER_STEP):
            before = newest
            seen, reward, terminated, truncated, info = self._envs.step(self._legal[actions])
            newest = seen[:, 0]
            rewards += np.where(ended, 0, reward).astype(np.int32)
            ended |= terminated | truncated
        self._stack = np.roll(self._stack, -1, axis=1)  # a new array: the one given before stays as it is
        for env in np.flatnonzero(~self._over):
            self._stack[env, -1] = shrink(np.maximum(before[env], newest[env]))
        self._over |= ended
        return self._stack, rewards, ended, info["lives"]

    def close(self) -> None:
        """Stop the native threads."""
        self._envs.close()

    def _name(self, env: int) -> str:
        return f"start {self._which[env]} of {self.game}"


def shrink(screen: UInt8[np.ndarray, "210 160"]) -> UInt8[np.ndarray, "84 84"]:
    """Resize a screen as the native environment does."""
    return cv2.resize(screen, (protocol.FRAME_SIZE, protocol.FRAME_SIZE), interpolation=cv2.INTER_AREA)
