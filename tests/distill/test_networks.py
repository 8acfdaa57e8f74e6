"""The networks against the paper's counts and a network written out by hand."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from distill.networks import DQN, PRESETS, build, count_parameters


def frames(batch: int) -> Tensor:
    draw = torch.Generator().manual_seed(0)
    return torch.randint(256, (batch, 4, 84, 84), generator=draw, dtype=torch.uint8)


def by_hand(network: DQN, pixels: Tensor) -> Tensor:
    """The network of Mnih et al. 2015, on pixels from 0 to 1."""
    weights = network.state_dict()
    x = F.relu(F.conv2d(pixels, weights["conv1.weight"], weights["conv1.bias"], stride=4))
    x = F.relu(F.conv2d(x, weights["conv2.weight"], weights["conv2.bias"], stride=2))
    x = F.relu(F.conv2d(x, weights["conv3.weight"], weights["conv3.bias"], stride=1))
    x = F.relu(x.reshape(len(x), -1) @ weights["fc1.weight"].T + weights["fc1.bias"])
    return x @ weights["out.weight"].T + weights["out.bias"]


@pytest.mark.parametrize(
    ("name", "num_actions", "parameters"),
    [
        ("dqn", 18, 1_693_362),
        ("net1", 18, 427_874),
        ("net2", 18, 113_346),
        ("net3", 18, 61_954),
        ("net3", 6, 61_174),
        ("net4", 18, 16_842),
        ("net5", 18, 4_894),
    ],
)
def test_parameters(name, num_actions, parameters):
    """The presets have the paper's sizes, and those below them the ones that the module says."""
    assert count_parameters(build(name, num_actions=num_actions)) == parameters


def test_unknown_name():
    """An unknown preset is refused with the names that there are."""
    with pytest.raises(ValueError, match=r"'net9'.*dqn, net1, net2, net3, net4, net5"):
        build("net9", num_actions=6)


def test_no_actions():
    """A network without outputs is refused."""
    with pytest.raises(ValueError, match="num_actions is 0"):
        build("net3", num_actions=0)


@pytest.mark.parametrize("name", PRESETS)
def test_forward_is_the_papers_network(name):
    """Strides, paddings, order of layers and pixel scale are those of the network written out by hand."""
    network = build(name, num_actions=5)
    outputs = network(frames(2))
    assert outputs.shape == (2, 5)
    assert outputs.dtype == torch.float32
    torch.testing.assert_close(outputs, by_hand(network, frames(2) / 255), atol=1e-5, rtol=1e-4)


def test_white_is_one():
    """A pixel of 255 counts as 1."""
    network = build("net3", num_actions=3)
    white = torch.full((1, 4, 84, 84), 255, dtype=torch.uint8)
    torch.testing.assert_close(network(white), by_hand(network, torch.ones(1, 4, 84, 84)), atol=1e-5, rtol=1e-4)


def test_mixed_precision():
    """Under autocast the layers compute in bfloat16 but the outputs are float32, and not just rounded ones widened."""
    network = build("net3", num_actions=6)
    inputs = []
    network.fc1.register_forward_pre_hook(lambda layer, args: inputs.append(args[0]))
    with torch.autocast("cpu", torch.bfloat16):
        outputs = network(frames(4))
    assert inputs[0].dtype == torch.bfloat16
    assert outputs.dtype == torch.float32
    assert (outputs != outputs.bfloat16().float()).any()
    torch.testing.assert_close(outputs, network(frames(4)), atol=0.01, rtol=0.05)


def test_widths():
    """A network knows the widths and the number of actions that it was made with."""
    network = DQN((3, 5, 7, 11), 2)
    assert network.widths == (3, 5, 7, 11)
    assert network.num_actions == 2
