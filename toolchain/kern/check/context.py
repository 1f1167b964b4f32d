"""Where an expression or statement stands: the function, its scopes, the world around it.

The passes over the tree are tables from a kind of node to the function that checks it; each file
of this package adds its kinds with `@checks_expression` and `@checks_statement`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from toolchain.kern import syntax, typed
from toolchain.kern.check.symbols import World
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import POISON, Type

ExpressionCheck = Callable[["Context", Any, Type | None], typed.Expr]
StatementCheck = Callable[["Context", Any], list[typed.Stmt]]

_EXPRESSIONS: dict[type, ExpressionCheck] = {}
_STATEMENTS: dict[type, StatementCheck] = {}


def checks_expression(kind: type) -> Callable[[ExpressionCheck], ExpressionCheck]:
    """Enters a function as the check of one kind of expression."""

    def enter(check: ExpressionCheck) -> ExpressionCheck:
        _EXPRESSIONS[kind] = check
        return check

    return enter


def checks_statement(kind: type) -> Callable[[StatementCheck], StatementCheck]:
    """Enters a function as the check of one kind of statement."""

    def enter(check: StatementCheck) -> StatementCheck:
        _STATEMENTS[kind] = check
        return check

    return enter


@dataclass
class Scope:
    """The names of one block, what it defers; of a loop's also whether a break leaves it."""

    names: dict[str, typed.Lvalue] = field(default_factory=dict)
    deferred: list[typed.Block] = field(default_factory=list)
    loop: bool = False
    broken: bool = False


@dataclass
class Context:
    """One function being checked, or (function None) a constant expression."""

    world: World
    module: str
    function: typed.Function | None = None
    is_test: bool = False
    scopes: list[Scope] = field(default_factory=list)
    in_defer: bool = False

    def expression(self, node: syntax.Node, expected: Type | None = None) -> typed.Expr:
        """The value of a node. `expected` guides literals; it is not enforced here."""
        check = _EXPRESSIONS.get(type(node))
        if check is None:
            return self.wrong(node.place, "this is no value here")
        return check(self, node, expected)

    def statement(self, node: syntax.Node) -> list[typed.Stmt]:
        """The statements that a node becomes."""
        check = _STATEMENTS.get(type(node))
        if check is None:
            self.world.report(node.place, "a declaration stands at the top level of its file")
            return []
        return check(self, node)

    def wrong(self, place: Place, message: str, hint: str = "") -> typed.Expr:
        """Reports a mistake and gives the expression that stands for it."""
        self.world.report(place, message, hint)
        return typed.Zero(POISON, place)

    # ── Locals ───────────────────────────────────────────────────────────────────────────────

    @contextmanager
    def scope(self, loop: bool = False) -> Iterator[Scope]:
        """A block's scope."""
        self.scopes.append(Scope(loop=loop))
        try:
            yield self.scopes[-1]
        finally:
            self.scopes.pop()

    def local(
        self, name: str, type_: Type, place: Place, *, hidden: bool = False, reference: bool = False
    ) -> typed.Local:
        """A new local of the function."""
        local = typed.Local(name, type_, place, hidden, reference)
        if self.function is not None:
            self.function.locals.append(local)
        return local

    def bind(self, name: str, lvalue: typed.Lvalue) -> None:
        """Makes a name of the innermost scope stand for an object."""
        self.scopes[-1].names[name] = lvalue

    def find_local(self, name: str, place: Place) -> typed.Lvalue | None:
        """The object that a local name stands for, as used at `place`."""
        for scope in reversed(self.scopes):
            if name in scope.names:
                return replace(scope.names[name], place=place)
        return None

    def local_names(self) -> set[str]:
        """All local names in sight, for hints."""
        return {name for scope in self.scopes for name in scope.names}

    def temporary(self, value: typed.Expr, name: str = "t") -> tuple[typed.Let, typed.Expr]:
        """Keeps a value in a hidden local: the statement that does, and the value read back."""
        local = self.local(name, value.type, value.place, hidden=True)
        return typed.Let(value.place, local, value), read(local, value.place)


def read(local: typed.Local, place: Place) -> typed.Expr:
    """The value of a local."""
    return typed.Load(local.type, place, typed.LocalVar(local.type, place, local))
