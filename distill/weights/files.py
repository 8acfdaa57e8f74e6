"""Networks in and out of our own files: safetensors with a JSON header that says what the weights are; checkpoints."""

import hashlib
import json
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from distill.errors import DistillError
from distill.files.packing import HEADER
from distill.files.store import write_atomically
from distill.losses import kind_taught_by
from distill.networks import DQN, SHARED, MultiDQN
from distill.weights.digests import cpu_copy

ALLOWED = (
    "allowed are what `fit` and `import-teacher` write, shipped teachers, zips of Stable-Baselines3 (DQN, QR-DQN, PPO, "
    "A2C), CleanRL's .cleanrl_model (DQN, C51) and the .gz of atari-agents (DQN, M-DQN, C51)"
)
INPUT = "uint8 [B, 4, 84, 84], grey, oldest frame first, zeros before an episode's start; divided by 255 inside"
OWN = "scores."
"""What the names of tensors begin with that belong to a `CallableNetwork`, not to a network of ours."""
CHECKSUM = "sha256"
"""Beside the header, where it is not missing as in older files."""


def shipped() -> dict[str, Path]:
    """List the teachers that come with the package, by game."""
    folder = resources.files("distill") / "teachers"
    return {path.stem: path for path in sorted(Path(str(folder)).glob("*.safetensors"))}


def refusal(reason: str) -> ValueError:
    """Describe why a file is none of those that can be read, and which can."""
    return ValueError(f"{reason}; {ALLOWED}")


