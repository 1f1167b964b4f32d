"""Where control goes: which statements never reach their end, and what runs on the way out."""

from __future__ import annotations

from toolchain.kern import typed
from toolchain.kern.check.context import Context
from toolchain.kern.types import NEVER, Enum


def leave(context: Context, *, loop: bool = False) -> list[typed.Stmt]:
    """The deferred blocks to run when leaving the function, or only the innermost loop."""
    out: list[typed.Stmt] = []
    for scope in reversed(context.scopes):
        out += reversed(scope.deferred)
        if loop and scope.loop:
            break
    return out


def in_loop(context: Context) -> bool:
    """Whether there is a loop to leave."""
    return any(scope.loop for scope in context.scopes)


def diverges(node: typed.Stmt | None) -> bool:
    """Whether control never passes the end of a statement."""
    match node:
        case typed.Return() | typed.Break() | typed.Continue():
            return True
        case typed.Block(body=body):
            return any(map(diverges, body))
        case typed.If(then=then, otherwise=other):
            return diverges(then) and diverges(other)
        case typed.Loop(condition=None):
            return True
        case typed.Switch():
            complete = node.default is not None or _exhaustive(node)
            arms = [body for _, body in node.cases]
            return complete and all(map(diverges, [*arms, *([node.default] * bool(node.default))]))
        case typed.Evaluate(value=value) | typed.Let(value=value) | typed.Store(value=value):
            return value.type == NEVER or _seq_diverges(value)
    return False


def _seq_diverges(value: typed.Expr) -> bool:
    return isinstance(value, typed.Seq) and any(map(diverges, value.body))


def _exhaustive(node: typed.Switch) -> bool:
    if not isinstance(node.value.type, Enum):
        return False
    covered = {value for values, _ in node.cases for value in values}
    return covered >= set(node.value.type.members.values())
