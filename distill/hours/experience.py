"""What a run has seen of each game: the play that goes on, the memory of it, and the scores in it."""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from distill import protocol
from distill.atari.environments import num_actions
from distill.errors import DistillError
from distill.files.store import Store
from distill.frames import frame_bytes
from distill.hours.hour import Gone
from distill.hours.live_play import LivePlay
from distill.hours.teacher_play import TeacherPlay
from distill.networks import DQN
from distill.replay import Memory, Steps, ring_of
from distill.rollout import PlayConfig, Policy
from distill.weights.callables import CallableNetwork, Scores

SHARE = 0.6
"""Of a GPU's free memory, which frames may take."""
Interleaving = Literal["minibatch", "episode"]
Source = str | Scores | None
"""A teacher: a shipped one's name, a file or a folder; a module or function; None where there is none."""


class Experience:
    """One game's.

    Args:
        rules: How it is played.
        memory_hours: Hours to remember.
        device: Where the memory keeps frames as they are; None packs them.
    """

    def __init__(self, rules: PlayConfig, memory_hours: float, device: torch.device | None = None) -> None:
        self.rules = rules
        self.memory_hours = memory_hours
        length = memory_length(rules, memory_hours)
        self.memory = Memory(length, rules.num_envs, num_actions(rules.game), rules.game, device)
        self.scores: deque[float] = deque(maxlen=protocol.EVAL_EPISODES)
        """Of the last episodes that ended."""
        self.recording: TeacherPlay | None = None
        """The teacher's play, where there is a teacher."""
        self.own_play: LivePlay | None = None
        """The trained module's, where there is none."""
        self._state: dict[str, Any] = {"kept": [], "hour_begin": 0, "students": {}}
        self._totals = np.full(rules.num_envs, np.nan)
        self._hours: int | None = None
        self._since = 0

    @property
    def teachers_play(self) -> TeacherPlay:
        """The same, for whoever knows that there is a teacher."""
        assert self.recording is not None
        return self.recording

    def take_due(self, hours: int) -> range:
        """Return which of the first `hours` hours should be remembered and are not yet; the caller remembers them.

        Where a run goes on in the midst, that is one hour more than is remembered: the oldest observation needs the
        frames before it.
        """
        oldest = hours - 1 - math.ceil(self.memory_hours) if self._hours is None else self._hours
        self._hours = hours if hours else None
        return range(max(0, self._since - 1, oldest), hours)

    def record(
        self,
        teacher: DQN | CallableNetwork,
        store: Store,
        *,
        overlap: bool,
        num_threads: int,
        student: DQN | CallableNetwork,
    ) -> None:
        """Have a teacher play, and where it is not to act always, its student; see `TeacherPlay`."""
        self.recording = TeacherPlay(
            self.rules,
            teacher,
            store,
            keep_hours=math.ceil(self.memory_hours) + 1,
            overlap=overlap,
            num_threads=num_threads,
            student=student if min(self.rules.beta.values) < 1 else None,
        )

    def play_itself(
        self, policy: Policy, folder: Path | None, *, new: bool, resuming_mid_hour: bool, num_threads: int
    ) -> None:
        """Have the trained module play, going on from what was kept of it; see `LivePlay`.

        Args:
            policy: The module's.
            folder: Of its files.
            new: Whether there may be nothing to go on from.
            resuming_mid_hour: Whether the run goes on within an hour, whose play then comes once more.
            num_threads: For the environments.
        """
        kept = self._state["kept"]
        if not (new or kept) or "hour_begin" not in self._state:
            raise Gone("this checkpoint does not say what its run had played and remembered; begin a new run")
        self.own_play = LivePlay(
            self.rules,
            policy,
            folder,
            memory_length=self.memory.length,
            kept=kept,
            hour_begin=self._state["hour_begin"] if resuming_mid_hour or not kept else kept[-1][1],
            num_threads=num_threads,
        )
        if self.own_play.remembered is not None:
            self.remember(self.own_play.remembered)

    def state_dict(self) -> dict[str, Any]:
        """Write the hours that depend on what was learned as files; return what it takes to find them again."""
        if self.own_play is not None:
            self.own_play.keep()
            self._state |= {"kept": list(self.own_play.kept), "hour_begin": self.own_play.hour_begin}
        if self.recording is not None:
            self._state |= {"students": dict(self.recording.student_digests)}
        return self._state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load that state, where a run resumes."""
        self._state = state_dict
        if self.recording is not None:
            self.recording.student_digests |= state_dict["students"]

    def forget(self, hour: int) -> None:
        """Forget what was before an hour, when it is remembered."""
        self._since = hour

    def remember(self, steps: Steps, hour: int | None = None) -> None:
        """Add steps that directly follow the last ones.

        Args:
            steps: What was played.
            hour: Which of a teacher's hours they are.
        """
        if hour is not None and hour == self._since:
            self.memory.forget()
        self.memory.extend(steps)
        for first, rewards, ended in zip(steps.first, steps.rewards, steps.ended, strict=True):
            self._totals[first] = 0  # until then, not a number: an episode whose beginning was not seen has no score
            self._totals += rewards
            self.scores.extend(score for score in self._totals[ended].tolist() if not math.isnan(score))

    def close(self, *, failed: bool = False) -> None:
        """Stop playing; the state stays, unless something has failed."""
        if not failed:
            self.state_dict()
        for play in (self.recording, self.own_play):
            if play is not None:
                play.close()
        self.recording = self.own_play = None


def memory_length(rules: PlayConfig, memory_hours: float) -> int:
    """Count the steps of each environment that are remembered."""
    return int(memory_hours * rules.hour_steps) // rules.num_envs


def room_for_frames(games: Sequence[PlayConfig], memory_hours: float, device: torch.device) -> torch.device | None:
    """Choose where memories keep their frames: unpacked on a GPU, if they fit in `SHARE` of what is free there.

    Returns:
        The GPU; None means packed, in main memory.
    """
    if device.type != "cuda":
        return None
    sizes = [frame_bytes(ring_of(memory_length(rules, memory_hours)), rules.num_envs) for rules in games]
    free, _ = torch.cuda.mem_get_info(device)
    return device if sum(sizes) <= SHARE * free else None


def sources_of(game: str | Mapping[str, Any], teacher: Source) -> dict[str, Source]:
    """Return each game's teacher: one for each, or None for all.

    Args:
        game: One, or several with their teachers.
        teacher: Of one game.

    Raises:
        ValueError: for no game, for what can be no teacher, for a teacher beside several, and where only some have one.
    """
    if isinstance(game, str):
        return {game: teacher}
    sources = dict(game)
    if not sources:
        raise DistillError("game is empty; give one, or several with a teacher each: {pong: pong, ...}")
    for name, source in sources.items():
        if not (source is None or isinstance(source, str) or callable(source)):
            raise DistillError(f"the teacher of {name} is {source!r}; it must be a name or a file, or null")
    if teacher is not None:
        raise DistillError(f"teacher is {teacher!r}; of several games each has its own: {{pong: pong, ...}}")
    without = [name for name, source in sources.items() if source is None]
    if without and len(without) < len(sources):
        raise DistillError(f"{', '.join(without)} has no teacher; either all games must have one, or none")
    return sources


def turns(
    memories: Mapping[str, Memory],
    interleave: Interleaving,
    rng: np.random.Generator,
    updates_per_step: float,
    hour: int = 0,
) -> Iterator[str]:
    """Yield the game of each minibatch, without end; only games that are remembered take part.

    Args:
        memories: By game.
        interleave: `minibatch` draws it, all alike; `episode` goes round, one episode's worth of updates each.
        rng: What to draw with.
        updates_per_step: How many updates belong to a step of play.
        hour: Its number, from 0; `episode` begins each hour with another game.
    """
    while True:
        played = [game for game, memory in memories.items() if len(memory)]
        if interleave == "minibatch":
            yield played[rng.integers(len(played))]
            continue
        first = hour % len(played)
        for game in played[first:] + played[:first]:
            updates = round(memories[game].episode_steps * updates_per_step)
            yield from itertools.repeat(game, max(1, updates))
