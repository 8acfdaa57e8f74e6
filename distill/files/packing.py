"""Arrays and a header as bytes: safetensors, with JSON in their metadata, under zstd. Nothing is ever unpickled."""

import json
from typing import Any

import cramjam
import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from distill.errors import DistillError

ZSTD_LEVEL = 3
HEADER = "distill"


def pack(arrays: dict[str, np.ndarray], header: dict[str, Any]) -> bytes:
    """Pack arrays and plain values; equal ones give equal bytes."""
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    return bytes(cramjam.zstd.compress(save(contiguous, {HEADER: json.dumps(header)}), level=ZSTD_LEVEL))


def unpack(packed: bytes) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Undo `pack`, bit for bit.

    Raises:
        ValueError: for what `pack` did not give.
    """
    try:
        content = bytes(cramjam.zstd.decompress(packed))
        header_size = int.from_bytes(content[:8], "little")
        arrays = load(content)
        header = json.loads(json.loads(content[8 : 8 + header_size])["__metadata__"][HEADER])
        if not isinstance(header, dict):
            raise DistillError(f"its header is a {type(header).__name__}")
    except (cramjam.DecompressionError, SafetensorError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise DistillError(f"its content is damaged ({str(error).splitlines()[0]})") from error
    return arrays, header
