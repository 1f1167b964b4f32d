"""The attribute block: 128 bytes in guest memory with what an instruction needs besides tensors.

Its address is in an x register, 0 meaning that every attribute has its default. Fields that an
instruction does not use are ignored, reserved bytes must be zero. `docs/tensor.md` describes them;
the layout in bytes stands here and only here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from emu.cpu.tensor.semantics import ACTIVATIONS

SIZE = 128
"""Bytes of a block, and its alignment."""
SPATIAL_MAX = 3
EXTRAS = 7
"""Extra operands that a block may name."""
_FORM = struct.Struct("<B7BIIiIff4I4I4I4i4iIB3sfI")
_COUNT_INCLUDE_PAD, _KEEP_DIMS = 1, 2


@dataclass(frozen=True)
class Attributes:
    """An attribute block. Without one: no extra operands, no activation, axis -1, step 1."""

    given: bool = False
    activation: int = 0
    bias: int = 0
    groups: int = 1
    flags: int = 0
    axis: int = -1
    spatial_rank: int = 0
    alpha: float = 0.0
    beta: float = 0.0
    kernel: tuple[int, ...] = (0,) * 4
    stride: tuple[int, ...] = (1,) * 4
    dilation: tuple[int, ...] = (1,) * 4
    pad_begin: tuple[int, ...] = (0,) * 4
    pad_end: tuple[int, ...] = (0,) * 4
    axes: int = 0
    extras: tuple[int, ...] = (0,) * (EXTRAS - 1)
    mode: int = 0
    gamma: float = 0.0
    count: int = 0
    form: bytes = b""
    """The block as it stands in memory: what tells two of them apart (0.0 and -0.0 are equal)."""

    @property
    def registers(self) -> tuple[int, ...]:
        """Of the extra operands, the bias first: number of the tensor register plus 1, or 0."""
        return (self.bias, *self.extras)

    @property
    def count_include_pad(self) -> bool:
        return bool(self.flags & _COUNT_INCLUDE_PAD)

    @property
    def keep_dims(self) -> bool:
        return bool(self.flags & _KEEP_DIMS)

    @classmethod
    def parse(cls, form: bytes) -> Attributes:
        """Read a block. Raises ValueError when a field has no meaning or a reserved byte is set."""
        activation, *rest = _FORM.unpack(form)
        bias, *extras = rest[:EXTRAS]
        groups, flags, axis, rank, alpha, beta, *rest = rest[EXTRAS:]
        windows = [tuple(rest[at : at + 4]) for at in range(0, 20, 4)]
        axes, mode, reserved, gamma, count = rest[20:]
        if any(reserved):
            raise ValueError("a reserved byte of the attribute block is not zero")
        if activation >= len(ACTIVATIONS) or max(bias, *extras) > 16 or rank > SPATIAL_MAX:
            raise ValueError("a field of the attribute block has no meaning")
        kernel, stride, dilation, pad_begin, pad_end = windows
        return cls(
            True, activation, bias, groups or 1, flags, axis, rank, alpha, beta, kernel,
            tuple(s or 1 for s in stride), tuple(d or 1 for d in dilation),
            pad_begin, pad_end, axes, tuple(extras), mode, gamma, count, form,
        )  # fmt: skip

    def encode(self) -> bytes:
        """The block's bytes."""
        return _FORM.pack(
            self.activation, self.bias, *self.extras, self.groups, self.flags, self.axis,
            self.spatial_rank, self.alpha, self.beta, *self.kernel, *self.stride, *self.dilation,
            *self.pad_begin, *self.pad_end, self.axes, self.mode, bytes(3), self.gamma, self.count,
        )  # fmt: skip
