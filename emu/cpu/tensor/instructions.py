"""`execute`: one tensor instruction, from operands to effect.

Each family of instructions is a function `(call) -> int` over a `Call`, which checks operands in
the order td, ts1, ts2, attribute block, then resolves their memory, and only then computes. So an
instruction either completes or raises Trap with nothing changed. Mnemonics are bound to families in
`_FAMILIES`.
"""

from __future__ import annotations

import ctypes
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.cpu.tensor.attributes import SPATIAL_MAX, Attributes
from emu.cpu.tensor.axes import masked_axes, normal_axis, reduced_dims
from emu.cpu.tensor.conv import run_conv
from emu.cpu.tensor.descriptor import BOOL, I32, I64, SIZE, Descriptor, View
from emu.cpu.tensor.elementwise import run_copy, run_expression, run_unary
from emu.cpu.tensor.execution import Work, perform
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand, TensorFault
from emu.cpu.tensor.gather import gathered_dims, run_gather
from emu.cpu.tensor.gemm import run_matmul
from emu.cpu.tensor.operands import (
    Hart,
    host_block,
    read_attributes,
)  # fmt: skip
from emu.cpu.tensor.pool import POOLS, run_pool
from emu.cpu.tensor.reduce import FOLDS, run_reduce
from emu.cpu.tensor.search import SEARCHES, run_search
from emu.cpu.tensor.semantics import ACTIVATIONS, BINARY, UNARY, Elementwise
from emu.cpu.tensor.softmax import FLOPS as SOFTMAX_FLOPS
from emu.cpu.tensor.softmax import LOGARITHMIC, run_softmax
from emu.cpu.traps import Trap
from emu.isa import TABLE

DESTINATION, FIRST, SECOND = Operand.DESTINATION, Operand.FIRST, Operand.SECOND


def execute(hart: Hart, mnemonic: str, *operands: int) -> int:
    """Execute a tensor instruction; the value `tget` reads, else 0.

    `operands` are in the order of the syntax (without tget's destination): tensor registers and
    field numbers as they are, integer registers by value. Raises Trap with nothing changed.
    """
    try:
        return _FAMILIES[mnemonic](Call(hart, mnemonic, operands))
    except TensorFault as fault:
        hart.tcause, hart.toperand = fault.cause, fault.operand
        raise Trap(TENSOR_EXCEPTION, fault.address) from None


@dataclass
class Call:
    """One instruction being executed."""

    hart: Hart
    mnemonic: str
    operands: Sequence[int]
    form: bytes = b""
    """The attribute block, once it has been read."""

    def view(self, operand: Operand) -> View:
        """The checked descriptor of a tensor operand; a destination must not overlap itself."""
        register = self.operands[operand]
        view = self.hart.tr[register].check(operand)
        if operand is DESTINATION and view.overlaps_itself():
            raise TensorFault(Cause.DESCRIPTOR, operand, view.address)
        return view

    def attributes(self, index: int) -> Attributes:
        """The attribute block that operand `index` points to."""
        attributes = read_attributes(self.hart, self.operands[index])
        self.form = attributes.form
        return attributes

    def bias(self, attributes: Attributes) -> View | None:
        """The tensor that the attribute block names as bias."""
        if not attributes.bias:
            return None
        return self.hart.tr[attributes.bias - 1].check(Operand.BIAS)

    def attribute_fault(self, index: int) -> TensorFault:
        """The attribute block of operand `index` asks for what does not exist."""
        return TensorFault(Cause.ATTRIBUTE, Operand.ATTRIBUTE, self.operands[index])

    def compute(
        self,
        destination: View,
        sources: Sequence[View | None],
        run: Callable[..., None],
        flops: int,
        *,
        in_place: bool = False,
        moved: Sequence[View] = (),
        starts: int = 0,
    ) -> int:
        """Perform: the schedule `run(destination, *sources)` over the operands.

        `moved` says what memory traffic to charge for, if not for every operand once; `starts` in
        how many separate pieces a product is computed.
        """
        numbers = (FIRST, SECOND, Operand.BIAS)
        views = {o: s for o, s in zip(numbers, sources, strict=False) if s is not None}
        perform(
            self.hart,
            Work(
                (self.mnemonic, self.form),
                {**views, DESTINATION: destination},
                lambda v: run(v[DESTINATION], *(v.get(o) for o in numbers[: len(sources)])),
                flops,
                sum(v.bytes for v in moved or (destination, *views.values())),
                in_place=in_place,
                starts=starts,
            ),
        )
        return 0


