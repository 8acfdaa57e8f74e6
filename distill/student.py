"""`StudentModule`: a network that learns from what the teacher saw and thought."""

from collections import deque
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from distill import checks, protocol
from distill.errors import DistillError
from distill.losses import (
    DIVERGENCES,
    gap_loss,
    jsd_loss,
    kind_taught_by,
    kl_loss,
    mse_loss,
    nll_loss,
    reverse_kl_loss,
)
from distill.module import PolicyModule
from distill.networks import evaluating
from distill.optimizers import RMSprop
from distill.replay import Block, Minibatch

LOSSES = ("nll", "mse", *DIVERGENCES, "gap")
AGREEMENT_BLOCKS = 50
"""Blocks over which the agreement with the teacher is averaged."""


class StudentModule(PolicyModule):
    """A student: network, loss and RMSProp (Rusu et al. 2016).

    To try another loss, subclass and override `loss`; `--model my_file.MyStudent` then finds the class in a file of
    the working directory. Where that loss makes values of the outputs, set `kind` to `values`.

    Departs from the paper: it does not print minibatch size, learning rate, decay and epsilon; those of the data
    module and the ones below are ours.

    Args:
        game: ALE name, or several; the network has one output per legal action.
        network: `dqn`, one of the paper's smaller students `net1`, `net2`, `net3`, or the still smaller `net4`, `net5`;
            for several games `multi3`, whose trunk is that of `dqn`, or `multi10`.
        loss_name: `kl` (the paper's choice), `reverse_kl`, `jsd`, `nll`, `mse`, or `gap` (NLL weighted by the teacher's
            action gap); see `distill.losses`.
        temperature: Divides the teacher's values in `kl`, `reverse_kl` and `jsd`, and their gap in `gap`; above 0, the
            paper's is 0.01. Of a teacher that is a policy (PPO, A2C) it must be 1.
        jsd_beta: Of `jsd` alone, 0 to 1: the teacher's share of the mixture with which both policies are compared. 0 is
            `kl`, 1 is `reverse_kl`. None means 0.5.
        learning_rate: Of RMSProp; above 0, or `(hour, value)` points, linear between. The paper says 1e-4 to 1e-3.
        decay: Of RMSProp's mean square; 0 to 0.9999.
        rms_epsilon: Added to RMSProp's root; above 0.
        pretrained: A weight file or checkpoint that the network begins with, of one like it and for the same games; or
            the name of a shipped teacher, or `hf:owner/name`. None means random weights.
        cuda_graphs: Whether a GPU records its updates and replays them, instead of asking for each kernel; by a fused
            optimiser. A loss or network of your own is recorded with whatever numbers it takes from Python then; None
            means that only those of this project are.
    """

    def __init__(
        self,
        game: str | list[str],
        network: str = "net3",
        loss_name: str = "kl",
        temperature: float = protocol.TEMPERATURE,
        jsd_beta: float | None = None,
        learning_rate: float | list[tuple[float, float]] = 5e-4,
        decay: float = 0.95,
        rms_epsilon: float = 1e-3,
        pretrained: str | None = None,
        cuda_graphs: bool | None = None,
    ) -> None:
        super().__init__(game, network, learning_rate, pretrained, cuda_graphs)
        self.save_hyperparameters(logger=False)
        checks.one_of(LOSSES, loss_name=loss_name)
        checks.above_zero(" (the paper's is 0.01)", temperature=temperature)
        if jsd_beta is not None and loss_name != "jsd":
            raise DistillError(f"jsd_beta is {jsd_beta}, but loss_name is {loss_name}; it is for jsd, else null")
        self.jsd_beta = 0.5 if jsd_beta is None else jsd_beta
        checks.between(0, 1, jsd_beta=self.jsd_beta)
        checks.above_zero(rms_epsilon=rms_epsilon)
        checks.between(0, 0.9999, decay=decay)
        self.loss_name = loss_name
        self.kind = kind_taught_by(loss_name)
        self.temperature = temperature
        self.decay = decay
        self.rms_epsilon = rms_epsilon
        self._agreements: deque[Tensor] = deque(maxlen=AGREEMENT_BLOCKS)
        self._agreed_before: list[float] = []

    def loss(self, batch: Minibatch) -> Float[Tensor, " B"]:
        """Compare the student's outputs with the labels; override it in a subclass to add a loss."""
        outputs = self(batch.observations, batch.game)
        if self.loss_name == "nll":
            return nll_loss(outputs, batch.labels)
        if self.loss_name == "mse":
            return mse_loss(outputs, batch.labels)
        if self.loss_name == "gap":
            return gap_loss(outputs, batch.labels, temperature=self.temperature)
        if self.loss_name == "reverse_kl":
            return reverse_kl_loss(outputs, batch.labels, temperature=self.temperature)
        if self.loss_name == "jsd":
            return jsd_loss(outputs, batch.labels, beta=self.jsd_beta, temperature=self.temperature)
        return kl_loss(outputs, batch.labels, temperature=self.temperature)

    def check_teachers(self, kinds: dict[str, str]) -> None:
        """Refuse to learn without a teacher, and losses that take a policy's logits for values."""
        if not kinds:
            raise DistillError(f"data.teacher is missing, from whom {type(self).__name__} learns; give one")
        if type(self).loss is not StudentModule.loss:
            return  # whoever wrote another knows what it takes
        policies = [game for game, kind in kinds.items() if kind == "policy"]
        fits = self.loss_name == "nll" or (self.loss_name in DIVERGENCES and self.temperature == 1)
        if policies and not fits:
            raise DistillError(
                f"the teacher of {', '.join(policies)} is a policy, whose outputs are logits, not values; loss_name "
                f"must be kl, reverse_kl or jsd with temperature 1.0, or nll; they are {self.loss_name} and "
                f"{self.temperature:g}"
            )

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep how far the last blocks agreed."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["agreements"] = [float(share) for share in self._agreements]

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Load how far they agreed."""
        super().on_load_checkpoint(checkpoint)
        self._agreed_before = checkpoint.get("agreements", [])

    def on_fit_start(self) -> None:
        """Begin with how far the blocks before the checkpoint agreed; another run's do not count."""
        self._agreements.clear()
        self._agreements.extend(torch.tensor(share, device=self.device) for share in self._agreed_before)
        self._agreed_before = []

    def training_step(self, block: Block[Minibatch]) -> None:
        """Take a block's updates; log their mean loss, and the agreement on the block's first minibatch before them."""
        batch = next(iter(block))
        with torch.no_grad(), evaluating(self.network):
            agree = self(batch.observations, batch.game).argmax(1) == batch.labels.argmax(1)
        self._agreements.append(agree.float().mean())
        self.log_block(loss=self.update(block), agreement=torch.stack(list(self._agreements)).mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return RMSProp."""
        return RMSprop(self.parameters(), lr=self.learning_rate.at(0), decay=self.decay, eps=self.rms_epsilon)
