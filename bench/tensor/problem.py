"""What a row of the benchmark computes, said once for everybody who computes it.

A `Problem` has the instructions for the emulated machine, the same thing as ONNX nodes for the
other engines and perhaps as a NumPy call, and what is right. A `Case` is a row: its name, how it is
judged, and a function that makes the problem when its turn comes, since some take a second and
hundreds of megabytes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


@dataclass(frozen=True)
class Instruction:
    """One tensor instruction. Arrays may have any strides and share memory; so they do in the
    machine."""

    mnemonic: str
    sources: tuple[Array, ...]
    extras: tuple[Array | None, ...] = ()
    """Operands that the attribute block names, the bias first; None where one is left out."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `emu.cpu.tensor.attributes.Attributes`; without any, and no extras, no block."""
    result: Array | None = None
    """Where an intermediate result goes; None for the problem's result."""


@dataclass(frozen=True)
class Node:
    """An ONNX node; names of values are separated by spaces."""

    operator: str
    inputs: str
    output: str = "y"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Problem:
    """Something to compute, with its data."""

    instructions: tuple[Instruction, ...]
    """In this order; the last one gives the result."""
    shape: tuple[int, ...]
    dtype: DTypeLike
    """Of the result."""
    expected: Callable[[], Array]
    """What is right, computed with more precision than the result has."""
    tolerance: float
    """Greatest error, as a part of the greatest magnitude in the result."""
    inputs: Mapping[str, Array]
    """What ONNX nodes are given at run time."""
    nodes: tuple[Node, ...]
    """They compute the value `y`."""
    weights: Mapping[str, Array] = field(default_factory=dict)
    """What ONNX nodes find in the model, so that an engine may prepare it beforehand."""
    numpy: Callable[[Array], object] | None = None
    """NumPy's way, into the array that is given; None where it has no single call for it."""
    openvino: Callable[[], Any] | None = None
    """A model of OpenVINO's own, where its reader of ONNX makes something slow of the nodes."""


@dataclass(frozen=True)
class Case:
    """A row. `work` is in operations, a fused multiply-add being two, and so is any other vector
    instruction, which takes its place; `traffic` is in bytes: every operand and the result once."""

    name: str
    family: str
    make: Callable[[], Problem]
    work: float
    traffic: float
    roof: str
    """What it is held against: 'fma', 'int8', 'read', or 'triad', which stands for whichever of
    triad and fma leaves it less."""
    counts: frozenset[str] = frozenset()
    """Figures of the summary that it has a part in, besides the means over all rows."""

    def amount(self, roof: str) -> float:
        """What the row has to do, in the unit of a roof."""
        return self.work if roof in ("fma", "int8") else self.traffic

    @property
    def array_bytes(self) -> int:
        """How large the arrays of a roof loop over memory are to be."""
        return max(1 << 20, int(self.traffic) // (3 if self.roof == "triad" else 1) // 4096 * 4096)


def random(*shape: int) -> NDArray[np.float32]:
    """Normally distributed f32, the same in every run."""
    return np.random.default_rng(sum(shape)).standard_normal(shape, np.float32)


def wide(array: Array) -> Array:
    """An array in f64."""
    return array.astype(np.float64)