def require(condition: bool, cause: Cause, operand: Operand) -> None:
    """Raise the fault unless `condition` holds."""
    if not condition:
        raise TensorFault(cause, operand)


# descriptors


def _load(call: Call) -> int:
    register, address = call.operands
    host = host_block(call.hart, address, SIZE, FIRST, write=False)
    try:
        call.hart.tr[register] = Descriptor.parse(ctypes.string_at(host, SIZE))
    except ValueError:
        raise TensorFault(Cause.DESCRIPTOR, FIRST, address) from None
    return 0


def _store(call: Call) -> int:
    register, address = call.operands
    host = host_block(call.hart, address, SIZE, FIRST, write=True)
    ctypes.memmove(host, call.hart.tr[register].encode(), SIZE)
    return 0


def _move(call: Call) -> int:
    target, source = call.operands
    call.hart.tr[target] = call.hart.tr[source].copy()
    return 0


def _get(call: Call) -> int:
    register, number = call.operands
    value = call.hart.tr[register].get(number)
    if value is None:
        raise TensorFault(Cause.DESCRIPTOR, FIRST)
    return value


def _set(call: Call) -> int:
    register, value, number = call.operands
    descriptor = call.hart.tr[register]
    require(descriptor.set(number, value), Cause.DESCRIPTOR, DESTINATION)
    call.hart.tr[register] = descriptor
    return 0


# elementwise


def _check_elementwise(meaning: Elementwise, destination: View, sources: Sequence[View]) -> None:
    for operand, source in zip((FIRST, SECOND), sources, strict=False):
        supported = source.dtype.kind in meaning.kinds and source.dtype is sources[0].dtype
        require(supported, Cause.DTYPE, operand)
        require(source.broadcast(destination.dims) is not None, Cause.SHAPE, operand)
    wanted = BOOL if meaning.compares else sources[0].dtype
    require(destination.dtype is wanted, Cause.DTYPE, DESTINATION)
    require(_broadcast([s.dims for s in sources]) == destination.dims, Cause.SHAPE, DESTINATION)


