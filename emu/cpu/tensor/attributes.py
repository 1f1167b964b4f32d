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
_FORM = struct.Struct("<BB6xIIiIff4I4I4I4i4iI12s")
_COUNT_INCLUDE_PAD, _KEEP_DIMS = 1, 2


@dataclass(frozen=True)
class Attributes:
    """An attribute block. Without one: no bias, no activation, axis -1, windows of step 1."""

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
    form: bytes = b""
    """The block as it stands in memory: what tells two of them apart (0.0 and -0.0 are equal)."""

    @property
    def count_include_pad(self) -> bool:
        return bool(self.flags & _COUNT_INCLUDE_PAD)

    @property
    def keep_dims(self) -> bool:
        return bool(self.flags & _KEEP_DIMS)

    def numbers(self, defaults: tuple[float, float]) -> tuple[float, float]:
        """alpha and beta: the block's, or an instruction's defaults where there is no block."""
        return (self.alpha, self.beta) if self.given else defaults

    def windows(self, extents: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...] | None:
        """How many windows of `kernel` taps fit along each spatial extent, padding included; None
        when one does not fit at all or a pad takes elements away."""
        counts = []
        for i, (extent, taps) in enumerate(zip(extents, kernel, strict=True)):
            if min(self.pad_begin[i], self.pad_end[i]) < 0 or taps < 1:
                return None
            reach = (taps - 1) * self.dilation[i] + 1
            rest = extent + self.pad_begin[i] + self.pad_end[i] - reach
            if rest < 0:
                return None
            counts.append(rest // self.stride[i] + 1)
        return tuple(counts)

    @classmethod
    def parse(cls, form: bytes) -> Attributes:
        """Read a block. Raises ValueError when a field has no meaning or a reserved byte is set."""
        activation, bias, groups, flags, axis, rank, alpha, beta, *rest = _FORM.unpack(form)
        windows = [tuple(rest[at : at + 4]) for at in range(0, 20, 4)]
        if any(rest[21]) or any(form[2:8]):
            raise ValueError("a reserved byte of the attribute block is not zero")
        if activation >= len(ACTIVATIONS) or bias > 16 or flags > 3 or rank > SPATIAL_MAX:
            raise ValueError("a field of the attribute block has no meaning")
        kernel, stride, dilation, pad_begin, pad_end = windows
        return cls(
            True, activation, bias, groups or 1, flags, axis, rank, alpha, beta, kernel,
            tuple(s or 1 for s in stride), tuple(d or 1 for d in dilation),
            pad_begin, pad_end, rest[20], form,
        )  # fmt: skip

    def encode(self) -> bytes:
        """The block's bytes."""
        return _FORM.pack(
            self.activation, self.bias, self.groups, self.flags, self.axis, self.spatial_rank,
            self.alpha, self.beta, *self.kernel, *self.stride, *self.dilation, *self.pad_begin,
            *self.pad_end, self.axes, bytes(12),
        )  # fmt: skip
