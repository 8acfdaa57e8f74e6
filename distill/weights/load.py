"""Load networks by name: shipped teachers, files of ours, of another library or of the hub, runs; wrap a user's own."""

import os
from pathlib import Path
from typing import Any

import torch

from distill import checks
from distill.atari.cartridge import game_name, num_actions
from distill.atari.rules import EnvRules
from distill.errors import DistillError
from distill.files.checkpoint import read_checkpoint
from distill.losses import KINDS
from distill.networks import DQN
from distill.weights.best import BEST_INDEX, FOLDER, read_index, read_network
from distill.weights.callables import CallableNetwork, Scores, Teacher, name_of
from distill.weights.digests import identity
from distill.weights.files import network_of, of_checkpoint, read_file, said_of, shipped
from distill.weights.foreign import converted
from distill.weights.foreign_files import Content, opened
from distill.weights.hub import hub_file, on_hub, pinned
from distill.weights.own import load_own_class

RUN_FILES = ("student.safetensors", "teacher.safetensors", "checkpoints/last.ckpt")
"""In a run's folder, what it learned; the first that is there."""


def find_weights(source: str) -> Path:
    """Return a weight file by its path, a run's by its folder, a shipped teacher's or the hub's by its name.

    Raises:
        ValueError: where there is none, and as `distill.weights.hub.hub_file`.
    """
    if source in shipped():
        return shipped()[source]
    if on_hub(source):
        return hub_file(source)
    if os.path.isdir(source):
        run = Path(source)
        found = [path for name in RUN_FILES if (path := run / name).is_file()]
        if not found:
            raise DistillError(f"{source} is a folder without {', '.join(RUN_FILES)}; give a run that has learned")
        return found[0]
    if not os.path.isfile(source):  # false, too, for a name too long to be one
        raise DistillError(f"{source!r} is neither a file nor a shipped teacher ({', '.join(shipped()) or 'none'})")
    return Path(source)


def load_network(source: str, game: str | None = None) -> tuple[DQN, dict[str, Any]]:
    """Read the network of one game, in float32, ready to play, and its header.

    Args:
        source: A shipped teacher's name; or the path of a file that `save_network` wrote, of a run's checkpoint, or of
            another library's file that `distill.weights.foreign` knows; or such a file's name on the Hugging Face hub,
            `hf:owner/name`. What it is, is told by its content.
        game: Which of several games, or of a file that does not say; the header then says of this one what it says of
            each. None where there is but one.

    Returns:
        Network and header. Where the header says that `kind` is `policy`, the outputs are logits of probabilities, not
        values of actions.

    Raises:
        ValueError: for a file that is missing, damaged or neither ours nor known; for a game that is not in it, or none
            where there are several or it does not say. Nothing but tensors and plain values is ever unpickled.
    """
    path = find_weights(source)
    try:
        game = None if game is None else game_name(game)
        header, tensors = _read_source(path, game)
    except (ValueError, OSError) as error:
        raise DistillError(f"{source if on_hub(source) else path}: {said_of(error)}") from error
    return network_of(source, header, tensors, game)


def _read_source(path: Path, game: str | None) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    with path.open("rb") as file:
        safetensors = file.read(9)[8:] == b"{"  # after eight bytes that say how long the header is
    if safetensors:
        return read_file(path)
    content = opened(path)
    if isinstance(content, Content):
        return converted(content, game)
    return of_checkpoint(read_checkpoint(path))


def load_teacher(source: str, game: str | None) -> tuple[DQN | CallableNetwork, dict[str, Any]]:
    """Read a network that is to play a certain game, None the only one that it does; and its header.

    A run's folder may be that of a network of a user's own class, see `distill.weights.own`.

    Raises:
        ValueError: as `load_network` and `load_own_class`, and for a network made for another number of actions.
    """
    if (own := load_own_class(source, game)) is not None:
        return own
    network, header = load_network(source, game)
    game, actions = header["game"], len(EnvRules.of(header).actions(header["game"]))
    if network.num_actions != actions:
        raise DistillError(
            f"teacher {source!r} has {network.num_actions} actions; {game} has {actions}, and so must its teacher"
        )
    return network, header


def load_playing(source: str | Scores, game: str) -> Teacher:
    """Load a network that is to play a game.

    Args:
        source: As for `load_teacher`; of the folder of a teacher's run that keeps its best networks, the first of
            them; or a module or function, as for `CallableNetwork`, which gives values unless its attribute `kind` is
            `policy`.
        game: ALE name.

    Raises:
        ValueError: for an unknown game, as `load_teacher` and `CallableNetwork`, and for a folder without weights.
    """
    if not isinstance(source, str):
        kind = getattr(source, "kind", "values")
        checks.one_of(KINDS, **{f"kind of {name_of(source)}": kind})
        network = CallableNetwork(source, game, num_actions(game), digest=identity(source))
        return Teacher(name_of(source), network, None, kind)
    source = pinned(source)
    run = Path(source)
    index = read_index(run) if source not in shipped() and run.is_dir() else None
    if index is not None:
        if index.game != game:
            raise DistillError(f"{run} is a teacher of {index.game}, not {game}; give a teacher for {game}")
        first = index.best(0)
        return Teacher(source, read_network(run, first, game), run / FOLDER / first.file, "values")
    if run.is_dir() and source not in shipped() and not any((run / name).is_file() for name in RUN_FILES):
        raise DistillError(
            f"{run} holds no {FOLDER}/{BEST_INDEX}; first start its teacher, with model.score_every_hours"
        )
    loaded, header = load_teacher(source, game)
    return Teacher(source, loaded, find_weights(source), header.get("kind", "values"), EnvRules.of(header))
