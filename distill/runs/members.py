"""How far a student agrees with each of several teachers of one game."""

from typing import Any

import lightning as L
import torch

from distill.data import ReplayDataModule
from distill.module import PolicyModule
from distill.networks import evaluating
from distill.replay import Block, Minibatch
from distill.weights.ensembles import Ensemble


class MemberAgreement(L.Callback):
    """Logs, by hour, with which share of each teacher's greedy actions the student agrees: `train/agreement_0` ...

    It is asked about each block's first minibatch, before the block is learned; the teachers go by the order in which
    `data.teacher` lists them.
    """

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Block[Minibatch], batch_idx: int
    ) -> None:
        """Compare the student with the teachers of the minibatch's game."""
        assert isinstance(pl_module, PolicyModule)
        rows = next(iter(batch))
        teacher = ReplayDataModule.of(trainer).teachers.get(rows.game)
        ensemble = getattr(teacher and teacher.network, "scores", None)
        if not isinstance(ensemble, Ensemble):
            return
        with torch.no_grad(), evaluating(pl_module.network):
            chosen = pl_module(rows.observations, rows.game).argmax(dim=1)
            for number, network in enumerate(ensemble.members):
                agree: Any = network(rows.observations).argmax(dim=1) == chosen
                name = pl_module.metric("train", rows.game, f"agreement_{number}")
                pl_module.log(name, agree.float().mean(), on_step=False, on_epoch=True, batch_size=len(chosen))
