"""The teacher of a game; networks of the user's own Python, which teach or learn."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distill.atari.rules import PAPER_RULES, EnvRules
from distill.errors import DistillError
from distill.networks import DQN, count_parameters, evaluating
from distill.summary import Summary

Scores = Callable[[UInt8[Tensor, "B 4 84 84"]], Any]
"""Observations, grey, oldest frame first, 0 to 255, to a number for each of them and each legal action."""

Combination = Literal["mixture", "vote"]
"""How several teachers of one game are combined; see `distill.weights.ensembles`."""


class CallableNetwork(nn.Module):
    """Plays the part of a network of ours, for one game.

    A module that teaches is copied as it is now, and set to evaluation. A function is called as it is, on whatever
    device the observations are.

    Args:
        scores: The module or function.
        game: What it plays, for messages.
        num_actions: How many it must tell apart.
        digest: Of a teacher: names its hours of play, equal for two only if they play alike; see
            `distill.weights.digests.identity`. None means that it is a module that learns.

    Raises:
        ValueError: where it does not give a number for each observation and action.
    """

    def __init__(self, scores: Scores, game: str, num_actions: int, *, digest: str | None = None) -> None:
        super().__init__()
        self.name = name_of(scores)
        self.game = game
        self.num_actions = num_actions
        self.scores = scores
        self.digest = digest
        learns = digest is None
        if isinstance(scores, nn.Module) and not learns:
            self.scores = copy.deepcopy(scores).requires_grad_(False)
        self.register_buffer("place", torch.zeros(()), persistent=False)  # where it is, though it may have no weights
        if not learns:
            self.eval()
        no_gradients = torch.no_grad() if learns else torch.inference_mode()  # in which a lazy layer could not learn
        with evaluating(self), no_gradients:
            found = self(torch.zeros(2, 4, 84, 84, dtype=torch.uint8, device=_device(self)))
        if tuple(found.shape) != (2, num_actions):
            raise DistillError(
                f"{self.name} maps 2 observations to {tuple(found.shape)}; with the {num_actions} legal actions of "
                f"{game} it must be {(2, num_actions)}"
            )

    @property
    def shape(self) -> str:
        """Describe the network's shape."""
        return f"the layers of {self.name}, {count_parameters(self):,} parameters"

    def for_game(self, game: str) -> "CallableNetwork":
        """Return the network that plays a game: this one."""
        return self

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"], game: str = "") -> Float[Tensor, "..."]:
        """Ask the module or function."""
        return torch.as_tensor(self.scores(observations), device=observations.device).float()


@dataclass
class Teacher:
    """Who plays a game for students."""

    name: str
    """A shipped teacher's, a path, or what a class or function is called."""
    network: DQN | CallableNetwork
    file: Path | None
    """Where the network was read from; None of a user's own."""
    kind: str
    """One of `distill.losses.KINDS`."""
    env: EnvRules = PAPER_RULES
    """By which it plays."""
    summary: Summary | None = None
    """Of its scores, once it has been scored."""


def name_of(scores: Scores) -> str:
    """Name it for people: what its class or function is called."""
    return getattr(scores, "__qualname__", type(scores).__qualname__)


def _device(module: nn.Module) -> torch.device:
    return next((one.device for one in module.parameters()), torch.device("cpu"))
