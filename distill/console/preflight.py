"""Options that each pass alone, and would fail together, or hours later: refused before a run begins."""

import difflib
from pathlib import Path

import lightning as L
from lightning.pytorch.callbacks import BatchSizeFinder, LearningRateFinder
from lightning.pytorch.strategies import DDPStrategy

from distill import protocol
from distill.data import ReplayDataModule
from distill.errors import DistillError
from distill.files.checkpoint import read_checkpoint
from distill.module import PolicyModule
from distill.student import StudentModule

LEAST_STEP_BYTES, ENV_BYTES, EPISODE_BYTES = 200, 1_000_000, 100
"""What a remembered step, an environment and an episode that is scored take, at least."""
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


def check_callbacks(trainer: L.Trainer, model: PolicyModule) -> None:
    """Refuse callbacks that cannot work here: they would fail after an hour, or change nothing.

    Raises:
        ValueError: naming the callback, and what it may watch.
    """
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # Lightning sets it undeclared
    own = type(model).__module__.partition(".")[0] != "distill"
    logged = logged_names(trainer, model)
    for callback in callbacks:
        name = type(callback).__name__
        if isinstance(callback, LearningRateFinder | BatchSizeFinder):
            raise DistillError(
                f"{name} changes nothing here: rate and minibatch are model.learning_rate and data.batch_size"
            )
        watched = getattr(callback, "monitor", None)
        known = any(type(other).__module__.partition(".")[0] not in ("distill", "lightning") for other in callbacks)
        if isinstance(watched, str) and watched not in logged and not own and not known:
            near = difflib.get_close_matches(watched, logged, n=1)
            said = f"did you mean {near[0]}?" if near else f"it logs {', '.join(logged)}"
            raise DistillError(f"{name} watches {watched}, which this run never logs; {said}")


def logged_names(trainer: L.Trainer, model: PolicyModule) -> list[str]:
    """List the metrics that a run logs."""
    found = ["train/loss", "train/agreement" if isinstance(model, StudentModule) else "train/value"]
    for game in model.games:
        found.append(model.metric("play", game, "score"))
        if trainer.limit_val_batches:
            found += [model.metric("val", game, name) for name in ("score", "score_low", "score_high", "episodes")]
    if getattr(model, "score_every_hours", None):
        found += ["best/score", "best/scored"]
    return found


def check_size(data: ReplayDataModule) -> None:
    """Refuse what needs more memory than there is, before anything is played.

    Args:
        data: Whose options are looked at.

    Raises:
        ValueError: saying what the options need, and what there is.
    """
    there = available_bytes()
    observation = protocol.STACKED_FRAMES * protocol.FRAME_SIZE**2
    rows = 2 * data.batch_size * data.block_updates  # a block that is learned, and the one that is drawn
    steps = data.memory_hours * data.hour_steps * len(data.games)
    needed = {
        f"data.batch_size {data.batch_size} times data.block_updates {data.block_updates}": rows * observation,
        f"data.memory_hours {data.memory_hours:g} of {data.hour_steps} steps": steps * LEAST_STEP_BYTES,
        f"data.num_envs {data.num_envs}": data.num_envs * ENV_BYTES,
        f"data.eval_episodes {data.eval_episodes}": data.eval_episodes * EPISODE_BYTES,
    }
    for what, size in needed.items():
        if there is not None and size > there:
            raise DistillError(f"{what} needs {size / 1e9:,.1f} GB of memory; {there / 1e9:,.1f} GB are there")


def available_bytes() -> int | None:
    """Return how much memory is free for this process; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None


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
