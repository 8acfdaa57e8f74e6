"""What tells networks apart: hashes of their weights and, of a user's own, of what else they do."""

import hashlib
import inspect
import json
import sys
import uuid
from typing import Any

import torch
from safetensors.torch import save
from torch import nn

from distill.networks import DQN
from distill.weights.callables import CallableNetwork, Scores

OF_EVERY_MODULE = set(vars(nn.Module()))


def digest(network: nn.Module) -> str:
    """Hash a network's weights, with their names and types, in hexadecimal."""
    tensors = {name: cpu_copy(tensor) for name, tensor in sorted(network.state_dict().items())}
    return hashlib.sha256(save(tensors)).hexdigest()


def cpu_copy(tensor: torch.Tensor, dtype: torch.dtype | None = None) -> torch.Tensor:
    """Copy a tensor, which may be one of several that share their memory, to where files are made of it."""
    return tensor.detach().to("cpu", dtype or tensor.dtype).contiguous().clone()


def digest_of(teacher: DQN | CallableNetwork) -> str:
    """Return a digest that names a teacher's play: equal for two only if they play alike."""
    return (teacher.digest or "") if isinstance(teacher, CallableNetwork) else digest(teacher)


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
