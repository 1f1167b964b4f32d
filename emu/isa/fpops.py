"""The floating-point operations that a body may name in `m.fp(...)`: the one complete list.

Formats are IEEE 754 binary32 (`f32`) and binary64 (`f64`), as bit patterns; integers are `i` signed
and `u` unsigned. An operation's meaning is IEEE 754-2019's with RISC-V's choices (unprivileged
specification, chapters 20 and 21): a NaN result is the canonical one, tininess is detected after
rounding, `min` and `max` are minimumNumber and maximumNumber, a conversion to an integer saturates
and raises only the invalid flag when it does. `madd` rounds once: a * b + c. `eq` is quiet, `lt`
and `le` signal on any NaN; the three give one bit.

Boxing is no concern here: bodies take single-precision values out of registers and put them back.
A reading of the table (Python, LLVM IR) checks against `FP_OPS` that it lacks none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class FpOp(NamedTuple):
    """Widths in bits of operands and result; whether the result depends on the rounding mode.

    An operation that is always exact may still be given a mode, because a reserved one makes the
    instruction illegal.
    """

    name: str
    operands: tuple[int, ...]
    result: int
    rounds: bool


def _width(fmt: str) -> int:
    return int(fmt[1:])


def _arithmetic(fmt: str) -> list[FpOp]:
    n = _width(fmt)
    return [
        *(FpOp(f"{fmt}.{op}", (n, n), n, True) for op in ("add", "sub", "mul", "div")),
        FpOp(f"{fmt}.sqrt", (n,), n, True),
        FpOp(f"{fmt}.madd", (n, n, n), n, True),
        *(FpOp(f"{fmt}.{op}", (n, n), n, False) for op in ("min", "max")),
        *(FpOp(f"{fmt}.{op}", (n, n), 1, False) for op in ("eq", "lt", "le")),
    ]


def _conversion(source: str, target: str, rounds: bool) -> FpOp:
    return FpOp(f"{source}.to_{target}", (_width(source),), _width(target), rounds)


_INTEGERS = ("i32", "u32", "i64", "u64")

FP_OPS: dict[str, FpOp] = {
    op.name: op
    for op in (
        *_arithmetic("f32"),
        *_arithmetic("f64"),
        *(_conversion(f, i, True) for f in ("f32", "f64") for i in _INTEGERS),
        *(_conversion(i, "f32", True) for i in _INTEGERS),
        *(_conversion(i, "f64", i in ("i64", "u64")) for i in _INTEGERS),
        _conversion("f64", "f32", True),
        _conversion("f32", "f64", False),
    )
}


class _Wide(Protocol):
    @property
    def width(self) -> int: ...


def check(name: str, width: int, operands: Sequence[_Wide], rounds: bool) -> None:
    """Raise ValueError unless the operation `name` takes such operands and gives `width` bits."""
    op = FP_OPS.get(name)
    if op is None:
        raise ValueError(f"there is no floating-point operation '{name}'")
    if tuple(o.width for o in operands) != op.operands or width != op.result:
        raise ValueError(f"'{name}' wants operands of {op.operands} and a result of {op.result}")
    if op.rounds and not rounds:
        raise ValueError(f"'{name}' rounds and needs a rounding mode")
