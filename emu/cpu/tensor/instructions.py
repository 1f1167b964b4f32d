"""`execute`: one tensor instruction, from operands to effect.

Instructions over descriptors are functions here. All others go one way, that of their declaration:
the descriptors of the registers, the attribute block, the operands that it names, then types and
extents (`checks`), then rights, plan and time (`execution`). So an instruction either completes or
raises Trap with nothing changed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping, Sequence

from emu.cpu.tensor import (  # noqa: F401  # imported for their schedules
    attention,
    batch_norm,
    conv,
    conv_quantised,
    conv_transpose,
    cumulative,
    elementwise,
    gather,
    gemm,
    grid,
    lrn,
    nonzero,
    norms,
    pad,
    pool,
    position,
    qgemm,
    quantize,
    recurrent,
    reduce,
    resize,
    scatter,
    search,
    softmax,
    topk,
)
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.call import SCHEDULES, Call, Schedule
from emu.cpu.tensor.checks import Checked, check, defaults
from emu.cpu.tensor.descriptor import SIZE, Descriptor, View
from emu.cpu.tensor.execution import Work, perform
from emu.cpu.tensor.faults import TENSOR_EXCEPTION, Cause, Operand, TensorFault
from emu.cpu.tensor.operands import Hart, host_block, read_attributes
from emu.cpu.traps import Trap
from emu.isa import TABLE
from emu.isa.xaitensor import TENSORS, Declaration

_REGISTERS = (Operand.DESTINATION, Operand.FIRST, Operand.SECOND)


def execute(hart: Hart, mnemonic: str, *operands: int) -> int:
    """Execute a tensor instruction; the value `tget` reads, else 0.

    `operands` are in the order of the syntax (without tget's destination): tensor registers and
    field numbers as they are, integer registers by value. Raises Trap with nothing changed.
    """
    try:
        declaration = TENSORS.get(mnemonic)
        if declaration is None:
            return _DESCRIPTORS[mnemonic](hart, *operands)
        _compute(hart, declaration, operands)
        return 0
    except TensorFault as fault:
        hart.tcause, hart.toperand = fault.cause, fault.operand
        raise Trap(TENSOR_EXCEPTION, fault.address) from None


# instructions that compute


def _compute(hart: Hart, declaration: Declaration, operands: Sequence[int]) -> None:
    registers = operands[: 1 + declaration.form.sources]
    numbers = dict(zip(_REGISTERS, registers, strict=False))
    views = {o: _view(hart, register, o) for o, register in numbers.items()}
    at = defaults(declaration)
    if declaration.form.block and operands[-1]:
        at = read_attributes(hart, operands[-1])
    views |= _extras(hart, declaration, at)
    named = {o.name: v for o in declaration.operands if (v := views.get(Operand(o.number)))}
    try:
        checked = check(declaration, named, at)
    except TensorFault as fault:
        if fault.operand is Operand.ATTRIBUTE:
            fault.address = operands[-1]
        raise
    perform(hart, _work(declaration, named, at, checked))


def _view(hart: Hart, register: int, operand: Operand, *, written: bool = False) -> View:
    """The checked descriptor of an operand; one that is written must not overlap itself."""
    view = hart.tr[register].check(operand)
    if (written or operand is Operand.DESTINATION) and view.overlaps_itself():
        raise TensorFault(Cause.DESCRIPTOR, operand, view.address)
    return view


def _extras(hart: Hart, declaration: Declaration, at: Attributes) -> dict[Operand, View]:
    """The operands that the attribute block names and the instruction has a use for."""
    views = {}
    for place, operand in declaration.extras.items():
        register, number = at.registers[place], Operand(operand.number)
        if register:
            views[number] = _view(hart, register - 1, number, written=operand.written)
        elif not operand.optional:
            raise TensorFault(Cause.ATTRIBUTE, number)
    return views


def _work(
    declaration: Declaration, views: Mapping[str, View], at: Attributes, checked: Checked
) -> Work:
    """What is to be done, over the same operands by number."""
    numbers = {o.name: Operand(o.number) for o in declaration.operands if o.name in views}
    schedule = SCHEDULES[declaration.mnemonic]

    def record(places: Mapping[Operand, View]) -> None:
        named = {name: places[number] for name, number in numbers.items()}
        schedule.run(Call(declaration, at, checked.scope, named))

    return Work(
        key=(declaration.mnemonic, at.form),
        views={numbers[name]: view for name, view in views.items()},
        schedule=record,
        flops=checked.operations,
        bytes=sum(views[name].bytes for name in declaration.traffic or views),
        written=tuple(numbers[o.name] for o in declaration.results if o.name in views),
        in_place=_in_place(schedule, numbers),
        starts=checked.pieces,
    )


def _in_place(schedule: Schedule, numbers: Mapping[str, Operand]) -> frozenset[Operand]:
    """The operands that may be exactly the destination."""
    if isinstance(schedule.in_place, bool):
        return frozenset(numbers.values()) if schedule.in_place else frozenset()
    return frozenset(numbers[name] for name in schedule.in_place)


# instructions over descriptors


def _load(hart: Hart, register: int, address: int) -> int:
    host = host_block(hart, address, SIZE, Operand.FIRST, write=False)
    try:
        hart.tr[register] = Descriptor.parse(ctypes.string_at(host, SIZE))
    except ValueError:
        raise TensorFault(Cause.DESCRIPTOR, Operand.FIRST, address) from None
    return 0


def _store(hart: Hart, register: int, address: int) -> int:
    host = host_block(hart, address, SIZE, Operand.FIRST, write=True)
    ctypes.memmove(host, hart.tr[register].encode(), SIZE)
    return 0


def _move(hart: Hart, target: int, source: int) -> int:
    hart.tr[target] = hart.tr[source].copy()
    return 0


def _get(hart: Hart, register: int, number: int) -> int:
    value = hart.tr[register].get(number)
    if value is None:
        raise TensorFault(Cause.DESCRIPTOR, Operand.FIRST)
    return value


def _set(hart: Hart, register: int, value: int, number: int) -> int:
    descriptor = hart.tr[register]
    if not descriptor.set(number, value):
        raise TensorFault(Cause.DESCRIPTOR, Operand.DESTINATION)
    hart.tr[register] = descriptor
    return 0


_DESCRIPTORS: dict[str, Callable[..., int]] = {
    "tld": _load, "tst": _store, "tmv": _move, "tget": _get, "tset": _set,
}  # fmt: skip

_TABLE = {i.mnemonic for i in TABLE.values() if i.extension == "xaitensor"}
if missing := _TABLE - _DESCRIPTORS.keys() - SCHEDULES.keys():
    raise TypeError(f"the tensor unit has no schedule for {sorted(missing)}")
