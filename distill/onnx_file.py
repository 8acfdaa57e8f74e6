"""Networks as ONNX files: written with what they are, and played by ONNX Runtime."""

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from distill.files.packing import HEADER
from distill.networks import DQN
from distill.rollout import Policy

INPUT_NAME, OUTPUT_NAME = "observations", "scores"
INSTALL = 'pip install "distill[export]"'


def to_onnx(network: DQN, header: dict[str, Any]) -> bytes:
    """Translate a network for any number of uint8 observations.

    Args:
        network: On the CPU, in float32.
        header: Goes into the file's metadata, as JSON; plain values only.

    Raises:
        ValueError: where what it takes is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ValueError(f"ONNX files need {error.name}: {INSTALL}") from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    batch = torch.export.Dim("batch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            network,
            (example(),),
            dynamo=True,
            dynamic_shapes={INPUT_NAME: {0: batch}},
            input_names=[INPUT_NAME],
            output_names=[OUTPUT_NAME],
            verbose=False,
        )
    assert program is not None  # it is None for the older exporter alone
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = HEADER, json.dumps(header)
    return model.SerializeToString()


def example() -> torch.Tensor:
    """Make observations to trace a network with; of a batch of 1 the tracer would take the size for a constant."""
    return torch.zeros(2, 4, 84, 84, dtype=torch.uint8)


def open_onnx(content: bytes) -> tuple[Policy, dict[str, Any]]:
    """Open what `to_onnx` gave: how the network plays, and its header.

    Raises:
        ValueError: for anything else, and where ONNX Runtime is not installed.
    """
    try:
        import onnxruntime
        from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, InvalidGraph, InvalidProtobuf
    except ImportError as error:
        raise ValueError(f"ONNX files need {error.name}: {INSTALL}") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        header = json.loads(session.get_modelmeta().custom_metadata_map[HEADER])
    except (KeyError, ValueError, Fail, InvalidArgument, InvalidGraph, InvalidProtobuf) as error:
        raise ValueError(f"no ONNX file of this project ({str(error).splitlines()[0]})") from error

    def policy(observations: np.ndarray) -> np.ndarray:
        return session.run([OUTPUT_NAME], {INPUT_NAME: np.ascontiguousarray(observations)})[0]

    return policy, header


def load_onnx(path: Path, game: str | None = None) -> tuple[Policy, dict[str, Any]]:
    """Read a network from a file that `export` wrote: how it plays, and its header.

    Args:
        path: The file.
        game: Which it must play; None means whichever it does.

    Raises:
        ValueError: for a file that is missing, damaged, not ours or of another game, and where ONNX Runtime is not
            installed.
    """
    try:
        policy, header = open_onnx(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be played: {error}") from error
    if game is not None and header["game"] != game:
        raise ValueError(f"{path} plays {header['game']}, not {game}; give a network for {game}")
    return policy, header
