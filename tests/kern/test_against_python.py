"""Arithmetic and formatting against Python: many random cases in one Kern program a run."""

from __future__ import annotations

import math
import random
import struct

import pytest

from toolchain.cli.test import run_on_machine
from toolchain.kern import testing
from toolchain.kern.diagnostics import Source

TYPES = [(f"{sign}{bits}", bits, sign == "i") for sign in "iu" for bits in (8, 16, 32, 64)]
EDGES = [
    0,
    1,
    2,
    7,
    -1,
    -2,
    63,
    64,
    127,
    128,
    255,
    1 << 31,
    (1 << 31) - 1,
    -(1 << 63),
    (1 << 63) - 1,
]


def wrap(value: int, bits: int, signed: bool) -> int:
    """`value` cut to the type."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if signed and value >> (bits - 1) else value


def truncated(a: int, b: int) -> int:
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


OPERATORS = {
    "+": lambda a, b, bits: a + b,
    "-": lambda a, b, bits: a - b,
    "*": lambda a, b, bits: a * b,
    "/": lambda a, b, bits: truncated(a, b),
    "%": lambda a, b, bits: a - truncated(a, b) * b,
    "&": lambda a, b, bits: a & b,
    "|": lambda a, b, bits: a | b,
    "^": lambda a, b, bits: a ^ b,
    "<<": lambda a, b, bits: a << (b & (bits - 1)),
    ">>": lambda a, b, bits: a >> (b & (bits - 1)),
}


def integer_case(rng: random.Random) -> str:
    """An assertion about one operator with operands that the compiler cannot see."""
    name, bits, signed = rng.choice(TYPES)
    a, b = (
        wrap(rng.choice([rng.choice(EDGES), rng.getrandbits(64)]), bits, signed) for _ in range(2)
    )
    op = rng.choice(list(OPERATORS))
    if op in "/%" and b == 0:
        b = 3
    expected = wrap(OPERATORS[op](a, b, bits), bits, signed)
    hidden = [f"{name}(hide(0x{n & (2**64 - 1):X}))" for n in (a, b)]
    return f"assert(({hidden[0]} {op} {hidden[1]}) == {name}(hide(0x{expected & (2**64 - 1):X})))"


def some_float(rng: random.Random) -> float:
    """A float of any size, more often one that people print."""
    kind = rng.randrange(4)
    if kind == 0:
        value = struct.unpack("<d", rng.randbytes(8))[0]
        return float(value) if math.isfinite(value) else 0.0
    if kind == 1:
        return float(rng.randrange(-2_000_000, 2_000_000))
    return rng.uniform(-1, 1) * 10.0 ** rng.randrange(-6, 12)


def general_case(rng: random.Random) -> str:
    """%g; a last digit that floats cannot decide (a tie within rounding) is left out."""
    value = some_float(rng)
    if f"{value:g}" != f"{math.nextafter(value, math.inf):g}" or "e-3" in f"{value:g}":
        value = 1.25
    return f'assert(shows("{value:g}", "{{}}", float_of(0x{bits_of(value):X})))'


def fixed_case(rng: random.Random) -> str:
    value = rng.uniform(-1, 1) * 10.0 ** rng.randrange(-3, 9)
    digits = rng.randrange(1, 7)
    return f'assert(shows("{value:.{digits}f}", "{{:.{digits}}}", float_of(0x{bits_of(value):X})))'


def bits_of(value: float) -> int:
    return int(struct.unpack("<Q", struct.pack("<d", value))[0])


HELPERS = """
fn hide(x: u64) -> u64 { return volatile_load(&x) }
fn float_of(bits: u64) -> float { return volatile_load(ptr[float](&bits)) }
fn shows(expected: str, text: str...) -> bool { return text == expected }
"""


@pytest.mark.parametrize("opt", [0, 2])
@pytest.mark.parametrize("case", [integer_case, general_case, fixed_case])
def test_agrees_with_python(case: object, opt: int) -> None:
    assert callable(case)
    rng = random.Random(case.__name__)
    cases = [case(rng) for _ in range(240)]
    groups = [cases[i : i + 20] for i in range(0, len(cases), 20)]
    blocks = [f'test "{i}" {{\n' + "\n".join(group) + "\n}\n" for i, group in enumerate(groups)]
    source = Source("random.kern", "random", HELPERS + "".join(blocks))
    results = testing.run(testing.build([source], opt=opt), run_on_machine)
    lines = source.text.splitlines()
    failed = [lines[int(r.message.split(":")[1]) - 1] for r in results if not r.passed]
    assert failed == []
