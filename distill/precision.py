"""Which precision a machine learns and plays in."""

import platform

import torch

from distill.errors import DistillError

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
"""Precisions in which weights are float32, by Lightning's names."""
ALIASES = {"32": "32-true", "bf16": "bf16-mixed", "16": "16-mixed"}
"""Lightning's older names."""


def native_bf16() -> bool:
    """Return whether this CPU has instructions for bfloat16; one without takes 30 times as long as in float32."""
    if not torch.backends.mkldnn.is_available() or not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    # oneDNN counts AVX-512 without these instructions as support, too, and converts there.
    return platform.machine().lower() not in ("x86_64", "amd64") or torch.cpu._is_avx512_bf16_supported()


def fitting(asked: str | int | None, device: str, option: str = "precision") -> tuple[str, str | None]:
    """Return the precision that a device is to use, and one line that says why where it is not the one asked for.

    Args:
        asked: One of `ALLOWED`, or its older name; None means float32.
        device: `cpu`, or any other.
        option: The name of the option, for messages.

    Raises:
        ValueError: for another precision, and for float16 on a CPU.
    """
    name = "32-true" if asked is None else ALIASES.get(str(asked), str(asked))
    if name not in PRECISIONS:
        raise DistillError(f"{option} is {asked}; allowed are {', '.join(PRECISIONS)}")
    if device == "cpu" and name == "16-mixed":
        raise DistillError(f"{option} is {asked}, which needs a GPU; on a CPU it must be 32-true or bf16-mixed")
    if device == "cpu" and name == "bf16-mixed" and not native_bf16():
        return "32-true", f"{option}: {name} was asked for, 32-true is used: this CPU has no native bfloat16"
    return name, None
