"""The networks: the DQN of Mnih et al. 2015, the paper's smaller students, and its networks for several games.

Parameters with 18 actions: `dqn` 1,693,362, `net1` 427,874, `net2` 113,346, `net3` 61,954 (Rusu et al. 2016,
table A1); two below the paper's, to find where a policy breaks, `net4` 16,842 (1%) and `net5` 4,894 (0.3%). For several
games, with 12 actions in all, `multi3` 1,882,668; with 85, `multi10` 6,756,721 (appendix A). Each game has one output
per legal action of that game.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from distill import checks
from distill.errors import DistillError

Widths = tuple[int, int, int, int]
"""Channels of the 8x8/4, the 4x4/2 and the 3x3/1 convolution, then units of the hidden layer."""

PRESETS: dict[str, Widths] = {
    "dqn": (32, 64, 64, 512),
    "net1": (16, 32, 32, 256),
    "net2": (16, 16, 16, 128),
    "net3": (16, 16, 16, 64),
    "net4": (8, 8, 8, 32),
    "net5": (4, 4, 4, 16),
}
"""For one game."""
TRUNKS: dict[str, Widths] = {"multi3": (32, 64, 64, 512), "multi10": (64, 64, 64, 1500)}
"""For any number of games: what they share. Each has a hidden layer and outputs of its own after it."""
CONTROLLER = 128
"""Units of that layer."""
SHARED = ("conv1", "conv2", "conv3", "fc1")
"""The layers that several games have in common."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": torch.relu, "tanh": torch.tanh}


class DQN(nn.Module):
    """Three convolutions, one hidden layer, one linear output per action; ReLU between.

    Weights start as He et al. 2015 say, biases at 0.

    Args:
        widths: Of convolutions and hidden layer.
        num_actions: Outputs.
        controller: Units of a second hidden layer; None means that there is none.
        atoms: Of a distributional network (Bellemare et al. 2017), the returns whose probabilities it gives: there is
            an output for each atom of each action, and an action's score is its mean return. None means that the
            outputs are the scores.
        more: Units of further hidden layers, as other libraries' networks may have.
        activation: Between those, one of `ACTIVATIONS`.
    """

    atoms: Tensor | None

    def __init__(
        self,
        widths: Widths,
        num_actions: int,
        controller: int | None = None,
        atoms: Float[Tensor, " Z"] | None = None,
        more: Sequence[int] = (),
        activation: str = "relu",
    ) -> None:
        super().__init__()
        checks.one_of(ACTIVATIONS, activation=activation)
        first, second, third, hidden = widths
        self.conv1 = nn.Conv2d(4, first, kernel_size=8, stride=4)
        self.conv2 = nn.Conv2d(first, second, kernel_size=4, stride=2)
        self.conv3 = nn.Conv2d(second, third, kernel_size=3, stride=1)
        self.fc1 = nn.Linear(third * 7 * 7, hidden)
        self.controller = nn.Linear(hidden, controller) if controller else None
        inputs = [controller or hidden, *more]
        self.more = nn.ModuleList(nn.Linear(*sides) for sides in itertools.pairwise(inputs))
        self.more_widths = tuple(more)
        self.activation = activation
        self.out = nn.Linear(inputs[-1], num_actions * (1 if atoms is None else len(atoms)))
        self.register_buffer("atoms", atoms)
        for layer in (*(one for one in self.children() if one is not self.more), *self.more):
            # With PyTorch's own start, 2.4 times narrower, `net3` learned nothing from Pong in its first 4,000 updates
            # under any of seven optimiser settings: a ball and two paddles are a few pixels of 7,056.
            assert isinstance(layer, nn.Conv2d | nn.Linear)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    @property
    def num_actions(self) -> int:
        """Return the number of actions."""
        return self.out.out_features // (1 if self.atoms is None else len(self.atoms))

    @property
    def widths(self) -> Widths:
        """Return the constructor's `widths`."""
        return self.conv1.out_channels, self.conv2.out_channels, self.conv3.out_channels, self.fc1.out_features

    def with_actions(self, num_actions: int) -> "DQN":
        """Make a network of this one's layers, with fresh weights, for another number of actions."""
        controller = self.controller.out_features if self.controller is not None else None
        return DQN(self.widths, num_actions, controller, self.atoms, self.more_widths, self.activation)

    @property
    def shape(self) -> str:
        """Describe the network's shape."""
        widths = [*self.widths, *([] if self.controller is None else [self.controller.out_features]), *self.more_widths]
        said = f"layers of {', '.join(map(str, widths))} and {self.num_actions} actions"
        return said if self.atoms is None else f"{said} of {len(self.atoms)} atoms"

    def for_game(self, game: str) -> "DQN":
        """Return the network that plays a game: this one."""
        return self

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"], game: str = "") -> Float[Tensor, "B A"]:
        """Map stacks of four grey frames, oldest first, 0 to 255, to one number per action."""
        device = observations.device.type
        dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else self.out.weight.dtype
        # Measured on two cores of a Zen 4: channels last takes a quarter off a float32 update and adds a tenth to a
        # bfloat16 one; dividing the weights instead of the pixels takes 40% off a bfloat16 forward pass.
        last = dtype == torch.float32 and device == "cpu"
        x = (_channels_last(observations) if last else observations.contiguous()).to(dtype)
        x = F.relu(_convolve(x, self.conv1, self.conv1.weight / 255))
        x = F.relu(_convolve(x, self.conv2, self.conv2.weight))
        x = F.relu(_convolve(x, self.conv3, self.conv3.weight))
        x = F.relu(self.fc1(x.flatten(start_dim=1)))
        if self.controller is not None:
            x = F.relu(self.controller(x))
        for module in self.more:
            x = ACTIVATIONS[self.activation](module(x))
        # Under mixed precision too the outputs are float32: bfloat16 rounds a value of 1 to steps of 0.008, and what
        # tells actions apart is often less.
        with torch.autocast(device, enabled=False):
            outputs = self.out(x.to(self.out.weight.dtype))
            if self.atoms is None:
                return outputs
            return outputs.unflatten(1, (-1, len(self.atoms))).softmax(dim=2) @ self.atoms


