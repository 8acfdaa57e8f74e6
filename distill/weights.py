"""Networks in and out of files: safetensors with a JSON header that says what the weights are."""

import hashlib
import json
import os
import pickle
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import nn

from distill.networks import DQN
from distill.packing import HEADER
from distill.store import write_atomically

INPUT = "uint8 [B, 4, 84, 84], grey, oldest frame first, zeros before an episode's start; divided by 255 inside"


def shipped() -> dict[str, Path]:
    """List the teachers that come with the package, by game."""
    folder = resources.files("distill") / "teachers"
    return {path.stem: path for path in sorted(Path(str(folder)).glob("*.safetensors"))}


def digest(network: nn.Module) -> str:
    """Hash a network's weights, with their names and types, in hexadecimal."""
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in sorted(network.state_dict().items())}
    return hashlib.sha256(save(tensors)).hexdigest()


def save_network(path: Path, network: DQN, header: dict[str, Any], dtype: torch.dtype = torch.float32) -> None:
    """Write a network and its header.

    Args:
        path: The file; its folder is made where it is missing.
        network: What to write.
        header: At least `game`; plain values only. `input` and `widths` are added.
        dtype: How to store the weights; half precision takes half the room.
    """
    tensors = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in network.state_dict().items()}
    full = {**header, "widths": list(network.widths), "num_actions": network.num_actions, "input": INPUT}
    write_atomically(path, save(tensors, metadata={HEADER: json.dumps(full)}))


def find(source: str) -> Path:
    """Find a weight file by its path or a shipped teacher by its name.

    Raises:
        ValueError: where there is neither.
    """
    if source in shipped():
        return shipped()[source]
    if not os.path.isfile(source):  # false, too, for a name too long to be one
        raise ValueError(f"{source!r} is neither a file nor a shipped teacher ({', '.join(shipped()) or 'none'})")
    return Path(source)


def load_network(source: str) -> tuple[DQN, dict[str, Any]]:
    """Read a network, in float32, ready to play, and its header.

    Args:
        source: Path of a file that `save_network` wrote or of a run's checkpoint, or a shipped teacher's name.

    Raises:
        ValueError: for a file that is missing, damaged or not ours; nothing is ever unpickled.
    """
    path = find(source)
    if path.suffix == ".ckpt":
        return _load_checkpoint(path)
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        network = _assemble(tensors)
        header["game"]
    except (SafetensorError, IndexError, KeyError, TypeError, RuntimeError, OSError, json.JSONDecodeError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(
            f"{path} is no weight file of this project ({reason}); allowed are safetensors files that `fit` wrote, "
            f"and shipped teachers ({', '.join(shipped()) or 'none'})"
        ) from error
    return network, header


def _load_checkpoint(path: Path) -> tuple[DQN, dict[str, Any]]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        header = {"game": content["hyper_parameters"]["game"], "protocol": None}
        part = "network."
        tensors = {
            name.removeprefix(part): tensor.float()
            for name, tensor in content["state_dict"].items()
            if name.startswith(part)
        }
        network = _assemble(tensors)
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, RuntimeError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{path} is no checkpoint of this project ({reason})") from error
    return network, header


def _assemble(tensors: dict[str, torch.Tensor]) -> DQN:
    first, second, third, hidden, actions = (
        tensors[f"{layer}.bias"].shape[0] for layer in ("conv1", "conv2", "conv3", "fc1", "out")
    )
    network = DQN((first, second, third, hidden), actions)
    network.load_state_dict(tensors)
    return network.requires_grad_(False).eval()


def load_teacher(source: str, game: str, num_actions: int) -> tuple[DQN, dict[str, Any]]:
    """Read a network that is to play a certain game.

    Raises:
        ValueError: as `load_network`, and for a network made for another game or number of actions.
    """
    network, header = load_network(source)
    if header["game"] != game:
        raise ValueError(f"teacher {source!r} plays {header['game']}, not {game}; give a teacher for {game}")
    if network.num_actions != num_actions:
        raise ValueError(
            f"teacher {source!r} has {network.num_actions} actions; {game} has {num_actions}, and so must its teacher"
        )
    return network, header
