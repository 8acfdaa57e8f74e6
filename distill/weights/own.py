"""Networks of a user's own class: a run's config names the class, its checkpoint has the weights."""

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

from distill.errors import DistillError
from distill.files.checkpoint import newest, read_checkpoint
from distill.weights.callables import CallableNetwork, Teacher
from distill.weights.digests import identity

NETWORK_OF_ITS_OWN = "network.scores."
"""How the names of a checkpoint's tensors begin that belong to such a network."""


def load_own_class(source: str) -> Teacher | None:
    """Load the network of a run whose module makes one of its own (`make_network`); None for any other source.

    The class is imported from the working directory, as `fit` does, and made with the options of the run's config.

    Args:
        source: A run's folder, or a file in it.

    Raises:
        ValueError: where the class is not here, or is not what the run has learned.
    """
    run = _run_of(Path(source))
    if run is None:
        return None
    try:
        config = yaml.safe_load((run / "config.yaml").read_text())
        class_path, options = config["model"]["class_path"], config["model"]["init_args"]
        game = config["data"]["init_args"]["game"]
    except (OSError, yaml.YAMLError, TypeError, LookupError):
        return None
    path, _ = newest(run / "checkpoints")
    if class_path.partition(".")[0] == "distill" or path is None or not isinstance(game, str):
        return None
    checkpoint = read_checkpoint(path)
    if not any(name.startswith(NETWORK_OF_ITS_OWN) for name in checkpoint.get("state_dict", {})):
        return None
    model = _instance(class_path, {**options, "game": game, "pretrained": None}, run)
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise DistillError(f"{class_path} here is not the one that {run} has learned with: {_first(error)}") from error
    scores = model.network.scores
    network = CallableNetwork(scores, game, model.network.num_actions, digest=identity(scores))
    return Teacher(source, network, path, checkpoint.get("kind", "values"))


def _run_of(source: Path) -> Path | None:
    places = [source] if source.is_dir() else [source.parent, source.parent.parent]
    return next((place for place in places if (place / "config.yaml").is_file()), None)


def _instance(class_path: str, options: dict[str, Any], run: Path) -> Any:
    module, _, name = class_path.rpartition(".")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)(**options)
    except (ImportError, AttributeError) as error:
        raise DistillError(f"{run} has a network of {class_path}, which is not here: {_first(error)}") from error


def _first(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
