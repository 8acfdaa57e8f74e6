"""Networks of a user's own class: a run's config names the class, its checkpoint has the weights."""

import importlib
import sys
from pathlib import Path
from typing import Any

import yaml

from distill.atari.cartridge import game_name
from distill.errors import DistillError
from distill.files.checkpoint import newest, read_checkpoint
from distill.weights.callables import CallableNetwork
from distill.weights.digests import identity
from distill.weights.files import said_of, shipped

NETWORK_OF_ITS_OWN = "network.scores."
"""How the names of a checkpoint's tensors begin that belong to such a network."""


def load_own_class(source: str, game: str | None = None) -> tuple[CallableNetwork, dict[str, Any]] | None:
    """Load the network of a run whose module makes one of its own (`make_network`); None for any other source.

    The class is imported from the working directory, as `fit` does, and made with the options in the checkpoint. Beside
    the network is what a weight file's header would say of it.

    Args:
        source: A run's folder, or a file in it.
        game: Which it must play; None means whichever it does.

    Raises:
        ValueError: where the class is not here, is not what the run has learned, or plays another game.
    """
    run = _run_of(Path(source))
    if run is None or source in shipped():
        return None
    try:
        class_path = yaml.safe_load((run / "config.yaml").read_text())["model"]["class_path"]
    except (OSError, yaml.YAMLError, TypeError, LookupError):
        return None
    if class_path.partition(".")[0] == "distill":
        return None
    path, _ = newest(run / "checkpoints")
    checkpoint = {} if path is None else read_checkpoint(path)
    if not any(name.startswith(NETWORK_OF_ITS_OWN) for name in checkpoint.get("state_dict", {})):
        return None
    options = {name: of for name, of in checkpoint["hyper_parameters"].items() if not name.startswith("_")}
    if isinstance(points := options.get("learning_rate"), list):  # pairs, of which the command line makes lists
        options["learning_rate"] = [tuple(point) for point in points]
    plays = game_name(options["game"])
    if game not in (None, plays):
        raise DistillError(f"{source!r} plays {plays}, not {game}; give a network for {game}")
    model = _instance(class_path, {**options, "pretrained": None}, run)
    try:
        model.load_state_dict(checkpoint["state_dict"])
    except RuntimeError as error:
        raise DistillError(f"{class_path} here is not the one that {run} has learned with: {said_of(error)}") from error
    scores = model.network.scores
    network = CallableNetwork(scores, plays, model.network.num_actions, digest=identity(scores))
    said = {"kind": checkpoint.get("kind", "values"), "rules": checkpoint.get("rules", {})}
    return network, {"game": plays, **said}


def _run_of(source: Path) -> Path | None:
    if not source.exists():
        return None
    places = [source] if source.is_dir() else [source.parent, source.parent.parent]
    return next((place for place in places if (place / "config.yaml").is_file()), None)


def _instance(class_path: str, options: dict[str, Any], run: Path) -> Any:
    module, _, name = class_path.rpartition(".")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), name)(**options)
    except (ImportError, AttributeError) as error:
        raise DistillError(f"{run} has a network of {class_path}, which is not here: {said_of(error)}") from error