def _broadcast(shapes: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """NumPy's common shape of shapes that are known to fit one."""
    rank = max(len(s) for s in shapes)
    padded = [(1,) * (rank - len(s)) + s for s in shapes]
    return tuple(next((n for n in column if n != 1), 1) for column in zip(*padded, strict=True))


def _binary(call: Call) -> int:
    meaning = BINARY[call.mnemonic]
    destination = call.view(DESTINATION)
    sources = [call.view(FIRST), call.view(SECOND)]
    _check_elementwise(meaning, destination, sources)
    return call.compute(
        destination,
        sources,
        lambda d, *s: run_expression(call.mnemonic, meaning.expr, d, s),
        meaning.flops * destination.count,
        in_place=True,
    )


def _unary(call: Call) -> int:
    meaning = UNARY[call.mnemonic]
    destination, source = call.view(DESTINATION), call.view(FIRST)
    _check_elementwise(meaning, destination, [source])
    params = call.attributes(2).numbers(meaning.defaults)
    return call.compute(
        destination,
        [source],
        lambda d, s: run_expression(call.mnemonic, meaning.expr, d, [s], params),
        meaning.flops * destination.count,
        in_place=True,
    )


def _copy(call: Call) -> int:
    destination, source = call.view(DESTINATION), call.view(FIRST)
    require(source.broadcast(destination.dims) is not None, Cause.SHAPE, FIRST)
    return call.compute(destination, [source], run_copy, 0, in_place=True)


# along axes


def _reduce(call: Call) -> int:
    destination, source = call.view(DESTINATION), call.view(FIRST)
    require(source.dtype.kind in FOLDS[call.mnemonic].kinds, Cause.DTYPE, FIRST)
    require(destination.dtype is source.dtype, Cause.DTYPE, DESTINATION)
    attributes = call.attributes(2)
    axes = masked_axes(attributes.axes, source.rank)
    if axes is None:
        raise call.attribute_fault(2)
    wanted = reduced_dims(source.dims, axes, attributes.keep_dims)
    require(destination.dims == wanted, Cause.SHAPE, DESTINATION)
    return call.compute(
        destination,
        [source],
        lambda d, s: run_reduce(call.mnemonic, d, s, axes),
        source.count,
    )


def _search(call: Call) -> int:
    destination, source = call.view(DESTINATION), call.view(FIRST)
    require(source.dtype.kind in ("float", "int"), Cause.DTYPE, FIRST)
    require(destination.dtype is I64, Cause.DTYPE, DESTINATION)
    attributes = call.attributes(2)
    axis = normal_axis(attributes.axis, source.rank)
    if axis is None:
        raise call.attribute_fault(2)
    require(source.dims[axis] > 0, Cause.SHAPE, FIRST)
    wanted = reduced_dims(source.dims, [axis], attributes.keep_dims)
    require(destination.dims == wanted, Cause.SHAPE, DESTINATION)
    return call.compute(
        destination,
        [source],
        lambda d, s: run_search(call.mnemonic, d, s, axis),
        source.count,
    )


def _softmax(call: Call) -> int:
    destination, source = call.view(DESTINATION), call.view(FIRST)
    require(source.dtype.kind == "float", Cause.DTYPE, FIRST)
    require(destination.dtype is source.dtype, Cause.DTYPE, DESTINATION)
    axis = normal_axis(call.attributes(2).axis, source.rank)
    if axis is None:
        raise call.attribute_fault(2)
    require(destination.dims == source.dims, Cause.SHAPE, DESTINATION)
    return call.compute(
        destination,
        [source],
        lambda d, s: run_softmax(call.mnemonic, d, s, axis),
        SOFTMAX_FLOPS * source.count,
        in_place=True,
    )


def _pool(call: Call) -> int:
    destination, source = call.view(DESTINATION), call.view(FIRST)
    supported = ("float",) if (call.mnemonic == "tavgpool") else ("float", "int")
    require(source.dtype.kind in supported, Cause.DTYPE, FIRST)
    require(2 < source.rank <= 2 + SPATIAL_MAX, Cause.RANK, FIRST)
    require(destination.dtype is source.dtype, Cause.DTYPE, DESTINATION)
    attributes = call.attributes(2)
    spatial = source.rank - 2
    kernel = attributes.kernel[:spatial]
    counts = attributes.windows(source.dims[2:], kernel)
    if counts is None or attributes.spatial_rank not in (0, spatial):
        raise call.attribute_fault(2)
    require(destination.dims == source.dims[:2] + counts, Cause.SHAPE, DESTINATION)
    return call.compute(
        destination,
        [source],
        lambda d, s: run_pool(call.mnemonic, d, s, attributes),
        destination.count * math.prod(kernel),
    )


# moving


def _gather(call: Call) -> int:
    destination, data, indices = call.view(DESTINATION), call.view(FIRST), call.view(SECOND)
    require(destination.dtype is data.dtype, Cause.DTYPE, DESTINATION)
    require(indices.dtype in (I32, I64), Cause.DTYPE, SECOND)
    attributes = call.attributes(3)
    axis = normal_axis(attributes.axis if attributes.given else 0, data.rank)
    if axis is None:
        raise call.attribute_fault(3)
    wanted = gathered_dims(data.dims, indices.dims, axis)
    require(destination.dims == wanted, Cause.SHAPE, DESTINATION)
    return call.compute(
        destination,
        [data, indices],
        lambda d, s, picks: run_gather(d, s, picks, axis),
        0,
        moved=[destination, destination, indices],
    )


# products


def _activated(
    call: Call, destination: View, attributes: Attributes, flops: int, run: Callable[..., None]
) -> tuple[Callable[..., None], int]:
    """`run` followed by the activation that the attribute block asks for, and their operations."""
    mnemonic = ACTIVATIONS[attributes.activation]
    if mnemonic is None:
        return run, flops
    if destination.dtype.kind not in UNARY[mnemonic].kinds:
        raise call.attribute_fault(3)
    params = (attributes.alpha, attributes.beta)

    def both(result: View, *sources: View | None) -> None:
        run(result, *sources)
        run_unary(mnemonic, result, result, params)

    return both, flops + UNARY[mnemonic].flops * destination.count


def _check_products(destination: View, *operands: tuple[View | None, Operand]) -> None:
    """All operands have the destination's type, which must be one that can be multiplied."""
    require(destination.dtype.kind != "bool", Cause.DTYPE, DESTINATION)
    for view, operand in operands:
        require(view is None or view.dtype is destination.dtype, Cause.DTYPE, operand)


def _matmul(call: Call) -> int:
    destination, left, right = (call.view(o) for o in (DESTINATION, FIRST, SECOND))
    attributes = call.attributes(3)
    bias = call.bias(attributes)
    for view, operand in ((destination, DESTINATION), (left, FIRST), (right, SECOND)):
        require(view.rank >= 2, Cause.RANK, operand)
    _check_products(destination, (left, FIRST), (right, SECOND), (bias, Operand.BIAS))
    batch, (m, n), k = destination.dims[:-2], destination.dims[-2:], left.dims[-1]
    require(left.broadcast((*batch, m, k)) is not None, Cause.SHAPE, FIRST)
    require(left.dims[-2] == m, Cause.SHAPE, FIRST)
    require(right.broadcast((*batch, k, n)) is not None, Cause.SHAPE, SECOND)
    require(right.dims[-2:] == (k, n), Cause.SHAPE, SECOND)
    require(_broadcast([left.dims[:-2], right.dims[:-2]]) == batch, Cause.SHAPE, DESTINATION)
    if bias is not None:
        require(bias.broadcast(destination.dims) is not None, Cause.SHAPE, Operand.BIAS)
    flops = 2 * k * destination.count
    _, flops = _activated(call, destination, attributes, flops, run_matmul)
    starts = math.prod(batch)

    def multiply(c: View, a: View, b: View, added: View | None) -> None:
        run_matmul(c, a, b, added, attributes)

    return call.compute(destination, [left, right, bias], multiply, flops, starts=starts)


def _conv(call: Call) -> int:
    destination, image, weights = (call.view(o) for o in (DESTINATION, FIRST, SECOND))
    attributes = call.attributes(3)
    bias = call.bias(attributes)
    _check_products(destination, (image, FIRST), (weights, SECOND), (bias, Operand.BIAS))
    rank, groups = image.rank, attributes.groups
    require(3 <= rank <= 2 + SPATIAL_MAX, Cause.RANK, FIRST)
    require(weights.rank == rank, Cause.RANK, SECOND)
    require(destination.rank == rank, Cause.RANK, DESTINATION)
    require(weights.dims[0] % groups == 0, Cause.ATTRIBUTE, Operand.ATTRIBUTE)
    require(image.dims[1] == weights.dims[1] * groups, Cause.SHAPE, FIRST)
    wanted = attributes.windows(image.dims[2:], weights.dims[2:])
    if wanted is None or attributes.spatial_rank not in (0, rank - 2):
        raise call.attribute_fault(3)
    shape = (image.dims[0], weights.dims[0], *wanted)
    require(destination.dims == shape, Cause.SHAPE, DESTINATION)
    if bias is not None:
        require(bias.dims == weights.dims[:1], Cause.SHAPE, Operand.BIAS)

    def convolve(y: View, x: View, w: View, b: View | None) -> None:
        run_conv(y, x, w, b, attributes)

    flops = 2 * destination.count * (weights.count // max(weights.dims[0], 1))
    _, flops = _activated(call, destination, attributes, flops, convolve)
    starts = image.dims[0] * groups * math.prod(destination.dims[2:-1])
    return call.compute(destination, [image, weights, bias], convolve, flops, starts=starts)


_TABLE = {i.mnemonic for i in TABLE.values() if i.extension == "xaitensor"}
_FAMILIES: dict[str, Callable[[Call], int]] = {
    "tld": _load,
    "tst": _store,
    "tmv": _move,
    "tget": _get,
    "tset": _set,
    "tcopy": _copy,
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(UNARY, _unary),
    "tgather": _gather,
    **dict.fromkeys(POOLS, _pool),
    **dict.fromkeys(FOLDS.keys() & _TABLE, _reduce),
    **dict.fromkeys(SEARCHES, _search),
    **dict.fromkeys(LOGARITHMIC, _softmax),
    "tmatmul": _matmul,
    "tconv": _conv,
}

if unmatched := _TABLE ^ _FAMILIES.keys():
    raise TypeError(f"the instruction table and the tensor unit disagree about {sorted(unmatched)}")
