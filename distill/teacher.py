"""`TeacherModule`: a DQN that learns from its own play by temporal differences."""

import copy
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from distill import checks
from distill.errors import DistillError
from distill.losses import n_step_returns, td_loss
from distill.module import PolicyModule
from distill.networks import evaluating
from distill.replay import Block, TDBatch, Transitions
from distill.summary import summarise
from distill.weights.best import BestNetworks, rounded, summary_header
from distill.weights.callables import CallableNetwork

PART = 512
"""Observations that are valued together: as fast as more, and in less memory."""


class TeacherModule(PolicyModule):
    """A teacher: network, target network, Huber loss on temporal differences, optimiser.

    The defaults are Mnih et al. 2015, extended data table 1.

    Departs from Mnih et al.: the game is played in several environments at once, and the updates of a refill
    are taken together; frames are greyed before their maximum is taken and resized by area.

    Args:
        game: ALE name, or several; the network has one output per legal action.
        network: A preset of `distill.networks`.
        discount: Of future rewards, a step; 0 to 1.
        double: Whether the learning network chooses the action whose value the target network gives (van Hasselt et
            al. 2016); not in Mnih et al.
        target_updates: Updates between copies into the target network, 1 or more.
        clip_rewards: Whether rewards are clipped to [-1, 1].
        life_loss_ends: Whether a lost life counts as an episode's end in the targets.
        optimizer: `rmsprop` (centred, both decays 0.95, as in Mnih et al.) or `adam`.
        learning_rate: Above 0; or `(hour, value)` points, linear between.
        score_every_hours: Score this network after every so many simulated hours, and at the beginning, and keep each
            that beats the best so far in the run's folder, for students on the same clock; 1 or more. None keeps none.
        optimizer_epsilon: Added to the root of the squared gradients, above 0. Mnih et al. add 0.01 under the root,
            with gradients summed over a minibatch of 32; to the root, and on their mean, that is about 0.1 / 32.
        pretrained: A weight file or checkpoint that the network begins with, of one like it and for the same games; or
            the name of a shipped teacher, or `hf:owner/name`. None means random weights.
        cuda_graphs: Whether a GPU records its updates and replays them, instead of asking for each kernel; by a fused
            optimiser. A loss or network of your own is recorded with whatever numbers it takes from Python then; None
            means that only those of this project are.
    """

    def __init__(
        self,
        game: str | list[str],
        network: str = "dqn",
        discount: float = 0.99,
        double: bool = False,
        target_updates: int = 10_000,
        clip_rewards: bool = True,
        life_loss_ends: bool = True,
        optimizer: Literal["rmsprop", "adam"] = "rmsprop",
        learning_rate: float | list[tuple[float, float]] = 2.5e-4,
        optimizer_epsilon: float = 0.1 / 32,
        score_every_hours: int | None = None,
        pretrained: str | None = None,
        cuda_graphs: bool | None = None,
    ) -> None:
        super().__init__(game, network, learning_rate, pretrained, cuda_graphs)
        self.save_hyperparameters(logger=False)
        checks.between(0, 1, discount=discount)
        checks.above_zero(optimizer_epsilon=optimizer_epsilon)
        hours = 1 if score_every_hours is None else score_every_hours
        checks.at_least(1, target_updates=target_updates, score_every_hours=hours)
        if score_every_hours is not None and len(self.games) > 1:
            raise DistillError(f"score_every_hours is {score_every_hours}; of {len(self.games)} games it must be null")
        if score_every_hours is not None and isinstance(self.network, CallableNetwork):
            raise DistillError("score_every_hours keeps networks for students to read, and cannot keep one of your own")
        self.target = copy.deepcopy(self.network).requires_grad_(False)
        self.discount = discount
        self.double_q = double
        """Not `double`, which is a module's method: it turns weights to float64."""
        self.target_updates = target_updates
        self.clip_rewards = clip_rewards
        self.life_loss_ends = life_loss_ends
        self.optimizer = optimizer
        self.optimizer_epsilon = optimizer_epsilon
        self.score_every_hours = score_every_hours
        self.best: BestNetworks | None = None
        """The best networks so far, where they are kept."""

    def check_teachers(self, kinds: dict[str, str]) -> None:
        """Refuse to learn from another's play."""
        if kinds:
            raise DistillError(f"{type(self).__name__} learns from its own play; data.teacher must be null")

    def loss(self, batch: TDBatch) -> Float[Tensor, " B"]:
        """Compare the taken actions' values with their targets; override it in a subclass to change the loss."""
        return td_loss(self(batch.observations, batch.game), batch.actions, batch.targets)

    def training_step(self, block: Block[Transitions]) -> None:
        """Take a block's updates, all towards the same target network, and log their mean loss."""
        valued = {
            game: TDBatch(rows.observations, rows.actions, self.targets(rows), game=game)
            for game, rows in block.rows.items()
        }
        before = self.global_step
        loss = self.update(Block(valued, block.games, block.batch_size))
        if before // self.target_updates < self.global_step // self.target_updates:
            self.target.load_state_dict(self.network.state_dict())
        self.log_block(loss=loss, value=torch.cat([rows.targets for rows in valued.values()]).mean())

    def on_train_start(self) -> None:
        """Score the network that the run begins with, where the best are kept."""
        super().on_train_start()
        if self.score_every_hours is None or not self.trainer.is_global_zero:
            return
        self.best = BestNetworks(Path(self.trainer.default_root_dir), self.games[0], self.trainer.global_step)
        self.best.begin()
        if self.best.is_new(0):
            self._score(0, self.best)

    def on_train_epoch_end(self) -> None:
        """Score the network if that is due, and say how far it has learned."""
        super().on_train_epoch_end()
        hours = self.trainer.current_epoch + 1
        if self.best is None or self.score_every_hours is None:
            return
        if hours % self.score_every_hours == 0 and self.best.is_new(hours):
            self.log("best/scored", self._score(hours, self.best), rank_zero_only=True)
            self.log("best/score", self.best.index.entries[-1].score, rank_zero_only=True)
        self.best.advance(hours)
        if hours == self.trainer.max_epochs:  # not only below: a run that goes on from this hour's end begins nothing
            self.best.end()

    def on_train_end(self) -> None:
        """Note in the index that this network learns no more, whatever ended the run."""
        if self.best is not None:
            self.best.end()

    def teardown(self, stage: str) -> None:
        """Let others write where the best are kept."""
        if self.best is not None:
            self.best.close()

    def _score(self, hours: int, best: BestNetworks) -> float:
        (game,) = self.games
        network = rounded(self.network.for_game(game))
        episodes = self.trainer.datamodule.eval_config(game)  # type: ignore[attr-defined]  # Lightning sets it undeclared
        summary = summarise(episodes.score(network, self.telling()))
        best.scored(hours, summary.mean, network, summary_header(game, hours, summary))
        return summary.mean

    @torch.no_grad()
    def targets(self, rows: Transitions) -> Float[Tensor, " B"]:
        """Return n-step targets: the discounted rewards of the steps, then the target network's value of what followed.

        The action there is the greedy one of the target network or, with `double`, of the learning one.
        """
        with evaluating(self.network), evaluating(self.target):
            values = torch.cat([self._value(part, rows.game) for part in rows.next_observations.split(PART)])
        rewards = rows.rewards.clamp(-1, 1) if self.clip_rewards else rows.rewards
        ended = rows.ended | rows.lost_life if self.life_loss_ends else rows.ended
        return n_step_returns(rewards, ended.float(), values, discount=self.discount)

    def _value(self, observations: UInt8[Tensor, "B 4 84 84"], game: str) -> Float[Tensor, " B"]:
        values = self.target(observations, game)
        greedy = (self.network(observations, game) if self.double_q else values).argmax(1, keepdim=True)
        return values.gather(1, greedy).squeeze(1).float()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimiser."""
        weights, rate = self.network.parameters(), self.learning_rate.at(0)
        if self.optimizer == "adam":
            return torch.optim.Adam(weights, rate, eps=self.optimizer_epsilon, fused=True)
        return torch.optim.RMSprop(weights, rate, alpha=0.95, eps=self.optimizer_epsilon, centered=True, foreach=True)
