"""Networks as ONNX files: written with what they are, and played by ONNX Runtime."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from distill.engine import SessionPolicy, onnx_model, open_session
from distill.errors import DistillError
from distill.files.packing import HEADER
from distill.networks import DQN
from distill.rollout import Policy


def to_onnx(network: DQN, header: dict[str, Any]) -> bytes:
    """Return the content of an ONNX file with a network and a header.

    Args:
        network: Whose weights it holds, in float32.
        header: Goes into the file's metadata, as JSON; plain values only.
    """
    model = onnx_model(network)
    entry = model.metadata_props.add()
    entry.key, entry.value = HEADER, json.dumps(header)
    return model.SerializeToString()


def open_onnx(content: bytes) -> tuple[Policy, dict[str, Any]]:
    """Return the policy in what `to_onnx` gave, and its header.

    Raises:
        ValueError: for anything else.
    """
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf

    try:
        session = open_session(content)
        header = json.loads(session.get_modelmeta().custom_metadata_map[HEADER])
    except (KeyError, ValueError, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
        raise DistillError(f"no ONNX file of this project ({str(error).splitlines()[0]})") from error
    return SessionPolicy(session), header


def load_exported(
    path: Path, read: Callable[[bytes], tuple[Policy, dict[str, Any]]] = open_onnx, game: str | None = None
) -> tuple[Policy, dict[str, Any]]:
    """Read a network from a file that `export` wrote: how it plays, and its header.

    Args:
        path: The file.
        read: Takes its content apart, as `open_onnx`.
        game: Which it must play; None means whichever it does.

    Raises:
        ValueError: for a file that is missing, damaged, not ours or of another game.
    """
    try:
        policy, header = read(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DistillError(f"{path} cannot be played: {error}") from error
    if game is not None and header["game"] != game:
        raise DistillError(f"{path} plays {header['game']}, not {game}; give a network for {game}")
    return policy, header