def save_network(path: Path, network: nn.Module, header: dict[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Write a network and its header.

    Args:
        path: The file; its folder is made where it is missing.
        network: What to write; what several games share is written once. One that is none of `distill.networks` can be
            written, but not be read by `load_network`.
        header: At least `game`, of several games their list; plain values only. `input`, `widths` and `num_actions` are
            added, of a distributional network `atoms`, how many it has, and of further hidden layers `activation`.
        dtype: How to store the weights; half precision takes half the room.
    """
    write_atomically(path, network_bytes(network, header, dtype))


def network_bytes(network: nn.Module, header: dict[str, Any], dtype: torch.dtype = torch.float32) -> bytes:
    """Return what `save_network` writes."""
    weights = {_stored(name): tensor for name, tensor in network.state_dict().items()}
    tensors = {
        name: cpu_copy(tensor, dtype if tensor.is_floating_point() else None) for name, tensor in weights.items()
    }
    full = {**header, "num_actions": network.num_actions, "input": INPUT}
    if isinstance(network, DQN | MultiDQN):
        full["widths"] = list(network.widths)
    if isinstance(network, DQN) and network.more:
        full["activation"] = network.activation
    if "atoms" in tensors:
        full["atoms"] = len(tensors["atoms"])
    text = json.dumps(full)
    return _with_sorted_metadata(save(tensors, metadata={HEADER: text, CHECKSUM: _checksum(text, tensors)}))


def _with_sorted_metadata(file: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in a random order: so equal networks give equal files."""
    length = int.from_bytes(file[:8], "little")
    header = json.loads(file[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    return file[:8] + text.ljust(length) + file[8 + length :]


def _checksum(header: str, tensors: dict[str, torch.Tensor]) -> str:
    """Hash all that a file holds: its header, and names, types, shapes and values of its tensors."""
    content = hashlib.sha256(header.encode())
    for name, tensor in sorted(tensors.items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        content.update(tensor.reshape(-1).view(torch.uint8).numpy() if tensor.numel() else b"")
    return content.hexdigest()


def _stored(name: str) -> str:
    """Name a tensor of a `MultiDQN` as it is stored: the same for all games if they share it."""
    parts = name.split(".")
    return ".".join(parts[2:]) if parts[0] == "games" and parts[2] in SHARED else name


def load_own(path: Path, game: str | None = None) -> tuple[DQN, dict[str, Any]]:
    """Read the network of one game from a file that `save_network` wrote; see `distill.weights.load.load_network`.

    Raises:
        ValueError: for a file that is missing, damaged, or of other games.
    """
    try:
        header, tensors = read_file(path)
    except (ValueError, OSError) as error:
        raise DistillError(f"{path}: {said_of(error)}") from error
    return network_of(str(path), header, tensors, game)


def network_of(
    source: str, header: dict[str, Any], tensors: dict[str, torch.Tensor], game: str | None
) -> tuple[DQN, dict[str, Any]]:
    """Return the network of one game, in float32, ready to play, and what the header says of it.

    Args:
        source: What the tensors were read from, for messages.
        header: Of all games.
        tensors: Of all games.
        game: Which; None where there is but one.

    Raises:
        ValueError: for a game that is not in it, for none where there are several, and for tensors that are no network.
    """
    games = [header["game"]] if isinstance(header["game"], str) else header["game"]
    if game is None and len(games) > 1:
        raise DistillError(f"{source!r} plays {', '.join(games)}; say which game")
    if game is not None and game not in games:
        raise DistillError(f"{source!r} plays {', '.join(games)}, not {game}; give a network for {game}")
    header = _of_one_game(header, game or games[0])
    try:
        return _assemble(tensors, header), header
    except (IndexError, KeyError, TypeError, RuntimeError, ValueError, ZeroDivisionError) as error:
        raise refusal(f"{source}: no weight file of this project ({said_of(error)})") from error


def _of_one_game(header: dict[str, Any], game: str) -> dict[str, Any]:
    """Take what a header says of one game where it lists what is said of each."""
    games, trained = header["game"], header.get("trained")
    found = {**header, "game": game}
    if isinstance(games, list):

        def own(of: Any) -> Any:
            return of[games.index(game)] if isinstance(of, list) and len(of) == len(games) > 1 else of

        found |= {name: own(header[name]) for name in ("actions", "score", "rules") if name in header}
        if isinstance(trained, dict) and "teacher" in trained:
            found["trained"] = {**trained, "teacher": own(trained["teacher"])}
    return found


def read_file(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Read the header and the tensors of a file that `save_network` wrote.

    Raises:
        ValueError: for any other file.
    """
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}
        if not {HEADER} <= set(metadata) <= {HEADER, CHECKSUM}:
            raise DistillError(f"its metadata are {', '.join(metadata) or 'missing'}")
        if CHECKSUM in metadata and metadata[CHECKSUM] != _checksum(metadata[HEADER], tensors):
            raise DistillError("its checksum is wrong")
        header = json.loads(metadata[HEADER])
        _check_game(header["game"])
    except (SafetensorError, KeyError, TypeError, RuntimeError, OSError, ValueError) as error:
        raise refusal(f"no weight file of this project ({said_of(error)})") from error
    return header, {name: tensor.float() for name, tensor in tensors.items()}


def _check_game(game: Any) -> None:
    games = game if isinstance(game, list) else [game]
    if not games or not all(isinstance(one, str) for one in games):
        raise DistillError(f"its game is {game!r}")


def of_checkpoint(content: dict[str, Any]) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """Return the header and the tensors of a run's checkpoint.

    Raises:
        ValueError: for a checkpoint of another project.
    """
    part = "network."
    try:
        learned = content["hyper_parameters"]
        kind = content.get("kind") or (kind_taught_by(learned["loss_name"]) if "loss_name" in learned else "values")
        header = {"game": learned["game"], "kind": kind, "protocol": None, "rules": content.get("rules", {})}
        _check_game(header["game"])
        weights = {name.removeprefix(part): of for name, of in content["state_dict"].items() if name.startswith(part)}
        return header, {_stored(name): tensor.float() for name, tensor in weights.items()}
    except (LookupError, TypeError, AttributeError, RuntimeError, ValueError) as error:
        raise refusal(f"no checkpoint of this project ({said_of(error)})") from error


def said_of(error: Exception) -> str:
    """Return the first line of what an error says, or its kind where it says nothing."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _assemble(tensors: dict[str, torch.Tensor], header: dict[str, Any]) -> DQN:
    if any(name.startswith(OWN) for name in tensors):
        raise DistillError(
            "its network is of its maker's own class, which evaluate and data.teacher find by its run's folder"
        )
    own = f"games.{header['game']}."
    tensors = {
        name.removeprefix(own): tensor
        for name, tensor in tensors.items()
        if name.startswith(own) or not name.startswith("games.")
    }
    first, second, third, hidden, actions = (tensors[f"{layer}.bias"].shape[0] for layer in (*SHARED, "out"))
    if not min(first, second, third, hidden, actions):
        raise DistillError("a layer is empty")
    controller = tensors["controller.bias"].shape[0] if "controller.bias" in tensors else None
    atoms = tensors.get("atoms")
    actions = actions if atoms is None else actions // len(atoms)
    more = [
        tensors[f"more.{number}.bias"].shape[0]
        for number in range(sum(name.startswith("more.") for name in tensors) // 2)
    ]
    network = DQN((first, second, third, hidden), actions, controller, atoms, more, header.get("activation", "relu"))
    network.load_state_dict(tensors)
    return network.requires_grad_(False).eval()
