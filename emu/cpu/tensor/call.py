"""What a schedule is given, and how it is bound to the instructions it computes.

    @schedule("tsoftmax", "tlogsoftmax", in_place=True)
    def _softmax(call: Call) -> None:
        run_softmax(call.mnemonic, call["d"], call["x"], call.axis)

A schedule runs when operands of a new form are met, after every check; its views are at `Place`s,
and the kernels it calls become the steps of a plan.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.semantics import ACTIVATIONS
from emu.isa.xaitensor import Declaration
from emu.isa.xaitensor.notation import Scope
from emu.isa.xaitensor.rules import folded_axes, normal_axis


@dataclass(frozen=True)
class Call:
    """One instruction: its operands by the names that its signature gives them."""

    declaration: Declaration
    at: Attributes
    """The attribute block, or the instruction's defaults."""
    scope: Scope
    views: Mapping[str, View]
    """Operands that are left out are not in here."""

    @property
    def mnemonic(self) -> str:
        return self.declaration.mnemonic

    def __getitem__(self, name: str) -> View:
        """An operand that is there."""
        return self.views[name]

    def get(self, name: str) -> View | None:
        """An operand that may have been left out."""
        return self.views.get(name)

    def size(self, name: str) -> int:
        """An extent that the signature names, or an integer attribute."""
        return int(self.scope[name])

    def sizes(self, name: str) -> tuple[int, ...]:
        """Several extents that the signature names (`*t`)."""
        return tuple(self.scope[name])

    def flag(self, name: str) -> bool:
        """Whether a flag that the declaration names is set."""
        return bool(self.scope[name])

    @property
    def mode(self) -> str:
        """The name that the declaration gives the attribute block's mode."""
        return self.declaration.modes[self.at.mode]

    @property
    def axis(self) -> int:
        """The dimension that `n@axis` of the signature names, counted from the front."""
        for operand in self.declaration.operands:
            for dim in operand.dims:
                if dim.kind == "axis":
                    return normal_axis(int(self.scope[dim.axis]), self.views[operand.name].rank)
        raise TypeError(f"the signature of '{self.mnemonic}' names no axis")

    @property
    def axes(self) -> tuple[int, ...]:
        """The dimensions of the source x that the bit mask `axes` names."""
        return folded_axes(self.scope, self.views["x"].rank)

    @property
    def params(self) -> tuple[float, float]:
        """alpha and beta."""
        return self.at.alpha, self.at.beta

    @property
    def activation(self) -> str | None:
        """The instruction that would compute the activation which the attribute block asks for."""
        return ACTIVATIONS[self.at.activation]


@dataclass(frozen=True)
class Schedule:
    """How an instruction is computed."""

    run: Callable[[Call], None]
    in_place: bool | tuple[str, ...]
    """Which sources (all, or those named) may be exactly the destination: each element is read
    before the one at its place is written."""


SCHEDULES: dict[str, Schedule] = {}
"""By mnemonic. Complete once `instructions` has been imported."""


def schedule(
    *mnemonics: str, in_place: bool | tuple[str, ...] = False
) -> Callable[[Callable[[Call], None]], Callable[[Call], None]]:
    """Bind a function to the instructions it computes."""

    def bind(run: Callable[[Call], None]) -> Callable[[Call], None]:
        SCHEDULES.update(dict.fromkeys(mnemonics, Schedule(run, in_place)))
        return run

    return bind