def _channels_last(observations: UInt8[Tensor, "B 4 84 84"]) -> UInt8[Tensor, "B 4 84 84"]:
    """Rearrange bytes, frame by frame: in half the time of PyTorch's own way, 0.5 ms of an update's 8 for `net3`."""
    rearranged = torch.empty_like(observations, memory_format=torch.channels_last)
    for frame in range(observations.shape[1]):
        rearranged[:, frame] = observations[:, frame]
    return rearranged


def _convolve(x: Float[Tensor, "B I H W"], layer: nn.Conv2d, weight: Tensor) -> Float[Tensor, "B O Y X"]:
    """Convolve, on a GPU by a matrix product over patches.

    cuDNN's kernels are not made for so few channels: on an H100 an update of 32 takes them 590 microseconds for `net3`
    and 820 for `dqn`, in float32, if they are to give the same bits again (290 and 510 if not); this takes 290 and 400.
    """
    side, stride = weight.shape[-1], layer.stride[0]
    if x.device.type != "cuda":
        return F.conv2d(x, weight, layer.bias, layer.stride)
    patches = x.permute(0, 2, 3, 1).unfold(1, side, stride).unfold(2, side, stride).flatten(start_dim=3)
    return F.linear(patches, weight.flatten(start_dim=1), layer.bias).permute(0, 3, 1, 2)


class MultiDQN(nn.Module):
    """A network for several games: one `DQN` for each, all with the same convolutions and first hidden layer.

    Args:
        widths: Of what they share.
        num_actions: Outputs of each game; one game or more.
    """

    def __init__(self, widths: Widths, num_actions: dict[str, int]) -> None:
        super().__init__()
        self.games = nn.ModuleDict({game: DQN(widths, actions, CONTROLLER) for game, actions in num_actions.items()})
        shared, *others = self.games.values()
        for other in others:
            for name in SHARED:
                setattr(other, name, getattr(shared, name))

    @property
    def num_actions(self) -> dict[str, int]:
        """Return the number of actions of each game."""
        return {game: self.for_game(game).num_actions for game in self.games}

    @property
    def widths(self) -> Widths:
        """Return the constructor's `widths`."""
        return self.for_game(next(iter(self.games))).widths

    def for_game(self, game: str) -> DQN:
        """Return the network that plays a game; its weights are this one's.

        Raises:
            ValueError: for a game that the network does not play.
        """
        checks.one_of(self.games, game=game)
        network = self.games[game]
        assert isinstance(network, DQN)  # which a ModuleDict does not know
        return network

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"], game: str) -> Float[Tensor, "B A"]:
        """Map one game's observations, as those of `DQN`, to one number per action of that game."""
        return self.for_game(game)(observations)


Network = DQN | MultiDQN


def build(name: str, *, num_actions: int | dict[str, int]) -> Network:
    """Build a preset with fresh weights.

    Args:
        name: `dqn`, or `net1` to `net5` for one game; `multi3` or `multi10` for any number.
        num_actions: Outputs, 1 or more: a number for one game, a number for each game by name for several.

    Raises:
        ValueError: for a name that is no preset, a preset for one game where there are several, or no actions.
    """
    checks.one_of([*PRESETS, *TRUNKS], network=name)
    if isinstance(num_actions, int):
        checks.at_least(1, num_actions=num_actions)
        if name in TRUNKS:
            raise DistillError(f"network {name!r} has a head a game; give num_actions by game")
        return DQN(PRESETS[name], num_actions)
    if not num_actions:
        raise DistillError("there is no game to build a network for; give one or more")
    for game, actions in num_actions.items():
        checks.at_least(1, **{f"num_actions of {game}": actions})
    if name in PRESETS:
        raise DistillError(
            f"network {name!r} plays one game, not {', '.join(num_actions)}; choose one of {', '.join(TRUNKS)}"
        )
    return MultiDQN(TRUNKS[name], num_actions)


def count_parameters(network: nn.Module) -> int:
    """Count weights and biases."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Have a network, which may be learning, answer as in evaluation: without dropout, say."""
    learning = [module for module in network.modules() if module.training]
    for module in learning:
        module.training = False
    try:
        yield
    finally:
        for module in learning:
            module.training = True
