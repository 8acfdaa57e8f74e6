"""The optimiser of the paper's students, as fast as PyTorch can take its steps."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from distill.errors import DistillError

SETTLED = 1e6
"""Steps after which Adam's bias correction has gone, for any decay up to 0.9999."""


class RMSprop(torch.optim.Adam):
    """RMSProp: the gradient over the root of its running mean square.

    Adam without momentum, and without the correction of its first steps, is RMSProp; and for Adam PyTorch has a fused
    kernel. On two cores a step of the full network takes 0.5 ms instead of 2.0, of 14 that an update takes in all.

    Args:
        params: Weights, or groups of them.
        lr: Learning rate.
        decay: Of the mean square, 0 to 0.9999.
        eps: Added to the root.
    """

    def __init__(
        self, params: Iterable[nn.Parameter] | Iterable[dict[str, Any]], lr: float, decay: float, eps: float
    ) -> None:
        super().__init__(params, lr=lr, betas=(0.0, decay), eps=eps, fused=True)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add weights, whose mean square begins at 0."""
        super().add_param_group(param_group)
        for weight in self.param_groups[-1]["params"]:
            mean_square = torch.zeros_like(weight, memory_format=torch.preserve_format)
            self.state[weight] = _state(weight, mean_square)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state: of one of these, or of a `torch.optim.RMSprop` without momentum that is not centered.

        Raises:
            DistillError: for a `torch.optim.RMSprop` that is centered or has momentum.
        """
        groups = state_dict["param_groups"]
        if all("alpha" in group for group in groups):
            if any(group["centered"] or group["momentum"] for group in groups):
                raise DistillError("the state is of an RMSProp that is centered or has momentum; this one has neither")
            ours = self.state_dict()["param_groups"]
            of_adam = [
                {**own, "lr": group["lr"], "eps": group["eps"], "betas": (0.0, group["alpha"])}
                for own, group in zip(ours, groups, strict=True)
            ]
            state = {key: _state(of["square_avg"], of["square_avg"].clone()) for key, of in state_dict["state"].items()}
            state_dict = {"state": state, "param_groups": of_adam}
        super().load_state_dict(state_dict)


def _state(weight: Tensor, mean_square: Tensor) -> dict[str, Tensor]:
    """Return Adam's state of a weight, long after its first steps."""
    return {
        "step": torch.full((), SETTLED, dtype=torch.float32, device=weight.device),
        "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
        "exp_avg_sq": mean_square,
    }
