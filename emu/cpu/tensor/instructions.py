"""`execute`: one tensor instruction, from operands to effect.

Each family of instructions is a function `(call) -> int` over a `Call`, which checks operands in
the order td, ts1, ts2, attribute block, then resolves their memory, and only then computes. So an
instruction either completes or raises Trap with nothing changed. Mnemonics are bound to families in
`_FAMILIES`.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.axes import masked_axes, normal_axis, reduced_dims
from emu.cpu.tensor.descriptor import BOOL, I64, SIZE, Descriptor, View
from emu.cpu.tensor.elementwise import run_copy, run_expression
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand, TensorFault
from emu.cpu.tensor.kernels import SCRATCH
from emu.cpu.tensor.operands import (
    Hart,
    detach,
    host_block,
    read_attributes,
    resolve,
)  # fmt: skip
from emu.cpu.tensor.reduce import FOLDS, SEARCHES, run_reduce, run_search
from emu.cpu.tensor.semantics import BINARY, UNARY, Elementwise
from emu.cpu.tensor.softmax import FLOPS as SOFTMAX_FLOPS
from emu.cpu.tensor.softmax import LOGARITHMIC, run_softmax
from emu.cpu.tensor.timing import charge
from emu.cpu.traps import Trap

DESTINATION, FIRST, SECOND = Operand.DESTINATION, Operand.FIRST, Operand.SECOND


def execute(hart: Hart, mnemonic: str, *operands: int) -> int:
    """Execute a tensor instruction; the value `tget` reads, else 0.

    `operands` are in the order of the syntax (without tget's destination): tensor registers and
    field numbers as they are, integer registers by value. Raises Trap with nothing changed.
    """
    SCRATCH.clear()
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

    def view(self, operand: Operand) -> View:
        """The checked descriptor of a tensor operand; a destination must not overlap itself."""
        register = self.operands[operand]
        view = self.hart.tr[register].check(operand)
        if operand is DESTINATION and view.overlaps_itself():
            raise TensorFault(Cause.DESCRIPTOR, operand, view.address)
        return view

    def attributes(self, index: int) -> Attributes:
        """The attribute block that operand `index` points to."""
        return read_attributes(self.hart, self.operands[index])

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
    ) -> int:
        """Check the rights, then `run(destination, *sources)` over host views, then charge."""
        reached = [s and resolve(self.hart, s) for s in sources]
        target = resolve(self.hart, destination, write=True)
        if destination.count:
            views = [r and detach(r, target, in_place=in_place) for r in reached]
            run(target.view, *views)
            target.finish()
        charge(self.hart, flops, [v for v in (destination, *sources) if v])
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
    require(call.hart.tr[register].set(number, value), Cause.DESCRIPTOR, DESTINATION)
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
    supported = ("float",) if FOLDS[call.mnemonic].averages else ("float", "int")
    require(source.dtype.kind in supported, Cause.DTYPE, FIRST)
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


_FAMILIES: dict[str, Callable[[Call], int]] = {
    "tld": _load,
    "tst": _store,
    "tmv": _move,
    "tget": _get,
    "tset": _set,
    "tcopy": _copy,
    **dict.fromkeys(BINARY, _binary),
    **dict.fromkeys(UNARY, _unary),
    **dict.fromkeys(FOLDS, _reduce),
    **dict.fromkeys(SEARCHES, _search),
    **dict.fromkeys(LOGARITHMIC, _softmax),
}
