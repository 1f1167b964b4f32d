"""Which function writes which node of the typed tree.

Each emitter is registered by the node it is for; `check_complete` makes a node without an emitter
a failure at import. Values in memory have a second registry: those emitters write the value to a
given address.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from toolchain.kern import typed
from toolchain.kern.codegen.ir import Value

if TYPE_CHECKING:
    from toolchain.kern.codegen.function import FunctionEmitter

VALUES: dict[type, Callable[[FunctionEmitter, Any], Value]] = {}
"""Emitters of values; of lvalues, as their address; and of statements."""

INTO: dict[type, Callable[[FunctionEmitter, Any, Value], None]] = {}
"""Emitters of values in memory, to an address that holds nothing the value depends on."""

STATEMENTS: dict[type, Callable[[FunctionEmitter, Any], None]] = {}
"""Emitters of statements."""

_F = TypeVar("_F", bound=Callable[..., Any])


def emits(node: type) -> Callable[[_F], _F]:
    """Registers the emitter of an expression (its value) or an lvalue (its address)."""
    return _adder(VALUES, node)


def emits_into(node: type) -> Callable[[_F], _F]:
    """Registers the emitter that writes a value in memory."""
    return _adder(INTO, node)


def executes(node: type) -> Callable[[_F], _F]:
    """Registers the emitter of a statement."""
    return _adder(STATEMENTS, node)


def _adder(table: dict[type, Any], node: type) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        assert node not in table, node
        table[node] = function
        return function

    return add


IN_MEMORY_ONLY = {typed.StructValue, typed.ArrayValue}
"""Expressions whose values always are in memory."""


def check_complete() -> None:
    """Fails when a node of the typed tree has no emitter."""
    for base, table in ((typed.Lvalue, VALUES), (typed.Expr, VALUES), (typed.Stmt, STATEMENTS)):
        missing = set(base.__subclasses__()) - set(table) - IN_MEMORY_ONLY
        assert not missing, f"no emitter for {sorted(node.__name__ for node in missing)}"
    assert set(INTO) >= IN_MEMORY_ONLY
