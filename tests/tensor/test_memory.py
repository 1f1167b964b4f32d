"""Where operands lie: scattered pages, forbidden pages, gaps, the end of RAM, overlaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.tensor.descriptor import F32, Descriptor, View, dense
from emu.cpu.tensor.faults import Cause, Operand
from emu.cpu.tensor.operands import first_touched
from emu.cpu.traps import Trap
from tests.tensor.bench import BASE, PAGE, SIZE, Bench, descriptor

ELEMENTS = 3 * PAGE // 4  # three pages of f32
X = np.arange(ELEMENTS, dtype=np.float32)


def scattered(bench: Bench, pages: int) -> int:
    """A virtual range whose physical pages lie apart and in reverse."""
    first = bench.take((2 * pages + 2) * PAGE, PAGE) // PAGE
    virtual = 0x4000_0000 // PAGE + first
    for i in range(pages):
        bench.pages[virtual + i] = first + 2 * (pages - i)
    return virtual * PAGE


def test_scattered_pages_give_the_same_result() -> None:
    bench = Bench()
    x = bench.place(X, address=scattered(bench, 4) + 100)
    y = bench.place(X, address=scattered(bench, 4) + 1)
    target = bench.empty(X.shape, "f32", address=scattered(bench, 4) + 6)
    bench.execute("tadd", target, x, y)
    np.testing.assert_array_equal(bench.array(target), X + X)


def test_a_product_over_scattered_pages() -> None:
    bench = Bench()
    a = X[: 50 * 40].reshape(50, 40) / 100
    b = X[: 40 * 60].reshape(40, 60) / 100
    target = bench.empty((50, 60), "f32", address=scattered(bench, 4) + 8)
    x, y = (bench.place(v, address=scattered(bench, 4)) for v in (a, b))
    bench.execute("tmatmul", target, x, y)
    np.testing.assert_allclose(bench.array(target), a @ b, rtol=1e-5)


def test_bytes_between_the_elements_of_a_scattered_destination_stay() -> None:
    bench = Bench()
    address = scattered(bench, 4)
    bench.write(address, b"\xaa" * (3 * PAGE))
    target = descriptor(address, "f32", (ELEMENTS // 2,), [2])
    bench.execute("tcopy", target, bench.place(X[::2]))
    words = np.frombuffer(bench.read(address, 3 * PAGE), np.float32)
    np.testing.assert_array_equal(words[::2], X[::2])
    assert bytes(words[1::2].tobytes()) == b"\xaa" * (len(words) // 2 * 4)


@pytest.mark.parametrize(("access", "cause"), [("load", 13), ("store", 15)])
def test_a_page_without_rights_traps_at_its_first_byte_and_nothing_is_written(
    access: str, cause: int
) -> None:
    bench = Bench()
    source, target = (bench.take(4 * PAGE, PAGE) + 40 for _ in range(2))
    x, y = bench.place(X, address=source), bench.empty(X.shape, "f32", address=target)
    before = bench.array(y)
    fault = (source if access == "load" else target) // PAGE + 2
    bench.forbidden[fault, access] = cause
    with pytest.raises(Trap) as trap:
        bench.execute("trelu", y, x)
    assert (trap.value.cause, trap.value.tval) == (cause, fault * PAGE)
    np.testing.assert_array_equal(bench.array(y), before)
    bench.forbidden.clear()
    bench.execute("trelu", y, x)  # the instruction can be executed again
    np.testing.assert_array_equal(bench.array(y), X)


def test_a_page_in_which_no_element_lies_needs_no_rights() -> None:
    bench = Bench()
    start = bench.take(5 * PAGE, PAGE)
    view = np.lib.stride_tricks.as_strided(np.zeros(4 * PAGE // 4, np.float32), (2,), (3 * PAGE,))
    x = bench.place(view, address=start)
    bench.write(start + 3 * PAGE, np.float32(5).tobytes())
    bench.forbidden[start // PAGE + 1, "load"] = 13
    bench.forbidden[start // PAGE + 2, "store"] = 15
    target = descriptor(start + 16, "f32", (2,), [3 * PAGE // 4])
    bench.execute("tcopy", target, x)
    np.testing.assert_array_equal(bench.array(target), [0, 5])


@pytest.mark.parametrize("base", [0x1000_0000, BASE + SIZE - 8])
def test_what_is_not_ram_is_an_access_fault(base: int) -> None:
    bench = Bench()
    outside = descriptor(base, "f32", (4,), [1])
    first = max(base, BASE + SIZE) if base > BASE else base
    inside = bench.place(X[:4])
    with pytest.raises(Trap) as load:
        bench.execute("tcopy", inside, outside)
    with pytest.raises(Trap) as store:
        bench.execute("tcopy", outside, inside)
    assert (load.value.cause, load.value.tval) == (5, first)
    assert (store.value.cause, store.value.tval) == (7, first)


def test_an_empty_tensor_touches_nothing() -> None:
    bench = Bench()
    nowhere = descriptor(0, "f32", (0, 4), [4, 1])
    bench.execute("tadd", nowhere, nowhere, nowhere)


@given(st.integers(-40, 40), st.sampled_from([1, 2, -1]), st.sampled_from([1, -1, 2]))
def test_overlapping_operands_give_the_result_of_copies(shift: int, step: int, back: int) -> None:
    bench = Bench()
    memory = bench.take(400, 64)
    bench.write(memory, X[:100].tobytes())
    source = descriptor(memory + 200, "f32", (20,), [step])
    target = descriptor(memory + 200 + shift, "f32", (20,), [back])
    values = bench.array(source)
    bench.execute("tadd", target, source, source)
    np.testing.assert_array_equal(bench.array(target), values + values)


@given(st.data())
def test_first_touched_finds_the_lowest_byte_in_a_range(data: st.DataObject) -> None:
    rank = data.draw(st.integers(0, 3))
    dims = tuple(data.draw(st.integers(1, 4)) for _ in range(rank))
    strides = tuple(data.draw(st.integers(-12, 12)) for _ in range(rank))
    view = View(200, F32, dims, strides)
    starts = [200]
    for extent, stride in zip(dims, strides, strict=True):
        starts = [s + i * stride for s in starts for i in range(extent)]
    touched = {s + b for s in starts for b in range(4)}
    low = data.draw(st.integers(0, 400))
    high = low + data.draw(st.integers(1, 60))
    expected = min((t for t in touched if low <= t < high), default=None)
    assert first_touched(view, low, high) == expected


def far_apart(bench: Bench, distance: int) -> Descriptor:
    """Two elements in RAM, at virtual addresses that lie far apart."""
    page = bench.take(PAGE, PAGE) // PAGE
    bench.pages[page + distance // PAGE] = page + 1
    bench.take(PAGE, PAGE)
    bench.write(page * PAGE, X[1:2].tobytes())
    bench.write(page * PAGE + distance, X[2:3].tobytes())
    return descriptor(page * PAGE, "f32", (2,), [distance // 4])


def test_far_apart_elements_are_found_without_walking_the_gap() -> None:
    bench = Bench()
    target = bench.empty((2,), "f32")
    bench.execute("tcopy", target, far_apart(bench, 1 << 38))
    assert bench.array(target).tolist() == [1, 2]


def test_scattered_elements_further_apart_than_a_terabyte_are_refused() -> None:
    bench = Bench()
    with pytest.raises(Trap):
        bench.execute("tcopy", bench.empty((2,), "f32"), far_apart(bench, 1 << 41))
    assert (bench.tcause, bench.toperand) == (Cause.DESCRIPTOR, Operand.FIRST)


def test_dense_views_know_that_they_are() -> None:
    assert dense(0, F32, (2, 3)).is_dense()
    assert not dense(0, F32, (2, 3)).permuted((1, 0)).is_dense()
