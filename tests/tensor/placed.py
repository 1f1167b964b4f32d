"""A drawn case in a bench's memory: placed, executed, and its results compared.

With a generator of random numbers operands are placed as unfavourably as a program may place them:
dimensions in any order in memory, backwards, with gaps, at odd addresses, on scattered pages.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from emu.cpu.tensor import execute
from emu.cpu.tensor.descriptor import Descriptor, DType, dense_strides
from emu.cpu.tensor.reference import Array
from emu.isa.xaitensor.signature import Operand
from tests.tensor.bench import BASE, NUMPY, PAGE, Bench, bf16_to_f32, descriptor
from tests.tensor.drawn import FIRST_EXTRA, Case

_SHUFFLED = 256
"""Pages of a scattered case's memory."""
_MANTISSA = {"f64": 52, "f32": 23, "f16": 10, "bf16": 7}
_LEAST = {"f64": -1074, "f32": -149, "f16": -24, "bf16": -133}


def ulp(value: float, dtype: DType) -> float:
    """The distance between floats of a type near a value."""
    exponent = math.frexp(value)[1] - 1 if value else -2000
    return math.ldexp(1.0, max(exponent - _MANTISSA[dtype.name], _LEAST[dtype.name]))


def compare(case: Case, got: np.ndarray, want: Array, ulps: float) -> None:  # type: ignore[type-arg]
    """Raise AssertionError, showing the case, where `got` is not `want`."""
    declaration = case.declaration
    pairs = list(zip(got.ravel().tolist(), want.elements, strict=True))
    finite = [abs(w) for _, w in pairs if math.isfinite(w)]
    largest = max(finite, default=0.0)
    for place, (g, w) in enumerate(pairs):
        same = g == w or (g != g and w != w)
        if not same and want.dtype.kind == "float" and math.isfinite(w):
            scale = w if declaration.elementwise else largest
            same = abs(g - w) <= ulps * ulp(scale, want.dtype)
        assert same, (
            f"{declaration.mnemonic}: element {place} of {want.dims} is {g}, not {w}; "
            f"{case.dims} {[d.name for d in case.dtypes.values()]} {case.at}"
        )


def scattered(array: Any, rng: random.Random) -> Any:
    """An equal array whose dimensions lie in another order, some backwards or with gaps."""
    if not array.ndim:
        return array
    order = list(range(array.ndim))
    rng.shuffle(order)
    steps = [rng.choice([1, 1, 1, -1, 2, -3]) for _ in order]
    extents = [array.shape[d] * abs(step) for d, step in zip(order, steps, strict=True)]
    room = np.full(extents, 0x5A, np.uint8).astype(array.dtype)
    part = room[tuple(slice(None, None, step) for step in steps)]
    part = part[tuple(slice(0, array.shape[d]) for d in order)]
    result = part.transpose([order.index(d) for d in range(array.ndim)])
    result[...] = array
    return result


class Placed:
    """A case in memory: td, ts1 and ts2 in tr0 to tr2, extra operands from `FIRST_EXTRA` on.

    With `rng` the operands lie scattered; without `elements` nowhere at all.
    """

    def __init__(
        self, case: Case, rng: random.Random | None = None, *, elements: bool = True
    ) -> None:
        self.case, self.bench, self.rng = case, Bench(), rng
        if rng is not None:
            pages = list(range(BASE // PAGE, BASE // PAGE + _SHUFFLED))
            self.bench.pages = dict(zip(pages, rng.sample(pages, len(pages)), strict=True))
        self.tensors: dict[str, Descriptor] = {}
        for operand in case.declaration.operands:
            if operand.name in case.dims:
                self.tensors[operand.name] = (
                    self._place(operand) if elements else self._form(operand)
                )
        self.block = 0
        if case.at.given:
            self.block = self.bench.take(128, 128)
            self.bench.write(self.block, case.at.encode())

    def _place(self, operand: Operand) -> Descriptor:
        dims, dtype = self.case.dims[operand.name], self.case.dtypes[operand.name]
        if operand.written:
            values = np.full(dims, 0x5A, np.uint8).astype(NUMPY[dtype.name])
        else:
            values = _as_numpy(self.case.sources[operand.name])
        if self.rng is None:
            return self.bench.place(values, dtype.name)
        offset = self.rng.choice([0, 1, 3, PAGE - 16])
        tensor = self.bench.place(scattered(values, self.rng), dtype.name, offset=offset)
        self.bench.take(offset)
        return tensor

    def _form(self, operand: Operand) -> Descriptor:
        """A descriptor of elements that are not there."""
        dims, dtype = self.case.dims[operand.name], self.case.dtypes[operand.name]
        strides = [s // dtype.size for s in dense_strides(dims, dtype.size)]
        return descriptor(BASE, dtype.name, dims, strides)

    def execute(self) -> None:
        """Execute it with the descriptors as they are in `tensors`."""
        declaration = self.case.declaration
        for operand in declaration.operands:
            if operand.name in self.tensors:
                self.bench.tr[register_of(operand)] = self.tensors[operand.name]
        operands = [*range(1 + declaration.form.sources)]
        if declaration.form.block:
            operands.append(self.block)
        execute(self.bench, declaration.mnemonic, *operands)

    def results(self) -> list[Any]:
        """The elements of the results, in the order of the signature."""
        found = []
        for operand in self.case.declaration.results:
            if operand.name in self.tensors:
                array = self.bench.array(self.tensors[operand.name])
                is_bf16 = self.case.dtypes[operand.name].name == "bf16"
                found.append(bf16_to_f32(array) if is_bf16 else array)
        return found

    def compare(self, expected: Sequence[Array] | None = None) -> None:
        """Raise AssertionError where a result is not what the case expects."""
        expected = self.case.expected() if expected is None else expected
        for got, want in zip(self.results(), expected, strict=True):
            compare(self.case, got, want, self.case.declaration.ulps)


def _as_numpy(array: Array) -> Any:
    if array.dtype.name == "bf16":
        bits = np.array(array.elements, np.float32).view(np.uint32) >> 16
        return bits.astype(np.uint16).reshape(array.dims)
    return np.array(array.elements, NUMPY[array.dtype.name]).reshape(array.dims)


def register_of(operand: Operand) -> int:
    """The tensor register in which a placed case has an operand."""
    return operand.number if operand.extra is None else FIRST_EXTRA + operand.extra
