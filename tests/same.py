"""Whether two things are the same, to the last bit."""

from dataclasses import fields

import numpy as np
import torch
from torch import nn

from distill.replay import Steps


def same_steps(one: Steps, other: Steps) -> bool:
    """Compare all that two pieces of play hold."""
    return all(np.array_equal(getattr(one, field.name), getattr(other, field.name)) for field in fields(Steps))


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Compare the weights of the one with those of the other."""
    return all(torch.equal(weights, other.state_dict()[name]) for name, weights in one.state_dict().items())
