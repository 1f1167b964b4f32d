"""Checking a signature: the extents of the operands, bound to its names and compared.

`bind` gives the scope in which the instruction's other expressions are evaluated, or says which
operand is to blame for what. Sources are looked at in order, then the results: so where two sources
do not go together the later one is at fault, and a result is at fault that is not what its sources
make.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from emu.isa.xaitensor.notation import Scope, read
from emu.isa.xaitensor.rules import (
    RULES,
    BadAttribute,
    Extents,
    NoBroadcast,
    broadcast,
    normal_axis,
    stretches,
)  # fmt: skip
from emu.isa.xaitensor.signature import Dim, Operand

BLOCK = "at"
"""The name under which the attribute block is blamed."""


class Misfit(Exception):
    """`what` ('rank', 'shape', 'attribute') is wrong with the operand called `operand`."""

    def __init__(self, what: str, operand: str) -> None:
        super().__init__(f"the {what} of '{operand}' does not fit")
        self.what, self.operand = what, operand


def bind(
    operands: Sequence[Operand],
    dims: Mapping[str, Extents],
    attributes: Mapping[str, Any],
    requires: Mapping[str, str],
) -> Scope:
    """The scope of a call: extents by the signature's names, operands' extents by theirs, attribute
    fields and flags. `dims` lacks the operands that are left out. Raises Misfit."""
    binding = _Binding(Scope({**attributes, **dims}, RULES))
    present = [o for o in operands if o.name in dims]
    for operand in present:
        binding.take(operand, dims[operand.name])
    for condition, blamed in requires.items():
        try:
            holds = read(condition)(binding.scope)
        except BadAttribute:
            raise Misfit("attribute", BLOCK) from None
        if not holds:
            raise Misfit("attribute" if blamed == BLOCK else "shape", blamed)
    for operand in present:
        binding.compare(operand, dims[operand.name])
    for operand in present:
        for dim in operand.dims:
            if dim.kind == "stretch" and not stretches(dims[operand.name], dims[dim.text]):
                raise Misfit("shape", operand.name)
    return binding.scope


class _Binding:
    """The scope while it grows."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.operand = ""

    def take(self, operand: Operand, dims: Extents) -> None:
        """Bind the names that the operand's extents say."""
        self.operand = operand.name
        items = operand.dims
        place = next((i for i, d in enumerate(items) if d.kind == "axis"), None)
        if any(d.kind == "stretch" for d in items):
            return
        if place is None:
            self._match(items, dims)
            return
        try:
            axis = normal_axis(self.scope[items[place].axis], len(dims))
        except BadAttribute:
            raise Misfit("attribute", BLOCK) from None
        self._name(items[place].text, dims[axis])
        self._match(items[:place], dims[:axis])
        self._match(items[place + 1 :], dims[axis + 1 :])

    def _match(self, items: Sequence[Dim], dims: Extents) -> None:
        lengths = [self._length(d) for d in items]
        unknown = [i for i, n in enumerate(lengths) if n is None]
        rest = len(dims) - sum(n or 0 for n in lengths)
        if len(unknown) > 1:
            return
        if rest < 0 or (rest and not unknown):
            if any(d.many and n is not None for d, n in zip(items, lengths, strict=True)):
                return  # `compare` will tell what is wrong
            raise Misfit("rank", self.operand)
        at = 0
        for item, length in zip(items, lengths, strict=True):
            size = rest if length is None else length
            self._item(item, dims[at : at + size])
            at += size

    def _length(self, dim: Dim) -> int | None:
        """How many dimensions an item stands for, where that is known already."""
        if not dim.many:
            return 1
        if dim.kind == "join":
            return None
        if dim.kind == "rest":
            known = self.scope.names.get(dim.text)
            return None if known is None else len(known)
        try:
            return len(self._value(dim))
        except KeyError:
            return None

    def _item(self, item: Dim, dims: Extents) -> None:
        if item.kind == "one":
            self._name(item.text, dims[0])
        elif item.kind == "rest":
            low, high = item.low, item.high
            if item.like:
                low = high = len(self.scope[item.like])
            if not low <= len(dims) <= high:
                raise Misfit("rank", self.operand)
            self._name(item.text, dims)
        elif item.kind == "join":
            try:
                self.scope.names[item.text] = broadcast(self.scope.names.get(item.text, ()), dims)
            except NoBroadcast:
                raise Misfit("shape", self.operand) from None

    def _name(self, name: str, value: int | Extents) -> None:
        self.scope.names.setdefault(name, value)

    def _value(self, dim: Dim) -> Extents:
        """The extents an item other than a broadcast stands for."""
        if dim.kind in ("one", "axis"):
            return (self.scope[dim.text],)
        if dim.kind == "rest":
            return tuple(self.scope[dim.text])
        try:
            value = read(dim.text)(self.scope)
        except BadAttribute:
            raise Misfit("attribute", BLOCK) from None
        return tuple(value) if dim.kind == "spread" else (value,)

    def compare(self, operand: Operand, dims: Extents) -> None:
        """Whether the operand has the extents that its signature, all names bound, says."""
        if any(d.kind == "stretch" for d in operand.dims):
            return
        wanted = [None if d.kind == "join" else self._value(d) for d in operand.dims]
        rest = len(dims) - sum(len(w) for w in wanted if w is not None)
        at = 0
        for extents in wanted:
            size = max(rest, 0) if extents is None else len(extents)
            if extents is not None and dims[at : at + size] != extents:
                raise Misfit("shape", operand.name)
            at += size
        if at != len(dims):
            raise Misfit("shape", operand.name)
