"""Errors as values: `try`, `else`, `fail`, and the refusal to drop them."""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, checks_expression, checks_statement
from toolchain.kern.check.flow import diverges, leave
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import BOOL, NEVER, POISON, STR, VOID, Result, Type


def refuse_result(context: Context, value: typed.Expr) -> typed.Expr:
    """A value that is used as it is, so must be neither a result nor nothing."""
    if isinstance(value.type, Result):
        return context.wrong(value.place, "this may be an error, which must be handled",
                             "write 'try' before it, or 'else' after it")  # fmt: skip
    if value.type in (VOID, NEVER):
        return context.wrong(value.place, "this call gives no value")
    return value


@checks_expression(syntax.Try)
def try_(context: Context, node: syntax.Try, expected: Type | None) -> typed.Expr:
    """`try f()`: the value, or leaves this function with f's error."""
    result = context.expression(node.result, expected)
    if not _is_result(context, result, "try"):
        return typed.Zero(POISON, node.place)
    keep, again = context.temporary(result, "result")
    error = typed.ErrorText(STR, node.place, again)
    way_out = _propagate(context, error, node.place)
    if way_out is None:
        return typed.Zero(POISON, node.place)
    return _branch(node.place, keep, again, tuple(way_out), node.place)


def _is_result(context: Context, value: typed.Expr, word: str) -> bool:
    if isinstance(value.type, Result):
        return True
    if value.type != POISON:
        context.wrong(value.place, f"this cannot be an error, so '{word}' has nothing to do")
    return False


def _propagate(context: Context, error: typed.Expr, place: Place) -> list[typed.Stmt] | None:
    """The statements that leave the function with an error; None when it cannot have one."""
    if context.in_defer:
        context.wrong(place, "what is deferred cannot leave the function")
        return None
    function = context.function
    if function is not None and isinstance(function.result, Result):
        failure = typed.Err(function.result, place, error)
        return [*leave(context), typed.Return(place, failure)]
    if context.is_test:
        return [typed.Evaluate(place, typed.Panic(NEVER, place, error))]
    hint = "handle it here with 'else'"
    if function is not None and function.name != "kern_main":
        shown = "" if function.result == VOID else f"{function.result}"
        hint = f"give '{function.name}' a result type ending in '!' ({shown}!), or use 'else'"
    context.wrong(place, "this function cannot give an error", hint)
    return None


def _branch(
    place: Place, keep: typed.Let, result: typed.Expr, body: tuple[typed.Stmt, ...], end: Place
) -> typed.Expr:
    """The value of a result, after `body` when it is an error."""
    assert isinstance(result.type, Result)
    failed = typed.IsError(BOOL, place, result)
    branch = typed.If(place, failed, typed.Block(place, body, end), None)
    type_ = result.type.value
    value = None if type_ == VOID else typed.ResultValue(type_, place, result)
    return typed.Seq(type_, place, (keep, branch), value)


@checks_expression(syntax.Otherwise)
def otherwise(context: Context, node: syntax.Otherwise, expected: Type | None) -> typed.Expr:
    """`f() else e { ... }` where a value is needed: the block must not fall through."""
    value, falls_through = _otherwise(context, node, expected)
    if falls_through and value.type not in (VOID, POISON):
        return context.wrong(
            node.block.end,
            "this block must leave: a value is needed and there is none after an error",
            "end it with return, fail, break or continue",
        )
    return value


def dropped_otherwise(context: Context, node: syntax.Otherwise) -> typed.Expr:
    """`f() else e { ... }` as a statement: any value is dropped."""
    value, _ = _otherwise(context, node, None)
    if isinstance(value, typed.Seq):
        return typed.Seq(VOID, value.place, value.body, None)
    return value


def _otherwise(
    context: Context, node: syntax.Otherwise, expected: Type | None
) -> tuple[typed.Expr, bool]:
    from toolchain.kern.check.statements import block_in_scope

    result = context.expression(node.result, expected)
    if not _is_result(context, result, "else"):
        with context.scope():
            _bind_error(context, node, typed.Zero(STR, node.place))
            block_in_scope(context, node.block)
        return typed.Zero(POISON, node.place), False
    keep, again = context.temporary(result, "result")
    with context.scope():
        bound = _bind_error(context, node, typed.ErrorText(STR, node.place, again))
        handler = block_in_scope(context, node.block)
    value = _branch(node.place, keep, again, (*bound, handler), node.block.end)
    return value, not diverges(handler)


def _bind_error(context: Context, node: syntax.Otherwise, error: typed.Expr) -> list[typed.Stmt]:
    if node.name is None:
        return []
    place = node.block.place
    local = context.local(node.name, STR, place)
    context.bind(node.name, typed.LocalVar(STR, place, local))
    return [typed.Let(place, local, error)]


@checks_statement(syntax.Fail)
def fail(context: Context, node: syntax.Fail) -> list[typed.Stmt]:
    """`fail "text {}", x`: leaves the function with an error."""
    from toolchain.kern.check.format import format_text

    message = format_text(context, node.arguments, node.place, "error")
    if message.type == POISON:
        return _leaving(node.place)
    keep, again = context.temporary(message, "error")
    way_out = _propagate(context, again, node.place)
    return _leaving(node.place) if way_out is None else [keep, *way_out]


def _leaving(place: Place) -> list[typed.Stmt]:
    """What stands for a wrong statement that leaves, so that no more is said about it."""
    return [typed.Return(place, None)]
