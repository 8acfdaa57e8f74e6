"""Options that each pass alone, and would fail together, or hours later: refused before a run begins."""

from pathlib import Path

import lightning as L
from lightning.pytorch.strategies import DDPStrategy

from distill.data import ReplayDataModule
from distill.errors import DistillError
from distill.files.checkpoint import read_checkpoint
from distill.module import PolicyModule

MUST_AGREE = ("game", "network", "optimizer")
"""Options of a module without which its checkpoint is of another one."""


def check_trainer(trainer: L.Trainer, model: PolicyModule, data: ReplayDataModule) -> None:
    """Refuse a Trainer with which blocks of updates, their games or their scores would not be what they are.

    Raises:
        ValueError: naming the option, and what it must be.
    """
    games, scored, clipped = len(model.games), trainer.limit_val_batches, trainer.gradient_clip_val
    if scored != 0 and scored < (games if isinstance(scored, int) else 1.0):
        raise DistillError(f"trainer.limit_val_batches is {scored}; it must be 1.0, all games, or 0, none")
    if (every := trainer.check_val_every_n_epoch) is not None and every < 1:
        raise DistillError(
            f"trainer.check_val_every_n_epoch is {every}; it must be 1 or more, and limit_val_batches 0 scores never"
        )
    if clipped:
        raise DistillError(
            f"trainer.gradient_clip_val is {clipped}; it must be null: clip in a module's on_before_optimizer_step"
        )
    if trainer.accumulate_grad_batches != 1:
        raise DistillError(
            f"trainer.accumulate_grad_batches is {trainer.accumulate_grad_batches}; it must be 1: data.batch_size says "
            "how many states an update takes"
        )
    if trainer.world_size > 1 and data.interleave == "episode":
        raise DistillError(
            "data.interleave is episode, which depends on what each process has played; with "
            f"{trainer.world_size} processes it must be minibatch"
        )
    strategy = trainer.strategy
    if games > 1 and isinstance(strategy, DDPStrategy) and not strategy._ddp_kwargs.get("find_unused_parameters"):
        raise DistillError(
            f"trainer.strategy is ddp; with {games} games, of which a minibatch moves but one's layers, it must be "
            "ddp_find_unused_parameters_true"
        )


def check_checkpoint(path: Path, model: PolicyModule) -> None:
    """Refuse a checkpoint of another network or optimiser, which PyTorch would refuse in a hundred lines.

    Raises:
        ValueError: saying what it is of, and what it must be of.
    """
    checkpoint = read_checkpoint(path)
    theirs, ours = checkpoint.get("hyper_parameters", {}), model.hparams
    for name in MUST_AGREE:
        if name in theirs and name in ours and theirs[name] != ours[name]:
            raise DistillError(f"{path} is of {name} {theirs[name]}; here it is {ours[name]}")
    weights = {name: tuple(of.shape) for name, of in model.state_dict().items()}
    if weights != {name: tuple(of.shape) for name, of in checkpoint.get("state_dict", {}).items()}:
        raise DistillError(f"{path} is of another network")
