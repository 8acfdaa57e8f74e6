"""The fused RMSProp takes PyTorch's steps."""

import pytest
import torch
from torch.testing import assert_close

from distill.errors import DistillError
from distill.networks import build
from distill.optimizers import RMSprop


def two_networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    """Build two with the same weights."""
    torch.manual_seed(0)
    ours, theirs = build("net3", num_actions=6), build("net3", num_actions=6)
    theirs.load_state_dict(ours.state_dict())
    return ours, theirs


def steps(ours, theirs, one, other, count: int = 20) -> None:
    """Take steps with both, by the same gradients; weights stay equal."""
    for _ in range(count):
        for mine, its in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine) * 0.01
            its.grad = mine.grad.clone()
        one.step()
        other.step()
        assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), rtol=1e-4, atol=1e-6)


def test_it_takes_the_steps_of_rmsprop():
    """From the first step on, weights are those of `torch.optim.RMSprop`, within rounding."""
    ours, theirs = two_networks()
    start = ours.conv1.weight.detach().clone()
    one = RMSprop(ours.parameters(), lr=5e-3, decay=0.95, eps=1e-3)
    other = torch.optim.RMSprop(theirs.parameters(), lr=5e-3, alpha=0.95, eps=1e-3)
    steps(ours, theirs, one, other)
    assert (ours.conv1.weight - start).abs().max() > 0.01


def test_weights_that_are_added_later_take_them_too():
    """A group that joins after some steps, at a rate of its own, moves as in `torch.optim.RMSprop`."""
    ours, theirs = two_networks()
    optimizers = []
    for network, kind, decay in ((ours, RMSprop, {"decay": 0.95}), (theirs, torch.optim.RMSprop, {"alpha": 0.95})):
        optimizers.append(kind(network.out.parameters(), lr=5e-3, eps=1e-3, **decay))
    steps(ours, theirs, *optimizers, count=3)
    for network, optimizer in zip((ours, theirs), optimizers, strict=True):
        rest = [weight for name, weight in network.named_parameters() if not name.startswith("out.")]
        optimizer.add_param_group({"params": rest, "lr": 1e-3})
    steps(ours, theirs, *optimizers)


def test_a_state_goes_on():
    """A state of its own and one of `torch.optim.RMSprop` are taken up; one that is centered is refused."""
    ours, theirs = two_networks()
    one = RMSprop(ours.parameters(), lr=5e-3, decay=0.95, eps=1e-3)
    other = torch.optim.RMSprop(theirs.parameters(), lr=5e-3, alpha=0.95, eps=1e-3)
    steps(ours, theirs, one, other, count=3)
    for state in (one.state_dict(), other.state_dict()):
        again = RMSprop(ours.parameters(), lr=1.0, decay=0.5, eps=1.0)
        again.load_state_dict(state)
        steps(ours, theirs, again, other, count=3)
    centered = torch.optim.RMSprop(theirs.parameters(), centered=True)
    with pytest.raises(DistillError, match="centered"):
        again.load_state_dict(centered.state_dict())
