"""Files of other libraries: opened, and told apart by what is in them.

Of a file nothing but tensors and plain values is ever unpickled, and no other library is needed.
"""

import gzip
import io
import json
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from distill.weights.files import refusal

POLICY, DATA, VERSION = "policy.pth", "data", "_stable_baselines3_version"
"""Members of a Stable-Baselines3 zip."""


class Content(NamedTuple):
    """What a file of another library holds."""

    library: str
    version: str
    """Of the library, or nothing."""
    tensors: dict[str, Tensor]
    said: dict[str, Any]
    """What else it says of itself."""


def opened(path: Path) -> dict[str, Any] | Content:
    """Read what PyTorch saved, alone or under gzip, or what Stable-Baselines3 did.

    Returns:
        Another library's content, or else what was saved, by name.

    Raises:
        ValueError: for whatever is none of these, is damaged, or holds pickles of more than tensors and plain values.
    """
    content = path.read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise refusal("a gzip file that is damaged or was cut short") from None
    if content.startswith(b"PK"):
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as file:
                names = file.namelist()
                members = {name: file.read(name) for name in (POLICY, DATA, VERSION) if name in names}
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError):
            raise refusal("a zip that is damaged or was cut short") from None
        if POLICY in members and DATA in members:
            return _of_zip(members)
        if not any(name.endswith("/data.pkl") for name in names):
            raise refusal(
                f"a zip of {', '.join(names[:3]) or 'nothing'}, without {POLICY} and {DATA}, those of "
                "Stable-Baselines3; other pickles are never opened"
            )
    elif not content.startswith(b"\x80"):
        raise refusal("no weight file of this project, nor one of another library")
    saved = _unpickled(content)
    if not isinstance(saved, dict):
        raise refusal(f"a {type(saved).__name__} that PyTorch saved, not tensors by name")
    if "estimator_state" in saved:
        return Content("atari-agents", "", _named_tensors(saved["estimator_state"]), {})
    if "model_weights" in saved:
        args = saved.get("args")
        return Content("CleanRL", "", _named_tensors(saved["model_weights"]), args if isinstance(args, dict) else {})
    # CleanRL saves its DQN's tensors with nothing around them.
    return saved if "state_dict" in saved else Content("CleanRL", "", _named_tensors(saved), {})


def _of_zip(members: dict[str, bytes]) -> Content:
    try:
        said = json.loads(members[DATA])
    except ValueError:
        said = None
    if not isinstance(said, dict):
        raise refusal(f"a zip whose {DATA} is not Stable-Baselines3's")
    version = members.get(VERSION, b"").decode("ascii", "replace").strip()
    return Content("Stable-Baselines3", version, _named_tensors(_unpickled(members[POLICY])), said)


def _unpickled(content: bytes) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickles that others wrote
            return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception:
        # A damaged file makes it raise whatever: `AssertionError` and `struct.error` were seen. What it says itself is
        # how to have a pickle run all the same.
        raise refusal(
            "a file that is damaged or was cut short, or holds more than tensors and plain values, never unpickled here"
        ) from None


def _named_tensors(tensors: Any) -> dict[str, Tensor]:
    if not isinstance(tensors, dict) or not all(
        isinstance(name, str) and isinstance(one, Tensor) for name, one in tensors.items()
    ):
        raise refusal("a file that PyTorch saved, but not tensors by name")
    return tensors
