"""Checkpoints as files: PyTorch's archives, written whole or not at all, and checked by the archive's own checksums.

PyTorch does not look at them: it does not notice when a bit of what it reads has changed.
"""

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from distill.errors import DistillError
from distill.files.store import write_atomically

LAST = "last.ckpt"
"""A run's newest checkpoint."""
BEFORE = "before.ckpt"
"""The one before it."""


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    write_atomically(path, buffer.getvalue())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file onto the CPU; nothing is ever unpickled but tensors and plain values.

    Raises:
        ValueError: for a file that is missing, cut, changed, or no checkpoint.
    """
    try:
        archive = io.BytesIO(path.read_bytes())
        if not zipfile.is_zipfile(archive):
            raise DistillError("it is cut or changed, or something else")
        if damaged := zipfile.ZipFile(archive).testzip():
            raise DistillError(f"the checksum of its {damaged} is wrong")
        archive.seek(0)
        content = torch.load(archive, map_location="cpu", weights_only=True)
        if not isinstance(content, dict):
            raise DistillError(f"it holds a {type(content).__name__}")
    except Exception as error:  # whatever a foreign file makes its reader raise
        raise DistillError(f"{path} is no checkpoint of this project ({_reason(error)})") from error
    return content


def newest(folder: Path) -> tuple[Path | None, list[str]]:
    """Return the newest whole checkpoint of a run, and what is wrong with those that are newer.

    Args:
        folder: Of its checkpoints.
    """
    wrong: list[str] = []
    for path in (folder / LAST, folder / BEFORE):
        if path.is_file():
            try:
                read_checkpoint(path)
                return path, wrong
            except ValueError as error:
                wrong.append(str(error))
    return None, wrong


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
