"""Every instruction of the base set does what QEMU's interpreter does: registers, flags, memory."""

from __future__ import annotations

import pytest
from hypothesis import assume, given

from emu.isa import TABLE
from tests.cpu.differential import (
    Situation,
    differences,
    on_reference,
    on_unicorn,
    reads_single,
    situations,
    usable,
)

_BASE_SET = ("rv64i", "rv64m", "rv64a", "rv64f", "rv64d", "rv64c", "zifencei")
INSTRUCTIONS = [m for m, i in TABLE.items() if i.extension in _BASE_SET and m != "c.ebreak"]


def _quiet(s: Situation) -> bool:
    """Whether no operand is a signaling NaN: there Unicorn's minimum follows IEEE 754-2008."""
    bits, fraction = (32, 23) if reads_single(s.insn) else (64, 52)
    infinity = ((1 << (bits - 1)) - 1) ^ ((1 << fraction) - 1)
    magnitudes = [v & ((1 << (bits - 1)) - 1) for v in s.f]
    return all(m <= infinity or m >> (fraction - 1) & 1 for m in magnitudes)


@pytest.mark.parametrize("mnemonic", INSTRUCTIONS)
def test_instruction_agrees_with_unicorn(mnemonic: str) -> None:
    @given(situations(TABLE[mnemonic]))
    def agree(situation: Situation) -> None:
        assume(usable(situation))
        if mnemonic.startswith(("fmin", "fmax")):
            assume(_quiet(situation))
        assert not differences(situation, on_reference(situation), on_unicorn(situation))

    agree()
