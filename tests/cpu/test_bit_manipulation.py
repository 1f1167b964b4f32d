"""Zba, Zbb and Zbs against the specification's pseudo-code, written here over strings of bits and
Python integers (Unicorn's processor lacks these extensions)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given

from emu.isa import TABLE
from tests.cpu.differential import MASK, Situation, on_reference, situations, usable

_EXTENSIONS = ("zba", "zbb", "zbs")


def _bits(value: int, width: int) -> str:
    return format(value & ((1 << width) - 1), f"0{width}b")


def _signed(value: int, width: int) -> int:
    value &= (1 << width) - 1
    return value - (1 << width) if value >> (width - 1) else value


def _left(value: int, amount: int, width: int) -> int:
    bits = _bits(value, width)
    amount %= width
    return int(bits[amount:] + bits[:amount], 2)


def _word(value: int) -> int:
    return value & 0xFFFF_FFFF


MEANINGS: dict[str, Callable[[int, int], int]] = {
    **{f"sh{n}add": lambda a, b, n=n: b + a * 2**n for n in (1, 2, 3)},
    **{f"sh{n}add.uw": lambda a, b, n=n: b + _word(a) * 2**n for n in (1, 2, 3)},
    "add.uw": lambda a, b: b + _word(a),
    "slli.uw": lambda a, b: _word(a) * 2**b,
    "andn": lambda a, b: a & (MASK - b),
    "orn": lambda a, b: a | (MASK - b),
    "xnor": lambda a, b: MASK - (a ^ b),
    "clz": lambda a, b: len(_bits(a, 64).partition("1")[0]),
    "clzw": lambda a, b: len(_bits(a, 32).partition("1")[0]),
    "ctz": lambda a, b: len(_bits(a, 64)[::-1].partition("1")[0]),
    "ctzw": lambda a, b: len(_bits(a, 32)[::-1].partition("1")[0]),
    "cpop": lambda a, b: _bits(a, 64).count("1"),
    "cpopw": lambda a, b: _bits(a, 32).count("1"),
    "max": lambda a, b: max(_signed(a, 64), _signed(b, 64)),
    "maxu": lambda a, b: max(a, b),
    "min": lambda a, b: min(_signed(a, 64), _signed(b, 64)),
    "minu": lambda a, b: min(a, b),
    "sext.b": lambda a, b: _signed(a, 8),
    "sext.h": lambda a, b: _signed(a, 16),
    "zext.h": lambda a, b: a % 65536,
    "rol": lambda a, b: _left(a, b % 64, 64),
    "rolw": lambda a, b: _signed(_left(a, b % 32, 32), 32),
    "ror": lambda a, b: _left(a, 64 - b % 64, 64),
    "rori": lambda a, b: _left(a, 64 - b, 64),
    "rorw": lambda a, b: _signed(_left(a, 32 - b % 32, 32), 32),
    "roriw": lambda a, b: _signed(_left(a, 32 - b, 32), 32),
    "orc.b": lambda a, b: int.from_bytes(bytes(255 * (c > 0) for c in a.to_bytes(8, "big")), "big"),
    "rev8": lambda a, b: int.from_bytes(a.to_bytes(8, "big"), "little"),
    "bclr": lambda a, b: a - (a & 2 ** (b % 64)),
    "bext": lambda a, b: int(_bits(a, 64)[::-1][b % 64]),
    "binv": lambda a, b: a ^ 2 ** (b % 64),
    "bset": lambda a, b: a | 2 ** (b % 64),
}
for _name in ("bclr", "bext", "binv", "bset"):
    MEANINGS[_name + "i"] = MEANINGS[_name]


def test_every_instruction_has_a_meaning_here() -> None:
    assert MEANINGS.keys() == {m for m, i in TABLE.items() if i.extension in _EXTENSIONS}


@pytest.mark.parametrize("mnemonic", MEANINGS)
def test_instruction_follows_the_specification(mnemonic: str) -> None:
    insn = TABLE[mnemonic]

    @given(situations(insn))
    def follow(situation: Situation) -> None:
        assert usable(situation)
        fields = {f.name: f.extract(situation.word) for f in insn.encoding.fields}
        second = fields["shamt"] if "shamt" in fields else situation.x[fields.get("rs2", 0)]
        expected = MEANINGS[mnemonic](situation.x[fields["rs1"]], second) & MASK
        result = on_reference(situation).x[fields["rd"]]
        assert result == (expected if fields["rd"] else 0)

    follow()
