"""`TeacherModule`: a DQN that learns from its own play by temporal differences."""

import copy
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distill import checks
from distill.losses import n_step_returns, td_loss
from distill.player import Player
from distill.replay import Block, Transitions, Valued

PART = 512
"""Observations that are valued together: as fast as more, and in less memory."""


class TeacherModule(Player):
    """A teacher: network, target network, Huber loss on temporal differences, optimiser.

    The defaults are Mnih et al. 2015, extended data table 1.

    Departs from Mnih et al.: the game is played in several environments at once, and the updates of a refill
    are taken together; frames are greyed before their maximum is taken and resized by area.

    Args:
        game: ALE name; the network has one output per legal action.
        network: A preset of `distill.networks`.
        discount: Of future rewards, a step; 0 to 1.
        double: Whether the learning network chooses the action whose value the target network gives (van Hasselt et
            al. 2016); not in Mnih et al.
        target_updates: Updates between copies into the target network, 1 or more.
        clip_rewards: Whether rewards are clipped to [-1, 1].
        life_loss_ends: Whether a lost life counts as an episode's end in the targets.
        optimizer: `rmsprop` (centred, both decays 0.95, as in Mnih et al.) or `adam`.
        learning_rate: Above 0.
        optimizer_epsilon: Added to the root of the squared gradients, above 0. Mnih et al. add 0.01 under the root,
            with gradients summed over a minibatch of 32; to the root, and on their mean, that is about 0.1 / 32.
        anneal: Share of the run, at its end, over which the learning rate falls linearly to 0; 0 to 1.
    """

    def __init__(
        self,
        game: str,
        network: str = "dqn",
        discount: float = 0.99,
        double: bool = False,
        target_updates: int = 10_000,
        clip_rewards: bool = True,
        life_loss_ends: bool = True,
        optimizer: Literal["rmsprop", "adam"] = "rmsprop",
        learning_rate: float = 2.5e-4,
        optimizer_epsilon: float = 0.1 / 32,
        anneal: float = 0.0,
    ) -> None:
        super().__init__(game, network)
        self.save_hyperparameters(logger=False)
        checks.between(0, 1, discount=discount, anneal=anneal)
        checks.above_zero(learning_rate=learning_rate, optimizer_epsilon=optimizer_epsilon)
        checks.at_least(1, target_updates=target_updates)
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.discount = discount
        self.double = double
        self.target_updates = target_updates
        self.clip_rewards = clip_rewards
        self.life_loss_ends = life_loss_ends
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.optimizer_epsilon = optimizer_epsilon
        self.anneal = anneal

    def loss(self, batch: Valued) -> Float[Tensor, " B"]:
        """Compare the taken actions' values with their targets; override it in a subclass to change the loss."""
        return td_loss(self(batch.observations), batch.actions, batch.targets)

    def training_step(self, block: Block[Transitions]) -> None:
        """Take a block's updates, all towards the same target network, and log their mean loss."""
        rows = block.rows
        valued = Valued(rows.observations, rows.actions, self.targets(rows))
        before = self.global_step
        loss = self.update(Block(valued, block.batch_size))
        if before // self.target_updates < self.global_step // self.target_updates:
            self.target.load_state_dict(self.network.state_dict())
        if self.anneal:
            self.lr_schedulers().step()
        self.log_block(loss=loss, value=valued.targets.mean())

    @torch.no_grad()
    def targets(self, rows: Transitions) -> Float[Tensor, " B"]:
        """Value what was done: rewards of the steps, then the target network's value of where they led.

        The action there is the greedy one of the target network or, with `double`, of the learning one.
        """
        values = torch.cat([self._value(part) for part in rows.following.split(PART)])
        rewards = rows.rewards.clamp(-1, 1) if self.clip_rewards else rows.rewards
        ended = rows.ended | rows.lost_life if self.life_loss_ends else rows.ended
        return n_step_returns(rewards, ended.float(), values, discount=self.discount)

    def _value(self, observations: UInt8[Tensor, "B 4 84 84"]) -> Float[Tensor, " B"]:
        values = self.target(observations)
        greedy = (self.network(observations) if self.double else values).argmax(1, keepdim=True)
        return values.gather(1, greedy).squeeze(1).float()

    def configure_optimizers(self) -> dict:
        """Return the optimiser, and the schedule that anneals its learning rate."""
        weights = self.network.parameters()
        if self.optimizer == "adam":
            optimizer = torch.optim.Adam(weights, self.learning_rate, eps=self.optimizer_epsilon, fused=True)
        else:
            optimizer = torch.optim.RMSprop(
                weights, self.learning_rate, alpha=0.95, eps=self.optimizer_epsilon, centered=True, foreach=True
            )
        if not self.anneal:
            return {"optimizer": optimizer}
        blocks = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda block: min(1.0, (blocks - block) / (self.anneal * blocks))
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
