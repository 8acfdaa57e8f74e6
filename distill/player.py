"""What teacher and student share: a network for a game, a block of updates, and the score of its own play."""

from collections.abc import Iterable
from typing import Any

import lightning as L
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchmetrics import CatMetric

from distill.atari import num_actions
from distill.evaluation import Episodes, Summary, score_episodes, summarise
from distill.networks import build
from distill.rollout import greedy_in


class Player(L.LightningModule):
    """A network that plays a game and learns in blocks of updates.

    Subclasses say what a block's minibatches are, what the loss of one is, and which optimiser takes the steps.

    Args:
        game: ALE name.
        network: A preset of `distill.networks`.
    """

    def __init__(self, game: str, network: str) -> None:
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.automatic_optimization = False
        self.game = game
        self.network = build(network, num_actions=num_actions(game))
        self.scores = CatMetric()
        self.summary: Summary | None = None
        """Of the last evaluation."""

    def forward(self, observations: UInt8[Tensor, "B 4 84 84"]) -> Float[Tensor, "B A"]:
        """Map observations to one number per legal action."""
        return self.network(observations)

    def loss(self, batch: Any) -> Float[Tensor, " B"]:
        """Return one number per row of a minibatch; override it to learn something else."""
        raise NotImplementedError

    def update(self, minibatches: Iterable[Any]) -> Float[Tensor, ""]:
        """Take one optimiser step on each minibatch; Lightning counts them as `global_step`.

        Args:
            minibatches: Whatever `loss` takes.

        Returns:
            The mean loss.
        """
        optimizer = self.optimizers()
        losses = []
        for batch in minibatches:
            loss = self.loss(batch).mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
            # A `training_step` runs under one autocast context, which would keep the weights it rounded for the block's
            # first minibatch and use them, stale, for the others.
            torch.clear_autocast_cache()
            losses.append(loss.detach())
        return torch.stack(losses).mean()

    def log_block(self, **metrics: Float[Tensor, ""]) -> None:
        """Log what a block brought, at the number of updates taken."""
        for name, value in metrics.items():
            self.log(f"train/{name}", value)
        self.log("step", float(self.global_step))

    def validation_step(self, episodes: Episodes) -> None:
        """Play the episodes and keep their scores."""
        scores = score_episodes(greedy_in(self.network), episodes)
        if len(scores):
            self.scores.update(torch.from_numpy(scores).float())

    def on_validation_epoch_end(self) -> None:
        """Log the mean score of all ranks' episodes, and its interval."""
        self.summary = summary = summarise(self.scores.compute().cpu().numpy())
        self.scores.reset()
        self.log("val/score", summary.mean, sync_dist=True)
        self.log("val/score_low", summary.interval95[0], sync_dist=True)
        self.log("val/score_high", summary.interval95[1], sync_dist=True)
        self.log("val/episodes", float(summary.episodes), sync_dist=True)
        self.log("step", float(self.global_step), sync_dist=True)
