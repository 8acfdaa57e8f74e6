"""The optimiser of the paper's students, as fast as PyTorch can take its steps."""

from collections.abc import Iterable

import torch
from torch import nn

SETTLED = 1e6
"""Steps after which Adam's bias correction has gone, for any decay up to 0.9999."""


class RMSprop(torch.optim.Adam):
    """RMSProp: the gradient over the root of its running mean square.

    Adam without momentum, and without the correction of its first steps, is RMSProp; and for Adam PyTorch has a fused
    kernel. On two cores a step of the full network takes 0.5 ms instead of 2.0, of 14 that an update takes in all.

    Args:
        params: Weights.
        lr: Learning rate.
        decay: Of the mean square, 0 to 0.9999.
        eps: Added to the root.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, decay: float, eps: float) -> None:
        super().__init__(params, lr=lr, betas=(0.0, decay), eps=eps, fused=True)
        for weight in (weight for group in self.param_groups for weight in group["params"]):
            self.state[weight] = {
                "step": torch.full((), SETTLED, dtype=torch.float32, device=weight.device),
                "exp_avg": torch.zeros_like(weight, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(weight, memory_format=torch.preserve_format),
            }
