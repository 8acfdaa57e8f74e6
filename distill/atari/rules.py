"""What an environment does for its player, by the rules that the player has learned by."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import ale_py
import numpy as np
from jaxtyping import Bool, Int, Int64, UInt8

from distill import checks, protocol
from distill.atari.cartridge import ALL_ACTIONS, legal_actions
from distill.errors import DistillError

FIRE = 1
"""Among the 18 actions."""


class EnvRules(NamedTuple):
    """The options of other libraries' wrappers that change how a game is played; by default those of the paper."""

    fire_reset: bool = False
    """FIRE is pressed for a step when an episode begins and after each lost life, where the game has it."""
    life_loss: bool = False
    """The stack of frames begins anew after each lost life; the game and its score go on."""
    sticky: float = 0.0
    """Probability that the emulator repeats the last action for a frame."""
    frame_skip: int = protocol.FRAMES_PER_STEP
    """Frames of a step, of which the last two are seen; of one, that alone."""
    full_action_set: bool = False
    """All 18 actions, not the legal ones alone."""

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> "EnvRules":
        """Return the rules that a weight file's header names.

        Raises:
            ValueError: for others than these, or of other types.
        """
        said = header.get("rules", {})
        try:
            fire_reset, life_loss, sticky, frame_skip, full_action_set = cls(**said)
            checks.between(0, 1, sticky=sticky)
            checks.between(1, protocol.FRAMES_PER_SECOND, frame_skip=frame_skip)
            return cls(bool(fire_reset), bool(life_loss), float(sticky), int(frame_skip), bool(full_action_set))
        except TypeError:
            raise DistillError(f"its rules of play are {said!r}; allowed are {', '.join(cls._fields)}") from None

    def given(self, **options: Any) -> "EnvRules":
        """Return rules with these values, where they are not None.

        Raises:
            ValueError: for a value out of its range.
        """
        return EnvRules.of({"rules": self.changed | {name: of for name, of in options.items() if of is not None}})

    @property
    def changed(self) -> dict[str, Any]:
        """Return what is not as in the paper, as plain values."""
        return {name: value for name, value in self._asdict().items() if value != self._field_defaults[name]}

    @property
    def described(self) -> str:
        """Describe what is not as in the paper, each after a comma."""
        said = {
            "fire_reset": "FIRE pressed at each life's start",
            "life_loss": "frames stacked anew in each life",
            "sticky": f"sticky actions {self.sticky:g}",
            "frame_skip": f"a step of {self.frame_skip} frames",
            "full_action_set": f"all {ALL_ACTIONS} actions",
        }
        return "".join(f", {said[name]}" for name in self.changed)

    @property
    def preprocessing(self) -> dict[str, Any]:
        """Return how screens become observations, as plain values, for whoever reads our files."""
        return {
            "frames_per_step": self.frame_skip,
            "stacked_frames": protocol.STACKED_FRAMES,
            "frame": "grey; maximum of the last two of a step's frames; resized by area to 84 x 84",
            "sticky_actions": self.sticky,
        }

    def actions(self, game: str) -> tuple[int, ...]:
        """Number the actions among a console's 18, in the order in which networks number them.

        Raises:
            ValueError: for an unknown game.
        """
        legal = legal_actions(game)
        return tuple(range(ALL_ACTIONS)) if self.full_action_set else legal

    def action_names(self, game: str) -> tuple[str, ...]:
        """Name the actions in that order.

        Raises:
            ValueError: for an unknown game.
        """
        return tuple(ale_py.Action(action).name for action in self.actions(game))


PAPER_RULES = EnvRules()


class LifeRules:
    """Applies `fire_reset` and `life_loss` to environments side by side.

    Args:
        env: The rules.
        game: ALE name.
        num_envs: Environments, N.
    """

    def __init__(self, env: EnvRules, game: str, num_envs: int) -> None:
        actions = env.actions(game)
        self._fire = actions.index(FIRE) if env.fire_reset and FIRE in actions else None
        self._cuts = env.life_loss
        self._begins = np.zeros(num_envs, bool)
        self._lives = np.zeros(num_envs, np.int64)
        self._older = np.full(num_envs, protocol.STACKED_FRAMES)
        """Frames before the newest that are of this life."""

    def begin(self, which: Bool[np.ndarray, " N"] | None) -> None:
        """Note that episodes begin; None means all."""
        which = np.ones_like(self._begins) if which is None else which
        self._begins |= which
        self._lives[which] = 0
        self._older[which] = protocol.STACKED_FRAMES

    def taken(self, actions: Int64[np.ndarray, " N"]) -> Int64[np.ndarray, " N"]:
        """Return what is done where a player wants these actions: FIRE where a life begins."""
        if self._fire is None:
            return actions
        begins, self._begins = self._begins, np.zeros_like(self._begins)
        return np.where(begins, self._fire, actions)

    def seen(
        self, observations: UInt8[np.ndarray, "N 4 84 84"], lives: Int[np.ndarray, " N"]
    ) -> UInt8[np.ndarray, "N 4 84 84"]:
        """Return what players see after a step, as they have so many lives left: zeros for frames of former lives."""
        if self._fire is None and not self._cuts:
            return observations
        lost = lives < self._lives
        self._lives = lives.astype(np.int64)
        self._begins |= lost
        if not self._cuts:
            return observations
        self._older = np.where(lost, 0, np.minimum(self._older + 1, protocol.STACKED_FRAMES))
        lags = np.arange(protocol.STACKED_FRAMES)[::-1]
        former = lags > self._older[:, None]
        if former.any():
            observations = observations.copy()
            observations[former] = 0
        return observations
