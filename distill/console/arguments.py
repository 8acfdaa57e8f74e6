"""What a command line names, before it is parsed: configs, and runs whose configs it takes."""

import shlex
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from distill.console.configs import values_of
from distill.errors import DistillError
from distill.runs.config import repair_config
from distill.runs.folder import CONFIG, last_checkpoint


def with_config_of_checkpoint(args: list[str]) -> list[str]:
    """Add the config of the run to `validate --ckpt_path RUN/checkpoints/X.ckpt`, before what else is given."""
    if args[:1] != ["validate"]:
        return args
    if values_of(args, "--resume"):
        raise DistillError("resume is for fit; validate takes --ckpt_path")
    for checkpoint in values_of(args, "--ckpt_path"):
        path = Path(checkpoint)
        if path.is_dir():  # a run's folder
            newest = last_checkpoint(path)
            if newest is None:
                raise DistillError(f"{path} holds no checkpoint; give a run's folder, or RUN/checkpoints/last.ckpt")
            args = [newest if arg == checkpoint else arg.replace(f"={checkpoint}", f"={newest}") for arg in args]
            path = Path(newest)
        if not path.is_file():
            raise DistillError(f"ckpt_path {path} does not exist")
        config = path.parent.parent / CONFIG
        if config.is_file():
            return ["validate", "--config", str(config), *args[1:]]
        if not values_of(args, "--config"):
            if zipfile.is_zipfile(path):
                raise DistillError(f"{path} lies in no run's folder, whose config says how to score it; give --config")
            raise DistillError(f"{path} is no checkpoint; evaluate {shlex.quote(str(path))} scores a weight file")
    return args


def with_config_of_run(args: list[str]) -> list[str]:
    """Add the config of the run to `fit --resume RUN`, before what else is on the command line."""
    if args[:1] != ["fit"]:
        return args
    for run in values_of(args, "--resume"):
        repair_config(Path(run))
        config = Path(run) / CONFIG
        if not config.is_file():
            raise DistillError(f"{run} holds no {CONFIG}, so there is no run to resume; give the folder of a run")
        if values_of(args, "--ckpt_path") or any(Path(one) != Path(run) for one in values_of(args, "--run_dir")):
            raise DistillError(f"resume goes on in {run}, from its last checkpoint; leave run_dir and ckpt_path out")
        return ["fit", "--config", str(config), *args[1:]]
    return args


def names_of(game: str | Mapping[str, Any] | None) -> str | list[str]:
    """Return what the model needs of the data module's `game`: a name, or several without their teachers."""
    if game is None:
        raise DistillError(
            "data.game is missing; give a complete config first, such as --config compress, and then what changes it"
        )
    return game if isinstance(game, str) else list(game)
