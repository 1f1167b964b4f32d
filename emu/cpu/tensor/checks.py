"""The checks of an instruction's types, extents and attributes, derived from its declaration.

They depend on the form of the operands only, so what came out is kept: the same instruction with
operands of the same form is looked up.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cache
from typing import Any

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.semantics import ACTIVATIONS, MEANINGS
from emu.isa.xaitensor import TENSORS, Declaration
from emu.isa.xaitensor.notation import Scope, read
from emu.isa.xaitensor.shapes import BLOCK, Misfit, bind
from emu.isa.xaitensor.signature import admits

_KEPT = 1 << 13
_CAUSES = {"rank": Cause.RANK, "shape": Cause.SHAPE, "attribute": Cause.ATTRIBUTE}


@dataclass(frozen=True)
class Checked:
    """What is known of an instruction that has passed."""

    scope: Scope
    operations: int
    pieces: int


_checked: dict[Hashable, Checked] = {}


def check(declaration: Declaration, views: Mapping[str, View], at: Attributes) -> Checked:
    """Check operands (by name, less those left out) and attributes. Raises TensorFault."""
    form = tuple((name, view.dtype.code, view.dims) for name, view in views.items())
    key = (declaration.mnemonic, at.form, form)
    found = _checked.get(key)
    if found is None:
        if len(_checked) >= _KEPT:
            _checked.clear()
        found = _checked[key] = _check(declaration, views, at)
    return found


def _check(declaration: Declaration, views: Mapping[str, View], at: Attributes) -> Checked:
    _check_types(declaration, views)
    attributes = named(declaration, at)
    _check_activation(declaration, views, at)
    try:
        dims = {name: view.dims for name, view in views.items()}
        scope = bind(declaration.operands, dims, attributes, declaration.requires)
    except Misfit as misfit:
        raise _fault(_CAUSES[misfit.what], declaration, misfit.operand) from None
    return Checked(scope, _operations(declaration, scope, views, at), _pieces(declaration, scope))


def _fault(cause: Cause, declaration: Declaration, name: str) -> TensorFault:
    if name == BLOCK:
        return TensorFault(cause, Operand.ATTRIBUTE)
    number = next(o.number for o in declaration.operands if o.name == name)
    return TensorFault(cause, Operand(number))


def _check_types(declaration: Declaration, views: Mapping[str, View]) -> None:
    """Each operand's type is in its set, and the same wherever one variable stands."""
    meant: dict[str, str] = {}
    for operand in declaration.operands:
        view = views.get(operand.name)
        if view is None:
            continue
        dtype, wanted = view.dtype, declaration.types.get(operand.type, operand.type)
        same = operand.type not in declaration.types or dtype.name == meant.setdefault(
            operand.type, dtype.name
        )
        if not (same and admits(wanted, dtype.name, dtype.kind)):
            raise TensorFault(Cause.DTYPE, Operand(operand.number))


def named(declaration: Declaration, at: Attributes) -> dict[str, object]:
    """The attributes by the names that the declaration's expressions use."""
    if declaration.flags and at.flags & ~sum(1 << bit for bit in declaration.flags.values()):
        raise TensorFault(Cause.ATTRIBUTE, Operand.ATTRIBUTE)
    if declaration.modes and at.mode >= len(declaration.modes):
        raise TensorFault(Cause.ATTRIBUTE, Operand.ATTRIBUTE)
    names = {field.name: getattr(at, field.name) for field in fields(at)}
    names |= {name: bool(at.flags >> bit & 1) for name, bit in declaration.flags.items()}
    names |= {name: value for value, name in enumerate(declaration.modes)}
    return names


def _check_activation(declaration: Declaration, views: Mapping[str, View], at: Attributes) -> None:
    """An activation is one that the result's type has."""
    mnemonic = ACTIVATIONS[at.activation]
    if not declaration.activates or mnemonic is None:
        return
    dtype = views[declaration.results[0].name].dtype
    if not admits(TENSORS[mnemonic].types["T"], dtype.name, dtype.kind):
        raise TensorFault(Cause.ATTRIBUTE, Operand.ATTRIBUTE)


def _operations(
    declaration: Declaration, scope: Scope, views: Mapping[str, View], at: Attributes
) -> int:
    """Arithmetic operations, the activation's included."""
    elements = views[declaration.results[0].name].count
    meaning = MEANINGS.get(declaration.mnemonic)
    operations = int(read(declaration.work)(scope)) if declaration.work else 0
    if meaning is not None and not declaration.work:
        operations = meaning.flops * elements
    mnemonic = ACTIVATIONS[at.activation] if declaration.activates else None
    return operations + (MEANINGS[mnemonic].flops * elements if mnemonic else 0)


def _pieces(declaration: Declaration, scope: Scope) -> int:
    return int(read(declaration.pieces)(scope)) if declaration.pieces else 0


@cache
def defaults(declaration: Declaration) -> Attributes:
    """The attributes of an instruction that is given no block."""
    values: dict[str, Any] = dict(declaration.defaults)
    return replace(Attributes(), **values)
