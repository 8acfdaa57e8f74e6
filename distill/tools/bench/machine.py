"""What machine `bench` runs on: its processor, and what of it PyTorch uses."""

import platform
import re
from pathlib import Path

import torch

from distill.atari.environments import usable_cores
from distill.precision import native_bf16

VECTORS = {"asimd": "NEON", "sve": "SVE", "avx2": "AVX2", "avx_vnni": "AVX-VNNI", "avx512f": "AVX-512"}
"""Instruction sets by the kernel's names for them, and by the usual ones."""
WITHHELD = {"DEFAULT": ("avx2", "avx_vnni", "avx512f", "sve"), "AVX2": ("avx512f",)}
"""Those that PyTorch leaves alone, by what it says it is capable of, whatever the processor is."""
BF16 = {"avx512_bf16": "AVX-512", "amx_bf16": "AMX", "bf16": "NEON"}
"""Those that calculate in bfloat16."""


def machine() -> str:
    """Return in one line what is measured: processor, cores, instruction sets, PyTorch's version."""
    info = Path("/proc/cpuinfo")
    fields: dict[str, str] = dict(
        re.findall(r"^(\w[\w ]*\w)\s*: *(.*)$", info.read_text() if info.exists() else "", re.MULTILINE)
    )
    name = re.sub(r"\((R|TM)\)| Processor$", "", fields.get("model name", platform.processor() or platform.machine()))
    flags = fields.get("flags", fields.get("Features", "")).split()
    sets = instruction_sets(flags, torch.backends.cpu.get_cpu_capability(), bf16=native_bf16())
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{name}, {usable_cores()} cores, {sets}, torch {torch.__version__}"


def instruction_sets(flags: list[str], capability: str, *, bf16: bool) -> str:
    """Return the instruction sets that PyTorch uses.

    Args:
        flags: Of the processor, by the kernel's names.
        capability: What PyTorch says of itself, which an environment variable may limit.
        bf16: Whether it calculates in bfloat16 by any of them.
    """
    used = [name for flag, name in VECTORS.items() if flag in flags and flag not in WITHHELD.get(capability, ())]
    by = [name for flag, name in BF16.items() if flag in flags]
    said = f"bf16: {', '.join(by) or 'emulated'}" if bf16 else "no bf16"
    return f"{' '.join(used) or capability} ({said})"
