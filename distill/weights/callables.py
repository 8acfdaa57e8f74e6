"""Networks of the user's own Python: a teacher, any module or function of observations; a module that learns."""

import copy
import hashlib
import inspect
import json
import sys
import uuid
from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distill.errors import DistillError
from distill.networks import DQN, evaluating
from distill.weights.files import digest

Scores = Callable[[UInt8[Tensor, "B 4 84 84"]], Any]
"""Observations, grey, oldest frame first, 0 to 255, to a number for each of them and each legal action."""
OF_EVERY_MODULE = set(vars(nn.Module()))


class CallableNetwork(nn.Module):
    """Plays the part of a network of ours, for one game.

    A module that teaches is copied as it is now, and set to evaluation. A function is called as it is, on whatever
    device the observations are.

    Args:
        scores: The module or function.
        game: What it plays, for messages.
        num_actions: How many it must tell apart.
        learns: Whether it is a module that learns, instead of a teacher.

    Raises:
        ValueError: where it does not give a number for each observation and action.
    """

    def __init__(self, scores: Scores, game: str, num_actions: int, *, learns: bool = False) -> None:
        super().__init__()
        self.name = name_of(scores)
        self.num_actions = num_actions
        self.scores = scores
        if isinstance(scores, nn.Module) and not learns:
            self.scores = copy.deepcopy(scores).requires_grad_(False)
        self.register_buffer("place", torch.zeros(()), persistent=False)  # where it is, though it may have no weights
        self.digest = "" if learns else identity(self.scores)
        """Names a teacher's hours of play: equal for two only if they play alike."""
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

    def for_game(self, game: str) -> "CallableNetwork":
        """Return the network that plays a game: this one."""
        return self

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"], game: str = "") -> Float[Tensor, "..."]:
        """Ask it."""
        return torch.as_tensor(self.scores(observations), device=observations.device).float()


def digest_of(teacher: DQN | CallableNetwork) -> str:
    """Return a digest that names a teacher's play: equal for two only if they play alike."""
    return teacher.digest if isinstance(teacher, CallableNetwork) else digest(teacher)


def name_of(scores: Scores) -> str:
    """Name it for people: what its class or function is called."""
    return getattr(scores, "__qualname__", type(scores).__qualname__)


def _device(module: nn.Module) -> torch.device:
    return next((one.device for one in module.parameters()), torch.device("cpu"))


def identity(scores: Scores) -> str:
    """Return what tells a teacher apart from all that play otherwise.

    That is its attribute `digest`, where it has one. Else, of a module, a hash of its weights, its layers and their
    plain attributes, and the source of the files that define them, though not of what these import. Where even that is
    not to be had, as of any function, it is a number drawn at random: what it plays is then shared with no other run.
    """
    given = getattr(scores, "digest", None)
    if isinstance(given, str):
        return f"given {given}"
    try:
        if isinstance(scores, nn.Module):
            parts = [[name, *_described(one)] for name, one in scores.named_modules(remove_duplicate=False)]
            text = json.dumps([digest(scores), torch.__version__, parts])
            return hashlib.sha256(text.encode()).hexdigest()
    except (TypeError, OSError, KeyError):
        pass  # an attribute that is no plain value, a class typed in at a prompt
    return f"drawn {uuid.uuid4().hex}"


def _described(module: nn.Module) -> list[Any]:
    """List what a module does beside its weights; an error means that it cannot be said."""
    if module._forward_hooks or module._forward_pre_hooks:
        raise TypeError("hooks")
    plain = {name: value for name, value in vars(module).items() if name not in OF_EVERY_MODULE}
    unsaved = {name: module.get_buffer(name) for name in module._non_persistent_buffers_set}
    plain |= {name: [str(buffer.dtype), buffer.tolist()] for name, buffer in unsaved.items()}
    kind = type(module)
    own = kind.__module__.partition(".")[0] != "torch"
    return [kind.__qualname__, plain, inspect.getsource(sys.modules[kind.__module__]) if own else ""]
