"""Every instruction refuses what its declaration does not allow: each cause, for each operand.

Cases are drawn from the signature, spoiled in one place, and executed. A refusal says its cause and
the operand, and leaves all memory as it was.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest

from emu.cpu.tensor.checks import check
from emu.cpu.tensor.descriptor import DTYPES, Descriptor, Field, dense
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause
from emu.cpu.tensor.limits import OPERATIONS
from emu.cpu.traps import Trap
from emu.isa.xaitensor import TENSORS, Declaration
from emu.isa.xaitensor.signature import Operand, admits
from tests.tensor.bench import PAGE
from tests.tensor.drawn import Case, draw
from tests.tensor.placed import Placed

EACH = pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())
_LOAD_PAGE_FAULT, _STORE_PAGE_FAULT = 13, 15
_BLOCK = 3
"""The operand number of the attribute block."""


def drawn(declaration: Declaration, *, block: bool = False, whole: bool = False) -> Placed:
    """A case that would be executed: with an attribute block, or with every optional operand and
    at least one element in each."""
    rng = random.Random(declaration.mnemonic)
    for _ in range(1000):
        case = draw(declaration, rng)
        full = all(case.dims.get(o.name) is not None for o in declaration.operands)
        filled = all(0 not in dims for dims in case.dims.values())
        if (case.at.given or not block) and ((full and filled) or not whole):
            return Placed(case)
    raise AssertionError(f"'{declaration.mnemonic}' has no such case")


@contextmanager
def refused(placed: Placed, cause: Cause | None, operand: int | None) -> Iterator[None]:
    """What is executed inside raises a tensor exception and changes no memory."""
    before = bytes(placed.bench.memory.buffer[: 64 * PAGE])
    with pytest.raises(Trap) as trap:
        yield
    assert trap.value.cause == TENSOR_EXCEPTION
    if cause is not None:
        assert (placed.bench.tcause, placed.bench.toperand) == (cause, operand)
    assert bytes(placed.bench.memory.buffer[: 64 * PAGE]) == before


def _present(placed: Placed) -> list[Operand]:
    return [o for o in placed.case.declaration.operands if o.name in placed.tensors]


# descriptors


@EACH
@pytest.mark.parametrize(
    ("field", "value", "cause"),
    [
        (Field.DTYPE, 0, Cause.DTYPE),
        (Field.DTYPE, 8, Cause.DTYPE),
        (Field.RANK, 9, Cause.RANK),
        (Field.BASE, (1 << 64) - 1, Cause.DESCRIPTOR),
    ],
)
def test_a_descriptor_that_means_nothing_is_refused(
    declaration: Declaration, field: Field, value: int, cause: Cause
) -> None:
    placed = drawn(declaration, whole=True)
    for operand in _present(placed):
        good = placed.tensors[operand.name]
        single = math.prod(good.dims[: good.rank]) == DTYPES[good.dtype].size == 1
        if cause is Cause.DESCRIPTOR and single:
            continue  # the last byte of the address space may be a tensor
        placed.tensors[operand.name] = bad = good.copy()
        bad.set(field, value)
        with refused(placed, cause, operand.number):
            placed.execute()
        placed.tensors[operand.name] = good


@EACH
def test_a_result_that_overlaps_itself_is_refused(declaration: Declaration) -> None:
    placed = drawn(declaration, whole=True)
    for operand in declaration.results:
        good = placed.tensors[operand.name]
        bad = good.copy()
        bad.strides = [0] * 8
        if max(good.dims[: good.rank], default=1) < 2:
            continue
        placed.tensors[operand.name] = bad
        with refused(placed, Cause.DESCRIPTOR, operand.number):
            placed.execute()
        placed.tensors[operand.name] = good


# types


@EACH
def test_an_element_type_that_the_instruction_does_not_take_is_refused(
    declaration: Declaration,
) -> None:
    placed = drawn(declaration, whole=True)
    variables: set[str] = set()
    for operand in _present(placed):
        good = placed.tensors[operand.name]
        wanted = declaration.types.get(operand.type, operand.type)
        again = operand.type in variables
        for dtype in DTYPES.values():
            if dtype.code == good.dtype or (admits(wanted, dtype.name, dtype.kind) and not again):
                continue
            placed.tensors[operand.name] = bad = good.copy()
            bad.dtype = dtype.code
            bad.base &= -PAGE  # an element may have grown: stay in memory
            bad.strides = [s if n > 1 else 0 for s, n in zip(bad.strides, bad.dims, strict=True)]
            with refused(placed, Cause.DTYPE, operand.number):
                placed.execute()
        placed.tensors[operand.name] = good
        variables |= {operand.type} & declaration.types.keys()


# shapes


@EACH
def test_a_result_of_other_extents_than_the_sources_make_is_refused(
    declaration: Declaration,
) -> None:
    placed = drawn(declaration, whole=True)
    bound = {d.text for o in declaration.operands if not o.written for d in o.dims}
    for operand in declaration.results:
        if any(d.kind in ("one", "rest", "axis") and d.text not in bound for d in operand.dims):
            continue  # the program chooses them
        good = placed.tensors[operand.name]
        for bad in _misshapen(good):
            placed.tensors[operand.name] = bad
            fixed = not any(d.many or d.kind == "stretch" for d in operand.dims)
            cause = Cause.RANK if fixed and bad.rank != good.rank else Cause.SHAPE
            with refused(placed, cause, operand.number):
                placed.execute()
        placed.tensors[operand.name] = good


def _misshapen(good: Descriptor) -> Iterator[Descriptor]:
    """The same with one extent more of 1, and with each extent one more."""
    for d in range(good.rank):
        bad = good.copy()
        bad.dims[d] += 1
        bad.strides[d] *= 2
        yield row_major(bad)
    if good.rank < 8:
        bad = good.copy()
        bad.rank, bad.dims[good.rank] = good.rank + 1, 1
        yield row_major(bad)


def row_major(form: Descriptor) -> Descriptor:
    """The descriptor with row-major strides."""
    step = 1
    for d in reversed(range(form.rank)):
        form.strides[d], step = step, step * max(form.dims[d], 1)
    return form


@EACH
def test_sources_that_do_not_go_together_are_refused_or_computed(declaration: Declaration) -> None:
    placed = drawn(declaration, whole=True)
    for operand in _present(placed):
        good = placed.tensors[operand.name]
        for bad in _misshapen(good):
            placed.tensors[operand.name] = bad
            with suppress(Trap):
                placed.bench.tcause = Cause.SHAPE
                placed.execute()
            assert placed.bench.tcause in (Cause.SHAPE, Cause.RANK, Cause.ATTRIBUTE)
        placed.tensors[operand.name] = good


# attributes


def _with_block(placed: Placed, form: bytes) -> None:
    placed.block = placed.bench.take(128, 128)
    placed.bench.write(placed.block, form)


BLOCKS = [d for d in TENSORS.values() if d.form.block]
EACH_BLOCK = pytest.mark.parametrize("declaration", BLOCKS, ids=lambda d: d.mnemonic)


@EACH_BLOCK
@pytest.mark.parametrize("offset", [0, 1, 4, 7, 20, 117, 119])
def test_a_byte_of_the_block_that_means_nothing_is_refused(
    declaration: Declaration, offset: int
) -> None:
    placed = drawn(declaration, block=True)
    form = bytearray(placed.case.at.encode())
    form[offset] = 0xFF
    _with_block(placed, bytes(form))
    with refused(placed, Cause.ATTRIBUTE, _BLOCK):
        placed.execute()


@EACH_BLOCK
def test_a_block_that_is_not_aligned_is_refused(declaration: Declaration) -> None:
    placed = drawn(declaration, block=True)
    placed.block += 64
    with refused(placed, Cause.ALIGNMENT, _BLOCK):
        placed.execute()


@EACH_BLOCK
def test_attributes_that_the_instruction_does_not_have_are_refused(
    declaration: Declaration,
) -> None:
    placed = drawn(declaration, block=True)
    at, spoiled = placed.case.at, []
    if declaration.flags:
        spoiled.append(replace(at, flags=1 << 31))
    if declaration.modes:
        spoiled.append(replace(at, mode=len(declaration.modes)))
    for dim in (d for o in declaration.operands for d in o.dims if d.kind == "axis"):
        bounds: tuple[dict[str, Any], ...] = ({dim.axis: 8}, {dim.axis: -9})
        spoiled += [replace(at, **bound) for bound in bounds]
    if "reduced" in declaration.signature:
        spoiled.append(replace(at, axes=1 << 31))
    for attributes in spoiled:
        _with_block(placed, attributes.encode())
        with refused(placed, Cause.ATTRIBUTE, _BLOCK):
            placed.execute()


@EACH_BLOCK
def test_an_operand_that_is_missing_is_refused(declaration: Declaration) -> None:
    placed = drawn(declaration, block=True, whole=True)
    for place, operand in declaration.extras.items():
        if not operand.optional:
            form = bytearray(placed.case.at.encode())
            form[1 + place] = 0
            _with_block(placed, bytes(form))
            with refused(placed, Cause.ATTRIBUTE, operand.number):
                placed.execute()


# memory


@EACH
def test_a_page_that_must_not_be_touched_is_a_fault_before_anything_is_written(
    declaration: Declaration,
) -> None:
    placed = drawn(declaration, whole=True)
    for operand in _present(placed):
        good = placed.tensors[operand.name]
        placed.tensors[operand.name] = moved = good.copy()
        moved.base = placed.bench.take(PAGE, PAGE)
        access, fault = (
            ("store", _STORE_PAGE_FAULT) if operand.written else ("load", _LOAD_PAGE_FAULT)
        )
        placed.bench.forbidden = {(moved.base // PAGE, access): fault}
        before = bytes(placed.bench.memory.buffer[: 64 * PAGE])
        with pytest.raises(Trap) as trap:
            placed.execute()
        assert (trap.value.cause, trap.value.tval) == (fault, moved.base)
        assert bytes(placed.bench.memory.buffer[: 64 * PAGE]) == before
        placed.tensors[operand.name] = good
        placed.bench.forbidden = {}


@EACH
def test_an_index_out_of_range_is_refused(declaration: Declaration) -> None:
    if not any(o.indexes for o in declaration.operands):
        return
    placed = drawn(declaration, whole=True)
    for operand in _present(placed):
        if not operand.indexes:
            continue
        form = placed.tensors[operand.name]
        size = DTYPES[form.dtype].size
        good = placed.bench.read(form.base, size)
        for bad in (1 << 20, -(1 << 20), (1 << 31) - 1, -(1 << 31)):
            placed.bench.write(form.base, bad.to_bytes(size, "little", signed=True))
            with refused(placed, Cause.INDEX, operand.number):
                placed.execute()
        placed.bench.write(form.base, good)


@EACH
def test_more_work_than_one_instruction_may_do_is_refused(declaration: Declaration) -> None:
    rng = random.Random(declaration.mnemonic)
    for _ in range(300):
        case = draw(declaration, rng, extents=(1, 3, 1 << 21, 1 << 22))
        if _work(case) > OPERATIONS:
            break
    else:
        raise AssertionError("no case is that large")
    placed = Placed(case, elements=False)
    with refused(placed, Cause.LIMIT, 0):
        placed.execute()


def _work(case: Case) -> int:
    """Operations, where all operands could be in memory and none is empty."""
    counts = {name: math.prod(dims) for name, dims in case.dims.items()}
    if not 0 < min(counts.values()) <= max(counts.values()) < 1 << 58:
        return 0
    views = {name: dense(0, case.dtypes[name], dims) for name, dims in case.dims.items()}
    results = (counts[o.name] for o in case.declaration.results if o.name in counts)
    return max(check(case.declaration, views, case.at).operations, *results, 0)
