"""The routines that LLVM calls and no Kern program can: 128-bit division, against Python."""

from __future__ import annotations

import random

from llvmlite import binding

from toolchain.cli.test import run_on_machine
from toolchain.kern import backend, testing
from toolchain.kern.diagnostics import Source

OPERATIONS = {"udiv": False, "urem": False, "sdiv": True, "srem": True}

HELPERS = """
extern fn udiv(a: u64, b: u64, c: u64, d: u64, shift: int) -> u64
extern fn urem(a: u64, b: u64, c: u64, d: u64, shift: int) -> u64
extern fn sdiv(a: u64, b: u64, c: u64, d: u64, shift: int) -> u64
extern fn srem(a: u64, b: u64, c: u64, d: u64, shift: int) -> u64
"""


def wide_divisions() -> bytes:
    """An object with a function an operation: operands as (high, low) halves, and which half of
    the result is wanted, as a shift."""
    text = f'target triple = "{backend.TRIPLE}"\n'
    for name in OPERATIONS:
        text += f"""
define i64 @{name}(i64 %nh, i64 %nl, i64 %dh, i64 %dl, i64 %shift) {{
  %nh1 = zext i64 %nh to i128
  %nl1 = zext i64 %nl to i128
  %dh1 = zext i64 %dh to i128
  %dl1 = zext i64 %dl to i128
  %nh2 = shl i128 %nh1, 64
  %dh2 = shl i128 %dh1, 64
  %n = or i128 %nh2, %nl1
  %d = or i128 %dh2, %dl1
  %r = {name} i128 %n, %d
  %s = zext i64 %shift to i128
  %h = lshr i128 %r, %s
  %t = trunc i128 %h to i64
  ret i64 %t
}}
"""
    return bytes(backend.target_machine(2).emit_object(binding.parse_assembly(text)))


def expected(name: str, n: int, d: int) -> int:
    if OPERATIONS[name]:
        n, d = ((v ^ 1 << 127) - (1 << 127) for v in (n, d))
    quotient = abs(n) // abs(d) * (1 if (n < 0) == (d < 0) else -1)
    return (quotient if name.endswith("div") else n - quotient * d) & ((1 << 128) - 1)


def test_128_bit_division_agrees_with_python() -> None:
    rng = random.Random(128)
    text = HELPERS + 'test "divisions" {\n'
    for _ in range(60):
        name = rng.choice(list(OPERATIONS))
        n = rng.getrandbits(128) >> rng.choice([0, 0, 1, 64])
        d = (rng.getrandbits(128) >> rng.randrange(120)) or 1
        result = expected(name, n, d)
        halves = ", ".join(f"0x{v >> shift & (2**64 - 1):X}" for v in (n, d) for shift in (64, 0))
        for shift in (0, 64):
            text += f"assert({name}({halves}, {shift}) == 0x{result >> shift & (2**64 - 1):X})\n"
    source = Source("wide.kern", "wide", text + "}\n")
    (result_,) = testing.run(testing.build([source], [wide_divisions()]), run_on_machine)
    assert result_.passed, text.splitlines()[int(result_.message.split(":")[1]) - 1]
