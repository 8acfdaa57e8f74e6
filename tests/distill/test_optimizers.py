"""The fused RMSProp takes PyTorch's steps."""

import torch
from torch.testing import assert_close

from distill.networks import build
from distill.optimizers import RMSprop


def test_it_takes_the_steps_of_rmsprop():
    """From the first step on, weights are those of `torch.optim.RMSprop`, within rounding."""
    torch.manual_seed(0)
    ours, theirs = build("net3", num_actions=6), build("net3", num_actions=6)
    theirs.load_state_dict(ours.state_dict())
    one = RMSprop(ours.parameters(), lr=5e-3, decay=0.95, eps=1e-3)
    other = torch.optim.RMSprop(theirs.parameters(), lr=5e-3, alpha=0.95, eps=1e-3)
    start = ours.conv1.weight.detach().clone()
    for _ in range(20):
        for mine, other_weight in zip(ours.parameters(), theirs.parameters(), strict=True):
            mine.grad = torch.randn_like(mine) * 0.01
            other_weight.grad = mine.grad.clone()
        one.step()
        other.step()
        assert_close(dict(ours.named_parameters()), dict(theirs.named_parameters()), rtol=1e-4, atol=1e-6)
    assert (ours.conv1.weight - start).abs().max() > 0.01
