"""What is said of the machine: the instruction sets that PyTorch uses, not those that the processor has."""

import pytest

from distill.tools.bench.machine import instruction_sets, machine

XEON = ["sse2", "avx2", "avx512f", "avx_vnni", "avx512_bf16", "amx_bf16"]


@pytest.mark.parametrize(
    ("flags", "capability", "bf16", "said"),
    [
        (XEON, "AVX512", True, "AVX2 AVX-VNNI AVX-512 (bf16: AVX-512, AMX)"),
        (XEON, "AVX2", False, "AVX2 AVX-VNNI (no bf16)"),
        (XEON, "DEFAULT", False, "DEFAULT (no bf16)"),
        (["avx2", "avx512f"], "AVX512", True, "AVX2 AVX-512 (bf16: emulated)"),
        (["asimd", "bf16", "sve"], "SVE256", True, "NEON SVE (bf16: NEON)"),
        (["asimd"], "DEFAULT", False, "NEON (no bf16)"),
        ([], "AVX2", False, "AVX2 (no bf16)"),
    ],
)
def test_instruction_sets_are_those_that_are_used(flags, capability, bf16, said):
    assert instruction_sets(flags, capability, bf16=bf16) == said


def test_the_machine_is_one_line():
    """It ends in PyTorch's version and holds the cores, whatever the processor's file says."""
    assert "\n" not in machine()
    assert " cores, " in machine()
    assert ", torch " in machine()
