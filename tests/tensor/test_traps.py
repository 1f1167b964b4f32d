"""Every cause of a tensor exception, provoked; and descriptors on their way in and out."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.tensor import execute
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import Descriptor, Field
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand
from emu.cpu.tensor.semantics import ACTIVATIONS, BINARY
from emu.cpu.traps import Trap
from tests.tensor.bench import Bench, descriptor

X = np.arange(12, dtype=np.float32).reshape(3, 4)

DESCRIPTORS = st.builds(
    Descriptor,
    st.integers(0, 2**64 - 1),
    st.integers(0, 255),
    st.integers(0, 255),
    st.lists(st.integers(0, 2**32 - 1), min_size=8, max_size=8),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=8, max_size=8),
)


@given(DESCRIPTORS)
def test_a_register_keeps_whatever_was_loaded(form: Descriptor) -> None:
    bench = Bench()
    there, back = bench.take(128, 128), bench.take(128, 128)
    bench.write(there, form.encode())
    execute(bench, "tld", 3, there)
    execute(bench, "tmv", 4, 3)
    execute(bench, "tst", 4, back)
    assert bench.read(back, 128) == form.encode()
    for number in [0, 1, 2, *range(8, 24)]:
        value = execute(bench, "tget", 3, number)
        execute(bench, "tset", 5, value, number)
    assert bench.tr[5] == form


def fails(bench: Bench, cause: Cause, operand: Operand, address: int | None = None) -> object:
    """A context in which the instruction must raise this tensor exception."""

    class Expected:
        def __enter__(self) -> None:
            self.raises = pytest.raises(Trap)
            self.trap = self.raises.__enter__()

        def __exit__(self, *error: object) -> bool | None:
            done = self.raises.__exit__(*error)  # type: ignore[arg-type]
            assert self.trap.value.cause == TENSOR_EXCEPTION
            assert (bench.tcause, bench.toperand) == (cause, operand)
            assert address is None or self.trap.value.tval == address
            return done

    return Expected()


def test_loading_a_misaligned_descriptor_is_an_alignment_exception() -> None:
    bench = Bench()
    address = bench.take(128, 128) + 8
    for mnemonic in ("tld", "tst"):
        with fails(bench, Cause.ALIGNMENT, Operand.FIRST, address):
            execute(bench, mnemonic, 0, address)


@pytest.mark.parametrize("offset", [10, 15, 112, 127])
def test_reserved_bytes_of_a_descriptor_must_be_zero(offset: int) -> None:
    bench = Bench()
    address = bench.take(128, 128)
    bench.write(address + offset, b"\1")
    with fails(bench, Cause.DESCRIPTOR, Operand.FIRST, address):
        execute(bench, "tld", 0, address)


@pytest.mark.parametrize("number", [3, 7, 24, 31])
def test_a_field_that_does_not_exist_is_refused(number: int) -> None:
    bench = Bench()
    with fails(bench, Cause.DESCRIPTOR, Operand.FIRST):
        execute(bench, "tget", 0, number)
    with fails(bench, Cause.DESCRIPTOR, Operand.DESTINATION):
        execute(bench, "tset", 0, 1, number)


@pytest.mark.parametrize("position", [Operand.DESTINATION, Operand.FIRST, Operand.SECOND])
@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        (Field.DTYPE, 0, Cause.DTYPE),
        (Field.DTYPE, 8, Cause.DTYPE),
        (Field.RANK, 9, Cause.RANK),
        (Field.STRIDES, 1 << 61, Cause.DESCRIPTOR),
        (Field.BASE, (1 << 64) - 8, Cause.DESCRIPTOR),
        (Field.DIMS, 5, Cause.SHAPE),
    ],
)
def test_what_an_operand_may_not_be(
    position: Operand, field: Field, value: int, cause: Cause
) -> None:
    bench = Bench()
    tensors = [bench.empty(X.shape, "f32"), bench.place(X), bench.place(X)]
    tensors[position].set(field, value)
    before = bench.read(tensors[0].base % (1 << 63), 48) if field != Field.BASE else b""
    with pytest.raises(Trap) as trap:
        bench.execute("tadd", *tensors)
    assert trap.value.cause == TENSOR_EXCEPTION
    assert bench.tcause == cause
    if cause != Cause.SHAPE:
        assert bench.toperand == position
    if before:
        assert bench.read(tensors[0].base, 48) == before


def test_extents_whose_product_overflows_are_refused() -> None:
    bench = Bench()
    huge = descriptor(bench.take(64), "f32", (2**32 - 1,) * 3, [0, 0, 0])
    with fails(bench, Cause.DESCRIPTOR, Operand.FIRST):
        bench.execute("tcopy", bench.empty((1,), "f32"), huge)


def test_a_destination_must_not_overlap_itself() -> None:
    bench = Bench()
    target = descriptor(bench.take(64), "f32", (3, 4), [0, 1])
    with fails(bench, Cause.DESCRIPTOR, Operand.DESTINATION, target.base):
        bench.execute("tcopy", target, bench.place(X))


@pytest.mark.parametrize(
    ("mnemonic", "dtypes", "operand"),
    [
        ("tadd", ("bool", "bool", "bool"), Operand.FIRST),
        ("tadd", ("f32", "f32", "f64"), Operand.SECOND),
        ("tadd", ("f64", "f32", "f32"), Operand.DESTINATION),
        ("teq", ("f32", "f32", "f32"), Operand.DESTINATION),
        ("tand", ("f32", "f32", "f32"), Operand.FIRST),
        ("texp", ("i32", "i32"), Operand.FIRST),
        ("tnot", ("f64", "f64"), Operand.FIRST),
        ("tsoftmax", ("i32", "i32"), Operand.FIRST),
        ("tmatmul", ("bool", "bool", "bool"), Operand.FIRST),
        ("tconv", ("f32", "f32", "i8"), Operand.SECOND),
    ],
)
def test_types_an_instruction_does_not_take(
    mnemonic: str, dtypes: tuple[str, ...], operand: Operand
) -> None:
    bench = Bench()
    shape = (2, 2, 1, 1) if mnemonic == "tconv" else (2, 2)
    with fails(bench, Cause.DTYPE, operand):
        bench.execute(mnemonic, *(bench.empty(shape, d) for d in dtypes))


@pytest.mark.parametrize("offset", [117, 118, 119])
def test_reserved_bytes_of_an_attribute_block_must_be_zero(offset: int) -> None:
    bench = Bench()
    block = bench.take(128, 128)
    bench.write(block + offset, b"\1")
    bench.tr[0], bench.tr[1] = bench.empty(X.shape, "f32"), bench.place(X)
    with fails(bench, Cause.ATTRIBUTE, Operand.ATTRIBUTE, block):
        execute(bench, "trelu", 0, 1, block)


def test_an_attribute_block_is_aligned() -> None:
    bench = Bench()
    bench.tr[0], bench.tr[1] = bench.empty(X.shape, "f32"), bench.place(X)
    block = bench.take(128, 128) + 64
    with fails(bench, Cause.ALIGNMENT, Operand.ATTRIBUTE, block):
        execute(bench, "trelu", 0, 1, block)


@pytest.mark.parametrize(
    ("mnemonic", "attributes"),
    [
        ("tmatmul", Attributes(activation=len(ACTIVATIONS))),
        ("tmatmul", Attributes(bias=17)),
        ("tsum", Attributes(axes=8)),
        ("tsoftmax", Attributes(axis=5)),
        ("targmax", Attributes(axis=-3)),
    ],
)
def test_attributes_without_meaning_are_refused(mnemonic: str, attributes: Attributes) -> None:
    bench = Bench()
    square = np.ones((2, 2), np.float32)
    tensors = [bench.place(square), bench.place(square)]
    target = bench.empty((2, 2), "i64" if mnemonic == "targmax" else "f32")
    with fails(bench, Cause.ATTRIBUTE, Operand.ATTRIBUTE):
        bench.execute(
            mnemonic, target, *tensors[: 2 if mnemonic == "tmatmul" else 1], attributes=attributes
        )


def test_an_activation_that_the_type_does_not_have_is_refused() -> None:
    bench = Bench()
    ones = np.ones((2, 2), np.int32)
    tensors = [bench.empty((2, 2), "i32"), bench.place(ones), bench.place(ones)]
    with fails(bench, Cause.ATTRIBUTE, Operand.ATTRIBUTE):
        bench.execute("tmatmul", *tensors, attributes=Attributes(activation=2))


def test_an_invalid_bias_is_the_bias_operands_fault() -> None:
    bench = Bench()
    ones = np.ones((2, 2), np.float32)
    tensors = [bench.empty((2, 2), "f32"), bench.place(ones), bench.place(ones)]
    at = Attributes(bias=10)
    with fails(bench, Cause.DTYPE, Operand.BIAS):
        bench.execute("tmatmul", *tensors, attributes=at, bias=Descriptor())
    with fails(bench, Cause.SHAPE, Operand.BIAS):
        bench.execute("tmatmul", *tensors, attributes=at, bias=bench.place(np.ones(3, np.float32)))


def test_an_index_out_of_range_is_refused_before_anything_is_written() -> None:
    bench = Bench()
    target = bench.empty((2, 4), "f32")
    before = bench.array(target)
    with fails(bench, Cause.INDEX, Operand.SECOND):
        bench.execute("tgather", target, bench.place(X), bench.place(np.array([0, 3])))
    np.testing.assert_array_equal(bench.array(target), before)


HOSTILE = [
    ("tadd", 3), ("tmatmul", 3), ("tconv", 3), ("tgather", 3), ("tmaxpool", 2), ("tsum", 2),
    ("tcopy", 2), ("tsoftmax", 2),
]  # fmt: skip


@given(st.data())
def test_hostile_descriptors_trap_or_work(data: st.DataObject) -> None:
    bench = Bench()
    small = st.lists(st.integers(0, 3), min_size=8, max_size=8)
    odd = st.sampled_from([0, 1, 2, 4, -1, -4, 2**40, -(2**62), 2**63 - 1])
    for register in range(3):
        bench.tr[register] = Descriptor(
            data.draw(st.sampled_from([0x8000_2000, 0x8000_2003, 0, 2**64 - 1, 0x8400_0000 - 4])),
            data.draw(st.sampled_from([1, 1, 1, 7, 9, 10, 0])),
            data.draw(st.sampled_from([0, 1, 2, 3, 4, 8, 9])),
            data.draw(small),
            data.draw(st.lists(odd, min_size=8, max_size=8)),
        )
    mnemonic, count = data.draw(st.sampled_from(HOSTILE))
    with contextlib.suppress(Trap):
        execute(bench, mnemonic, *range(count), *[0] * (mnemonic not in BINARY))
