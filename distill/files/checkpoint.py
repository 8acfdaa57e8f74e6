"""Checkpoints as files: PyTorch's archives, sealed with a checksum, written whole or not at all.

PyTorch does not notice when a bit of what it reads has changed. The checksum is the comment at the archive's end, so
`torch.load` reads these files as it reads any other.
"""

import hashlib
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
SEAL_MARK = b"distill sha256 "
COMMENT_SIZE = len(SEAL_MARK) + 2 * hashlib.sha256().digest_size
END = b"PK\5\6"
"""What an archive's last record begins with; its last two bytes are the size of the comment that follows."""
END_SIZE = 22


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Write a file, whole or not at all, with its checksum."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    archive = buffer.getvalue()[:-2] + COMMENT_SIZE.to_bytes(2, "little")
    write_atomically(path, archive + SEAL_MARK + hashlib.sha256(archive).hexdigest().encode())


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Read a file onto the CPU; nothing is ever unpickled but tensors and plain values.

    Archives without our checksum, as Lightning writes them, are read if their own checksums are right.

    Raises:
        ValueError: for a file that is missing, cut, changed, or no checkpoint.
    """
    try:
        sealed = path.read_bytes()
        _check_seal(sealed)
        content = torch.load(io.BytesIO(sealed), map_location="cpu", weights_only=True)
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


def _check_seal(sealed: bytes) -> None:
    archive, comment = sealed[:-COMMENT_SIZE], sealed[-COMMENT_SIZE:]
    if _ends(archive, COMMENT_SIZE) and comment.startswith(SEAL_MARK):
        if comment.removeprefix(SEAL_MARK) != hashlib.sha256(archive).hexdigest().encode():
            raise DistillError("its checksum is wrong")
    elif not _ends(sealed, 0):
        raise DistillError("it is cut or changed, or something else")
    elif damaged := zipfile.ZipFile(io.BytesIO(sealed)).testzip():
        raise DistillError(f"the checksum of its {damaged} is wrong")


def _ends(archive: bytes, comment_size: int) -> bool:
    record = archive[-END_SIZE:]
    return record.startswith(END) and record.endswith(comment_size.to_bytes(2, "little"))


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).splitlines()[0] if str(error) else type(error).__name__
