"""What is known about a register of 32 lanes while a kernel is lifted: its `Kind`.

A kind says how the lanes' values differ (`shape`), how they are kept (`form`) and what else helps:

* `CONST`: all lanes have the number `const`; `UNIFORM`: all have the same, one scalar; `AFFINE`:
  lane k has base + k * `stride`, one scalar too; `VECTOR`: each its own.
* A value of 64 bits that is the sign extension of 32 bits is kept as those 32 (`form` "s", `part`
  32), likewise a zero extension ("z") and a boxed single ("b": ones above). `form` "" keeps all.
* `nan` says what a NaN looks like. Arithmetic on the host gives NaNs of any payload, RISC-V only
  the canonical one, so such a result is ROUGH until somebody looks at its bits.

Kinds are ordered from more to less knowledge; `join` gives what holds for both of two.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum
from functools import lru_cache
from typing import Any

from emu.devices.gpu.dispatch import PRIVATE_BASE

TARGETS_MAX = 16
"""Numbers that a value is remembered to be one of: return addresses of a function's callers."""


class Shape(IntEnum):
    """How the lanes' values differ."""

    CONST = 0
    UNIFORM = 1
    AFFINE = 2
    VECTOR = 3


class Nan(IntEnum):
    """What is known of a float's bits where it is a NaN."""

    EXACT = 0
    """The bits are what they are."""
    CLEAN = 1
    """A NaN, if it is one, is the canonical one."""
    ROUGH = 2
    """A NaN stands for the canonical one, whatever its bits."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What is known of a value of `width` bits in every lane."""

    width: int
    shape: Shape = Shape.VECTOR
    const: int = 0
    stride: int = 0
    form: str = ""
    part: int = 0
    nan: Nan = Nan.EXACT
    quiet: int = 0
    """What a rough NaN stands for; 0 is the canonical one."""
    stack: int | None = None
    """The value is the initial stack pointer plus this; then it is kept nowhere."""
    private: bool = False
    """It may be an address in private memory, where equal addresses are different places."""
    targets: frozenset[int] | None = None
    """It is one of these."""
    local: bool = False
    """It was written by a part of the warp, and the warp has not been together since."""

    @property
    def bits(self) -> int:
        """Width of what is kept."""
        return self.part or self.width

    @property
    def is_scalar(self) -> bool:
        """Whether one number describes all lanes."""
        return self.shape is not Shape.VECTOR

    @property
    def is_kept(self) -> bool:
        """Whether there is anything to keep besides the kind."""
        return self.shape is not Shape.CONST and self.stack is None


def const(value: int, width: int = 64) -> Kind:
    """The kind of a constant, taken modulo 2**width."""
    value &= (1 << width) - 1
    private = width == 64 and value >> 49 == PRIVATE_BASE >> 49
    return Kind(width, Shape.CONST, value, private=private)


def _is_nan(kind: Kind) -> bool:
    """Whether a constant is a NaN as a float of its width, or boxed."""
    if kind.width == 64 and kind.const >> 32 == 0xFFFF_FFFF:
        return kind.const & 0x7FFF_FFFF > 0x7F80_0000
    return kind.width == 64 and kind.const & (1 << 63) - 1 > 0x7FF << 52


def _fits(value: int, form: str, part: int) -> bool:
    """Whether a constant of 64 bits is the extension of its low `part` bits."""
    high, sign = value >> part, value >> (part - 1) & 1
    ones = (1 << (64 - part)) - 1
    return {"s": high == ones * sign, "z": high == 0, "b": high == ones}[form]


def settled(kind: Kind) -> Kind:
    """The kind in which a value crosses from block to block: whole, or 32 bits and a form."""
    if kind.part and kind.part < 32:
        return replace(kind, form="s", part=32)
    return kind


def scattered(kind: Kind) -> Kind:
    """As a vector, without what only one number for all lanes can be."""
    if kind.shape is Shape.CONST:
        form = next((f for f in "sb" if _fits(kind.const, f, 32)), "")
        nan = Nan.EXACT if _is_nan(kind) else Nan.CLEAN
        known = frozenset((kind.const,))
        return Kind(
            64, form=form, part=32 if form else 0, nan=nan, targets=known, private=kind.private
        )
    return replace(kind, shape=Shape.VECTOR, stride=0, stack=None)


def join(a: Kind, b: Kind) -> Kind:
    """What holds for a register of 64 bits that has the kind `a` or `b`, both settled."""
    if a == b:
        return a
    local = a.local or b.local
    if replace(a, local=local) == replace(b, local=local):
        return replace(a, local=local)
    shape = max(a.shape, b.shape)
    if a.stack is not None or b.stack is not None:
        shape = Shape.VECTOR if Shape.VECTOR in (a.shape, b.shape) else Shape.UNIFORM
    if shape is Shape.CONST:
        shape = Shape.UNIFORM
    if shape is Shape.AFFINE and (a.shape is not b.shape or a.stride != b.stride):
        shape = Shape.VECTOR
    if local:
        shape = Shape.VECTOR
    form, part = _common_form(a, b)
    nan = _common_nan(a, b, form) if a.quiet == b.quiet else Nan.EXACT
    targets = _targets(a), _targets(b)
    union = targets[0] | targets[1] if targets[0] and targets[1] else None
    return Kind(
        64, shape,
        stride=a.stride if shape is Shape.AFFINE else 0,
        form=form, part=part, nan=nan, quiet=a.quiet if nan is Nan.ROUGH else 0,
        private=a.private or b.private,
        targets=union if union and len(union) <= TARGETS_MAX else None,
        local=local,
    )  # fmt: skip


def _targets(kind: Kind) -> frozenset[int] | None:
    return frozenset((kind.const,)) if kind.shape is Shape.CONST else kind.targets


def _common_form(a: Kind, b: Kind) -> tuple[str, int]:
    """The form that both values have."""
    forms = [k.form for k in (a, b) if k.shape is not Shape.CONST]
    if not forms:
        both = [f for f in "sb" if all(_fits(k.const, f, 32) for k in (a, b))]
        return (both[0], 32) if both else ("", 0)
    form = forms[0]
    same = len(forms) == 1 or forms[0] == forms[1]
    fits = all(_fits(k.const, form, 32) for k in (a, b) if k.shape is Shape.CONST) if form else True
    return (form, 32) if form and same and fits else ("", 0)


def _common_nan(a: Kind, b: Kind, form: str) -> Nan:
    """ROUGH only if making a NaN canonical changes neither."""
    states = []
    for kind in (a, b):
        if kind.shape is Shape.CONST:
            states.append(Nan.EXACT if _is_nan(kind) else Nan.CLEAN)
        else:
            states.append(kind.nan if kind.form == form else Nan.EXACT)
    return Nan.EXACT if Nan.EXACT in states else max(states)


@dataclass(frozen=True, slots=True)
class Value:
    """A kind and, unless it says all, the LLVM value: a scalar, or a vector of all lanes. While
    kinds are being found there is no such value, and `data` is None."""

    kind: Kind
    data: Any = None

    @property
    def width(self) -> int:
        return self.kind.width

    @property
    def shape(self) -> Shape:
        return self.kind.shape

    def number(self) -> int | None:
        """The value where it is a constant."""
        return self.kind.const if self.kind.shape is Shape.CONST else None


@lru_cache(1 << 12)
def constant(value: int, width: int = 64) -> Value:
    """A constant value."""
    return Value(const(value, width))
