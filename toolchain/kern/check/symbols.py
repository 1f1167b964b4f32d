"""What names stand for, and the world of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from toolchain.kern import syntax, typed
from toolchain.kern.diagnostics import Diagnostic, Place
from toolchain.kern.types import Enum, Str, Struct, Type


@dataclass(eq=False)
class Symbol:
    """A declared name: where it stands and in which module."""

    name: str
    module: str
    place: Place


@dataclass(eq=False)
class ConstantSymbol(Symbol):
    """`NAME = expr`; `value` once evaluated, `busy` while that is under way."""

    node: syntax.Node
    value: typed.Expr | None = None
    busy: bool = False


@dataclass(eq=False)
class GlobalSymbol(Symbol):
    """`NAME: T`; `variable` once its type is known. Array constants are such variables too."""

    node: syntax.Declare
    variable: typed.Global | None = None


@dataclass(eq=False)
class FunctionSymbol(Symbol):
    """A function. `home` is the module whose names its body sees, `owner` the struct of a method.

    The parameters' types are None where they are generic; `instances` are the checked functions
    by the types of the generic arguments (one, by (), when nothing is generic).
    """

    node: syntax.Function
    home: str
    owner: Struct | Str | None = None
    parameters: tuple[Type | None, ...] = ()
    result: Type | None = None
    instances: dict[tuple[Type, ...], typed.Function] = field(default_factory=dict)

    @property
    def generic(self) -> bool:
        """Whether some parameter is a bare `array`."""
        return None in self.parameters

    @property
    def formats(self) -> bool:
        """Whether the last parameter is `str...`."""
        return bool(self.node.parameters) and self.node.parameters[-1].formats


@dataclass(eq=False)
class StructSymbol(Symbol):
    """A struct; its fields are filled in on demand."""

    node: syntax.Struct
    type: Struct
    state: str = "declared"
    methods: dict[str, FunctionSymbol] = field(default_factory=dict)


@dataclass(eq=False)
class EnumSymbol(Symbol):
    """An enum."""

    type: Enum


@dataclass(eq=False)
class ModuleSymbol(Symbol):
    """A module as a name."""


@dataclass(eq=False)
class BuiltinSymbol(Symbol):
    """A function that the checker knows itself."""


PRELUDE = "prelude"
"""The module whose names are seen everywhere."""


@dataclass(eq=False)
class World:
    """All modules of a program, and what has been found out about them so far."""

    modules: dict[str, dict[str, Symbol]] = field(default_factory=dict)
    diagnostics: list[Diagnostic] = field(default_factory=list)
    structs: dict[Struct, StructSymbol] = field(default_factory=dict)
    enums: list[Enum] = field(default_factory=list)
    globals: list[typed.Global] = field(default_factory=list)
    read_only: set[typed.Global] = field(default_factory=set)
    pending: list[tuple[FunctionSymbol, typed.Function]] = field(default_factory=list)
    externs: list[typed.Function] = field(default_factory=list)
    calls: dict[typed.Function, dict[typed.Function, Place]] = field(default_factory=dict)
    """What each function calls, and where first."""
    lane_uses: dict[typed.Function, tuple[str, Place]] = field(default_factory=dict)
    """The functions that do what only lanes can: the builtin and where."""

    def report(self, place: Place, message: str, hint: str = "") -> None:
        """Notes a mistake."""
        self.diagnostics.append(Diagnostic(place, message, hint))

    def note_call(
        self, caller: typed.Function | None, callee: typed.Function, place: Place
    ) -> None:
        """Notes a call, or the use of a function's address."""
        if caller is not None:
            self.calls.setdefault(caller, {}).setdefault(callee, place)

    def everywhere(self, name: str) -> Iterator[Symbol]:
        """The symbols of this name in all modules."""
        for names in self.modules.values():
            if name in names:
                yield names[name]
