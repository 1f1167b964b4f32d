"""No tensor instruction holds the host up or takes its memory: what asks for too much is refused,
before anything is written."""

from __future__ import annotations

import time

import numpy as np
import pytest

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import Descriptor
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause
from emu.cpu.traps import Trap
from tests.tensor.bench import BASE, PAGE, SIZE, Array, Bench, descriptor

MIDDLE = BASE + SIZE // 2


def refused(bench: Bench, mnemonic: str, *tensors: Descriptor, **options: Attributes) -> int:
    """Execute, expect a trap within seconds and the destination unchanged; the trap's cause."""
    before = bytes(bench.memory.buffer[SIZE // 2 :])
    start = time.monotonic()
    with pytest.raises(Trap) as trap:
        bench.execute(mnemonic, *tensors, **options)
    assert time.monotonic() - start < 10
    assert bytes(bench.memory.buffer[SIZE // 2 :]) == before
    return trap.value.cause


def still(dims: tuple[int, ...], dtype: str = "f32") -> Descriptor:
    """One element, repeated by strides of 0."""
    return descriptor(BASE, dtype, dims, [0] * len(dims))


@pytest.mark.parametrize("mnemonic", ["tsum", "tprod", "targmax"])
def test_hours_of_folding_are_refused(mnemonic: str) -> None:
    bench = Bench()
    result = descriptor(MIDDLE, "i64", (1 << 10,), [1])
    source = still((1 << 10, (1 << 32) - 1), "i64")
    options = {"attributes": Attributes(axis=1, axes=2)}
    assert refused(bench, mnemonic, result, source, **options) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT


def test_hours_of_products_are_refused() -> None:
    bench, top = Bench(), (1 << 32) - 1
    result = descriptor(MIDDLE, "f32", (64, 64), [64, 1])
    left, right = still((64, top)), still((top, 64))
    assert refused(bench, "tmatmul", result, left, right) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT
    many = descriptor(MIDDLE, "u8", (1 << 23, 1, 1), [1, 1, 1])
    one = still((1, 1, 1), "u8")
    assert refused(bench, "tmatmul", many, still((1 << 23, 1, 1), "u8"), one) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT


def test_hours_of_windows_are_refused() -> None:
    bench, wide = Bench(), (1 << 31) - 1
    pads = Attributes(pad_begin=(wide, 0, 0, 0), pad_end=(0,) * 4, kernel=(wide, 1, 1, 1))
    result = descriptor(MIDDLE, "f32", (1, 1, 1 << 20), [0, 0, 1])
    source = still((1, 1, (1 << 20) - 1))
    assert refused(bench, "tmaxpool", result, source, attributes=pads) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT
    weights = still((1, 1, wide))
    assert refused(bench, "tconv", result, source, weights, attributes=pads) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT


def test_the_search_for_elements_between_forbidden_pages_ends() -> None:
    bench = Bench()
    bench.forbidden = {((BASE // PAGE) + n, "load"): 13 for n in range(1, SIZE // PAGE, 2)}
    maze = descriptor(BASE, "u8", (1000,) * 4, [2 * PAGE] * 4)
    result = descriptor(MIDDLE, "u8", (), [])
    assert refused(bench, "tsum", result, maze) == TENSOR_EXCEPTION
    assert bench.tcause == Cause.LIMIT


def test_elements_at_the_ends_of_the_address_space_fault_at_once() -> None:
    bench = Bench()
    far = descriptor(BASE, "f64", (2,), [1 << 59])
    assert refused(bench, "tneg", descriptor(MIDDLE, "f64", (2,), [1]), far) == 5
    assert refused(bench, "tneg", far, descriptor(MIDDLE, "f64", (2,), [1])) == 7


@pytest.mark.parametrize("stride", [(1 << 63) - 1, -(1 << 63), 1 << 61])
def test_strides_of_single_elements_may_be_anything(stride: int) -> None:
    bench = Bench()
    ones: Array = np.ones(1, np.float32)
    place = bench.place(ones).base
    single = descriptor(place, "f32", (1, 1), [stride, stride])
    result = descriptor(MIDDLE, "f32", (1, 1), [stride, stride])
    bench.execute("tmatmul", result, single, single)
    assert bench.read(MIDDLE, 4) == ones.tobytes()
    cell = descriptor(place, "f32", (1, 1, 1), [stride] * 3)
    bench.execute("tconv", descriptor(MIDDLE, "f32", (1, 1, 1), [stride] * 3), cell, cell)
    assert bench.read(MIDDLE, 4) == ones.tobytes()
    empty = descriptor(0, "f32", (1, 0), [stride, stride])
    bench.execute("tmatmul", result, empty, descriptor(0, "f32", (0, 1), [stride, stride]))
    assert bench.read(MIDDLE, 4) == bytes(4)
    empty = descriptor(0, "f32", (5, 1, 0), [stride] * 3)
    result = descriptor(MIDDLE, "f32", (5, 1, 1), [1, 1, 1])
    bench.execute("tmatmul", result, empty, descriptor(0, "f32", (0, 1), [stride, stride]))


def test_batches_use_the_same_scratch_memory_again() -> None:
    bench = Bench()
    batch = descriptor(BASE, "f32", (4096, 64, 64), [0, 64, 1])
    result = descriptor(BASE + (1 << 20), "f32", (4096, 9, 64), [9 * 64, 64, 1])
    left = descriptor(BASE, "f32", (4096, 9, 64), [0, 64, 1])
    bench.memory.size = SIZE
    bench.execute("tmatmul", result, left, batch)
