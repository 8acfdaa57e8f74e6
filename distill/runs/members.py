"""How far a student agrees with each of several teachers of one game."""

from typing import Any

import lightning as L
import torch

from distill.data import ReplayDataModule
from distill.module import PolicyModule
from distill.networks import evaluating
from distill.replay import Block, Minibatch
from distill.weights.ensembles import Ensemble


def ensembles_of(data: ReplayDataModule) -> dict[str, Ensemble]:
    """Return the games that have several teachers, with these."""
    found = {game: getattr(teacher.network, "scores", None) for game, teacher in data.teachers.items()}
    return {game: of for game, of in found.items() if isinstance(of, Ensemble)}


class MemberAgreement(L.Callback):
    """Logs, by hour, with which share of each teacher's greedy actions the student agrees: `train/agreement_0` ...

    It is asked about each block's first minibatch, before the block is learned; the teachers go by the order in which
    `data.teacher` lists them.

    Args:
        ensembles: By game.
    """

    def __init__(self, ensembles: dict[str, Ensemble]) -> None:
        self.ensembles = ensembles

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Block[Minibatch], batch_idx: int
    ) -> None:
        """Compare the student with the teachers of the minibatch's game."""
        assert isinstance(pl_module, PolicyModule)
        rows = next(iter(batch))
        if rows.game not in self.ensembles:
            return
        with torch.no_grad(), evaluating(pl_module.network):
            chosen = pl_module(rows.observations, rows.game).argmax(dim=1)
            for number, network in enumerate(self.ensembles[rows.game].members):
                agree: Any = network(rows.observations).argmax(dim=1) == chosen
                name = pl_module.metric("train", rows.game, f"agreement_{number}")
                pl_module.log(name, agree.float().mean(), on_step=False, on_epoch=True, batch_size=len(chosen))
