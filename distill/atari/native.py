"""Native environments, made and used again: to make one loads a cartridge once more than its episodes need."""

import atexit
import threading
from typing import NamedTuple

import ale_py
import gymnasium

from distill import protocol
from distill.atari.rules import EnvRules


class MadeAs(NamedTuple):
    """What native environments are made with; equal ones can take each other's place."""

    game: str
    num_envs: int
    num_threads: int
    max_frames: int
    env: EnvRules
    process: int
    """Which made them: after a fork their threads are not there."""

    def make(self) -> ale_py.AtariVectorEnv:
        """Make native environments."""
        return ale_py.AtariVectorEnv(
            self.game,
            self.num_envs,
            num_threads=self.num_threads,
            autoreset_mode=gymnasium.vector.AutoresetMode.NEXT_STEP,
            grayscale=True,
            episodic_life=False,
            reward_clipping=False,
            use_fire_reset=False,  # it counts among the no-ops; ours follows them
            max_num_frames_per_episode=self.max_frames,
            repeat_action_probability=self.env.sticky,
            stack_num=protocol.STACKED_FRAMES,
            frameskip=self.env.frame_skip,
            maxpool=True,
            noop_max=protocol.NOOP_MAX + 1,  # it draws up to one less
            img_height=protocol.FRAME_SIZE,
            img_width=protocol.FRAME_SIZE,
            full_action_space=self.env.full_action_set,
        )


class Idle:
    """Native environments that were closed, at rest, until some like them are wanted.

    Args:
        most: How many are kept, about 1 MB each; the longest unused go.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: list[tuple[MadeAs, ale_py.AtariVectorEnv]] = []
        self._lock = threading.Lock()

    def take(self, wanted: MadeAs) -> ale_py.AtariVectorEnv | None:
        """Return some that were made so, if there are any."""
        with self._lock:
            for place, (made, envs) in enumerate(self._kept):
                if made == wanted:
                    del self._kept[place]
                    return envs
        return None

    def put(self, made: MadeAs, envs: ale_py.AtariVectorEnv) -> None:
        """Keep some, if there is room."""
        with self._lock:
            self._kept.append((made, envs))
            while sum(made.num_envs for made, _ in self._kept) > self._most:
                self._kept.pop(0)[1].close()

    def clear(self) -> None:
        """Close all that are kept."""
        with self._lock:
            while self._kept:
                self._kept.pop()[1].close()


IDLE = Idle(most=128)
atexit.register(IDLE.clear)  # else the emulator's bindings complain of what they find when the interpreter ends
