"""Emulators that replay starts and play on, in processes: a frame holds the interpreter's lock."""

import hashlib
import multiprocessing
import signal
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Int32, Int64, UInt8

from distill import protocol
from distill.atari.cartridge import Cartridge
from distill.errors import DistillError

DEAD = "a process that emulates games has died; the system may be out of memory"


class Dead(DistillError):
    """A process that emulates games is dead, or does not answer."""

    code = 1


class Start(NamedTuple):
    """A position in a game."""

    actions: UInt8[np.ndarray, " F"]
    """One for each frame before it, 0 to 17, 1 or more."""
    screen: str
    """Hash of what is seen there; see `screen_hash`."""


@runtime_checkable
class Recording(Protocol):
    """What leads to the starts of one game, see `Starts`."""

    @property
    def game(self) -> str:
        """Return the ALE name."""

    @property
    def seed(self) -> int:
        """Return the emulator's seed."""

    @property
    def starts(self) -> tuple[Start, ...]:
        """Return the positions."""

    @property
    def ale_py(self) -> str:
        """Return the version of the emulator that recorded them."""


class Process:
    """Some of the emulators, in a process of their own, which ends with this one.

    Args:
        starts: That its emulators will be handed over at.
    """

    def __init__(self, starts: Recording) -> None:
        # A fork would take over locks, but not the threads that free them.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, starts), daemon=True)
        # Ctrl-C is for this process, not for those that it starts; they are born with it blocked.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def ask(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Have something done by a function that takes the emulators first."""
        try:
            self._pipe.send((call, arguments))
        except OSError:
            raise Dead(DEAD) from None

    def answer(self, patience: float | None = None) -> Any:
        """Wait for what the function returns, or raise what it raises.

        Args:
            patience: For how many seconds; None waits for as long as the process lives.
        """
        try:
            if not self._pipe.poll(patience):
                raise Dead(f"a process that emulates games has not answered for {patience:g} seconds")
            answer = self._pipe.recv()
        except (EOFError, OSError):
            raise Dead(DEAD) from None
        if isinstance(answer, ValueError):
            raise answer
        return answer

    def close(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        self._process.join()
        self._pipe.close()


class Emulators(NamedTuple):
    """The emulators of a process, and the starts they replay."""

    starts: Recording
    playing: list["Replayed"]


def serve(pipe: Connection, starts: Recording) -> None:
    """Answer calls until the other side closes the pipe."""
    emulators = Emulators(starts, [])
    try:
        while True:
            call, arguments = pipe.recv()
            try:
                answer = call(emulators, *arguments)
            except ValueError as error:
                answer = error
            pipe.send(answer)
    except (EOFError, OSError):
        return  # the other side has hung up, or is dead


def hand_over(
    emulators: Emulators, which: list[int], frame_skip: int
) -> tuple[UInt8[np.ndarray, "N 4 84 84"], Int64[np.ndarray, " N"]]:
    """Replay what leads to some starts, and keep the emulators there; return observations and lives."""
    starts = emulators.starts
    stacks = np.zeros((len(which), protocol.STACKED_FRAMES, *[protocol.FRAME_SIZE] * 2), np.uint8)
    for number, stack in zip(which, stacks, strict=True):
        replayed = Replayed(starts.game, starts.seed, frame_skip)
        replayed.replay(starts.starts[number].actions.tolist(), stack)
        name = f"start {number} of {starts.game}"
        if replayed.cartridge.over:
            raise DistillError(f"{name} lies behind the end of its episode")
        if screen_hash(replayed.cartridge.screen) != starts.starts[number].screen:
            raise DistillError(
                f"{name} shows another screen than was recorded; the file, or ale-py, which was "
                f"{starts.ale_py}, is not what it was"
            )
        emulators.playing.append(replayed)
    return stacks, np.array([replayed.cartridge.lives for replayed in emulators.playing])


def step(
    emulators: Emulators, places: list[int], actions: list[int], max_frames: int
) -> tuple[UInt8[np.ndarray, "N 84 84"], Int32[np.ndarray, " N"], Bool[np.ndarray, " N"], Int64[np.ndarray, " N"]]:
    """Take a step in some emulators; return their newest frames, rewards, whether they are over, and lives."""
    playing = [emulators.playing[place] for place in places]
    frames = np.zeros((len(playing), *[protocol.FRAME_SIZE] * 2), np.uint8)
    rewards = [
        replayed.step(action, max_frames, frame)
        for replayed, action, frame in zip(playing, actions, frames, strict=True)
    ]
    over = [replayed.cartridge.over or replayed.frames >= max_frames for replayed in playing]
    lives = [replayed.cartridge.lives for replayed in playing]
    return frames, np.array(rewards, np.int32), np.array(over), np.array(lives)


class Replayed:
    """One emulator, and how far it is.

    Args:
        game: ALE name.
        seed: Of the emulator.
        frame_skip: Frames of a step, 1 or more.
    """

    def __init__(self, game: str, seed: int, frame_skip: int = protocol.FRAMES_PER_STEP) -> None:
        self.cartridge = Cartridge(game, seed)
        self.frames = 0
        self._frame_skip = frame_skip

    def replay(self, actions: Sequence[int], stack: UInt8[np.ndarray, "4 84 84"]) -> None:
        """Play recorded actions, for as long as the episode lasts, and fill in what is seen at their end."""
        first = len(actions) - (protocol.STACKED_FRAMES - 1) * self._frame_skip - 1
        screens = {0: self.cartridge.screen} if first <= 0 else {}
        for action in actions:
            if self.cartridge.over:
                return
            self.cartridge.act(action)
            self.frames += 1
            if self.frames >= first:
                screens[self.frames] = self.cartridge.screen
        for place in range(protocol.STACKED_FRAMES):
            at = self.frames - place * self._frame_skip
            if at >= 0:
                before = at if self._frame_skip == 1 else max(0, at - 1)  # as the native environment has it
                stack[-1 - place] = shrink(np.maximum(screens[at], screens[before]))

    def step(self, action: int, max_frames: int, newest: UInt8[np.ndarray, "84 84"]) -> int:
        """Play an action for a step's frames or to the end; fill in what is seen then, and return the reward."""
        reward, screens = 0, [self.cartridge.screen]
        for _ in range(self._frame_skip):
            if not self.cartridge.over and self.frames < max_frames:
                reward += self.cartridge.act(action)
                self.frames += 1
            screens = [screens[-1] if self._frame_skip > 1 else self.cartridge.screen, self.cartridge.screen]
        newest[:] = shrink(np.maximum(*screens))
        return reward


def screen_hash(screen: UInt8[np.ndarray, "210 160"]) -> str:
    """Hash a grey screen."""
    return hashlib.sha256(np.ascontiguousarray(screen).tobytes()).hexdigest()


def shrink(screen: UInt8[np.ndarray, "210 160"]) -> UInt8[np.ndarray, "84 84"]:
    """Resize a screen as the native environment does."""
    return cv2.resize(screen, (protocol.FRAME_SIZE, protocol.FRAME_SIZE), interpolation=cv2.INTER_AREA)
