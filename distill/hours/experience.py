"""What a run has seen of each game: the play that goes on, the memory of it, and the scores in it."""

import itertools
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch

from distill import protocol
from distill.atari.cartridge import game_name
from distill.errors import DistillError
from distill.frames import frame_bytes
from distill.hours.source import PlaySource
from distill.replay import Memory, Steps, ring_of
from distill.rollout import PlayConfig
from distill.weights.callables import Scores

SHARE = 0.6
"""Of a GPU's free memory, which frames may take."""
Interleaving = Literal["minibatch", "episode"]
TeacherSource = str | list[str | Scores] | Scores | None
"""A teacher: a shipped one's name, a file or a folder; a module or function; several; None where there is none."""


class Experience:
    """One game's.

    Args:
        rules: How it is played.
        memory_hours: Hours to remember.
        source: Who plays.
        device: Where the memory keeps frames as they are; None packs them.
    """

    def __init__(
        self, rules: PlayConfig, memory_hours: float, source: PlaySource, device: torch.device | None = None
    ) -> None:
        self.rules = rules
        self.source = source
        length = memory_length(rules, memory_hours)
        self.memory = Memory(
            length, rules.num_envs, rules.num_actions, rules.game, device, life_loss=rules.env.life_loss
        )
        self.scores: deque[float] = deque(maxlen=protocol.EVAL_EPISODES)
        """Of the last episodes that ended."""
        self._totals = np.full(rules.num_envs, np.nan)

    def refill(self, on_step: Callable[[int, int], None]) -> None:
        """Remember what is due; see `PlaySource.due`."""
        for piece in self.source.due(on_step):
            if piece.forget:
                self.memory.forget()
            self.remember(piece.steps)

    def remember(self, steps: Steps) -> None:
        """Add steps that directly follow the last ones."""
        self.memory.extend(steps)
        for first, rewards, ended in zip(steps.first, steps.rewards, steps.ended, strict=True):
            self._totals[first] = 0  # until then, not a number: an episode whose beginning was not seen has no score
            self._totals += rewards
            self.scores.extend(score for score in self._totals[ended].tolist() if not math.isnan(score))


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


def sources_of(game: str | Mapping[str, Any], teacher: TeacherSource) -> dict[str, TeacherSource]:
    """Return each game's teacher: one for each, or None for all.

    Args:
        game: One, or several with their teachers.
        teacher: Of one game.

    Raises:
        ValueError: for no game or an unknown one, for what can be no teacher, for a teacher beside several, and where
            only some have one.
    """
    if isinstance(game, str):
        return {game_name(game): teacher}
    sources = {game_name(name): source for name, source in game.items()}
    if not sources:
        raise DistillError("game is empty; give one, or several with a teacher each: {pong: pong, ...}")
    for name, source in sources.items():
        if not (source is None or isinstance(source, str | list) or callable(source)):
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
