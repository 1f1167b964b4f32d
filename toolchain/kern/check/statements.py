"""Statements, loops apart."""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, checks_statement
from toolchain.kern.check.convert import address_of, convert
from toolchain.kern.check.declare import fill_struct
from toolchain.kern.check.expressions import needed_value
from toolchain.kern.check.flow import diverges, in_loop, leave
from toolchain.kern.check.operators import combine, shift_values
from toolchain.kern.check.results import dropped_otherwise, refuse_result
from toolchain.kern.check.symbols import (
    PRELUDE,
    ConstantSymbol,
    GlobalSymbol,
)
from toolchain.kern.check.typenames import resolve_type
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import (
    BOOL,
    POISON,
    STR,
    VOID,
    Bool,
    Enum,
    Int,
    Order,
    Result,
    Str,
    Struct,
    Type,
)

# ── Blocks ───────────────────────────────────────────────────────────────────────────────────


@checks_statement(syntax.Block)
def block(context: Context, node: syntax.Block) -> list[typed.Stmt]:
    """A block as a statement."""
    return [scoped_block(context, node)]


def scoped_block(context: Context, node: syntax.Block, *, loop: bool = False) -> typed.Block:
    """A block in a scope of its own."""
    with context.scope(loop):
        return block_in_scope(context, node)


def block_in_scope(context: Context, node: syntax.Block) -> typed.Block:
    """A block in the innermost scope, which the caller made; ends with what it defers."""
    body: list[typed.Stmt] = []
    for statement in node.body:
        body += context.statement(statement)
    scope = context.scopes[-1]
    if scope.deferred and not any(map(diverges, body)):
        body += reversed(scope.deferred)
    return typed.Block(node.place, tuple(body), node.end)


# ── Assignment ───────────────────────────────────────────────────────────────────────────────


@checks_statement(syntax.Assign)
def assign(context: Context, node: syntax.Assign) -> list[typed.Stmt]:
    """`target = value`: declares a local when the target is a name that is no variable yet."""
    if isinstance(node.target, syntax.Name) and not _is_variable(context, node.target):
        return _first_assignment(context, node.target, node.value)
    target = _target(context, node.target)
    value = context.expression(node.value, target.type if target else None)
    value = refuse_result(context, value)
    if target is None or value.type == POISON:
        return []
    value = convert(context, value, target.type)
    return [typed.Store(node.place, target, value)]


def _is_variable(context: Context, node: syntax.Name) -> bool:
    """Whether a bare name on the left assigns: a local, or a global or constant (which is then
    refused) of the own module or the prelude."""
    if context.find_local(node.name, node.place) is not None:
        return True
    for module in (context.module, PRELUDE):
        symbol = context.world.modules.get(module, {}).get(node.name)
        if isinstance(symbol, GlobalSymbol | ConstantSymbol):
            return True
    return False


def _first_assignment(context: Context, name: syntax.Name, node: syntax.Node) -> list[typed.Stmt]:
    value = needed_value(context, node)
    local = context.local(name.name, value.type, name.place)
    context.bind(name.name, typed.LocalVar(value.type, name.place, local))
    return [typed.Let(name.place, local, value)]


@checks_statement(syntax.Declare)
def declare(context: Context, node: syntax.Declare) -> list[typed.Stmt]:
    """`name: T = value`; without a value it is zero."""
    if node.local:
        return _declare_local(context, node)
    type_ = resolve_type(context, node.type, node.name)
    if isinstance(type_, Struct):
        fill_struct(context.world, type_)
    if isinstance(type_, Result):
        context.wrong(node.type.place, f"a variable cannot be a result ({type_})")
        type_ = POISON
    value: typed.Expr = typed.Zero(type_, node.place)
    if node.value is not None:
        given = refuse_result(context, context.expression(node.value, type_))
        value = convert(context, given, type_)
    if any(node.name in scope.names for scope in context.scopes[-1:]):
        context.wrong(node.place, f"'{node.name}' is already declared in this block")
    local = context.local(node.name, type_, node.place)
    context.bind(node.name, typed.LocalVar(type_, node.place, local))
    return [typed.Let(node.place, local, value)]


def _declare_local(context: Context, node: syntax.Declare) -> list[typed.Stmt]:
    """`local name: T`: an object that the lanes of a workgroup share."""
    from toolchain.kern.check.lane_rules import refuse_group_memory

    type_ = resolve_type(context, node.type, node.name)
    why = refuse_group_memory(context, node)
    if why:
        context.wrong(node.place, why)
    local = context.local(node.name, type_, node.place)
    local.group = True
    context.bind(node.name, typed.LocalVar(type_, node.place, local))
    return []


def _target(context: Context, node: syntax.Node) -> typed.Lvalue | None:
    """The object on the left of an assignment; None after reporting that it is none."""
    value = context.expression(node)
    if value.type == POISON:
        return None
    if not isinstance(value, typed.Load):
        if isinstance(node, syntax.Name):
            context.wrong(node.place, f"'{node.name}' is a constant and cannot be assigned")
        else:
            context.wrong(node.place, "this cannot be assigned to")
        return None
    why = _read_only(context, value.lvalue)
    if why:
        context.wrong(node.place, why)
        return None
    return value.lvalue


def _read_only(context: Context, lvalue: typed.Lvalue) -> str:
    """Why an object cannot be assigned to; empty when it can."""
    match lvalue:
        case typed.GlobalVar(symbol=symbol):
            if symbol in context.world.read_only:
                return f"'{symbol.name}' is a constant and cannot be assigned"
        case typed.FieldOf(base=base) | typed.Element(base=base):
            return _read_only(context, base)
        case typed.SliceElement(base=base) if isinstance(base.type, Str):
            return "the bytes of a str cannot be changed"
        case typed.Temporary():
            return "this is a temporary value; assigning to it has no effect"
    return "an order cannot be assigned" if isinstance(lvalue.type, Order) else ""


@checks_statement(syntax.Update)
def update(context: Context, node: syntax.Update) -> list[typed.Stmt]:
    """`target op= value`, the target evaluated once."""
    target = _target(context, node.target)
    if target is None:
        context.expression(node.value)
        return []
    before: list[typed.Stmt] = []
    if not _is_plain(target):
        keep, again = context.temporary(address_of(target), "target")
        before = [keep]
        target = typed.Deref(target.type, target.place, again, checked=False)
    shift = node.op in ("<<", ">>")
    value = context.expression(node.value, None if shift else target.type)
    left = typed.Load(target.type, node.target.place, target)
    infix = syntax.Infix(node.place, node.op, node.target, node.value, node.place)
    if shift:
        result = shift_values(context, infix, left, value, None)
    else:
        result = combine(context, infix, left, value)
    if result.type == POISON:
        return []
    return [*before, typed.Store(node.place, target, convert(context, result, target.type))]


def _is_plain(lvalue: typed.Lvalue) -> bool:
    """Whether evaluating an object twice is as good as once."""
    match lvalue:
        case typed.LocalVar() | typed.GlobalVar():
            return True
        case typed.FieldOf(base=base):
            return _is_plain(base)
        case typed.Element(base=base, index=index):
            return _is_plain(base) and isinstance(index, typed.IntConst)
        case typed.Deref(pointer=pointer, checked=False):
            return isinstance(pointer, typed.Load) and isinstance(pointer.lvalue, typed.LocalVar)
    return False


# ── Calls as statements ──────────────────────────────────────────────────────────────────────


@checks_statement(syntax.Evaluate)
def evaluate(context: Context, node: syntax.Evaluate) -> list[typed.Stmt]:
    """A call whose value, if any, is dropped; an error must not be."""
    if isinstance(node.value, syntax.Otherwise):
        return [typed.Evaluate(node.place, dropped_otherwise(context, node.value))]
    value = context.expression(node.value)
    if value.type == POISON:
        return []
    if isinstance(value.type, Result):
        context.wrong(
            node.place,
            "the error of this call is dropped",
            "write 'try' before it, or 'else e { ... }' after it",
        )
        return []
    if not isinstance(node.value, syntax.Call | syntax.Try | syntax.Launch):
        context.wrong(
            node.place, "this value is not used", "a statement is a call or an assignment"
        )
        return []
    return [typed.Evaluate(node.place, value)]


@checks_statement(syntax.Defer)
def defer(context: Context, node: syntax.Defer) -> list[typed.Stmt]:
    """`defer { ... }`: runs on every way out of the enclosing block."""
    if context.in_defer:
        context.wrong(node.place, "a deferred block cannot defer")
        return []
    context.in_defer = True
    deferred = scoped_block(context, node.body)
    context.in_defer = False
    context.scopes[-1].deferred.append(deferred)
    return []


# ── Branches ─────────────────────────────────────────────────────────────────────────────────


@checks_statement(syntax.If)
def if_(context: Context, node: syntax.If) -> list[typed.Stmt]:
    """`if condition { } else { }`."""
    test = condition(context, node.condition, "if")
    then = scoped_block(context, node.then)
    other = scoped_block(context, node.otherwise) if node.otherwise else None
    return [typed.If(node.place, test, then, other)]


def condition(context: Context, node: syntax.Node, word: str) -> typed.Expr:
    """A condition, which is a bool."""
    return convert(context, context.expression(node, BOOL), BOOL, f"the condition of '{word}'")


@checks_statement(syntax.Match)
def match_(context: Context, node: syntax.Match) -> list[typed.Stmt]:
    """`match value { ... }`; over an enum it covers every member or has an `else`."""
    value = needed_value(context, node.value)
    if isinstance(value.type, Str):
        return _match_str(context, node, value)
    if not isinstance(value.type, Int | Enum | Bool):
        if value.type != POISON:
            context.wrong(value.place, f"{value.type} cannot be matched")
        value = typed.Zero(POISON, value.place)
    seen: dict[int, Place] = {}
    cases: list[tuple[tuple[int, ...], typed.Block]] = []
    default: typed.Block | None = None
    for arm in node.arms:
        numbers = [_pattern(context, p, value.type, seen) for p in arm.patterns]
        body = scoped_block(context, arm.body)
        if arm.patterns:
            cases.append((tuple(n for n in numbers if n is not None), body))
        elif default is not None:
            context.wrong(arm.place, "there is already an 'else'")
        else:
            default = body
    if default is None and value.type != POISON:
        default = _without_else(context, node, value.type, set(seen))
    return [typed.Switch(node.place, value, tuple(cases), default)]


def _without_else(
    context: Context, node: syntax.Match, type_: Type, covered: set[int]
) -> typed.Block | None:
    """What happens to a value without an arm: nothing for numbers; enums must be covered."""
    if isinstance(type_, Enum):
        missing = [name for name, number in type_.members.items() if number not in covered]
        if missing:
            message = f"this match misses {', '.join(missing)}"
            context.wrong(node.place, message, "add them, or an 'else'")
        return None
    return typed.Block(node.place, (), node.place)


def _pattern(
    context: Context, node: syntax.Node, type_: Type, seen: dict[int, Place]
) -> int | None:
    value = convert(context, context.expression(node, type_), type_, "a pattern")
    if value.type == POISON:
        return None
    if not isinstance(value, typed.IntConst):
        context.wrong(node.place, "a pattern is a constant")
        return None
    if value.value in seen:
        context.wrong(node.place, "this value has an arm already")
        return None
    seen[value.value] = node.place
    return value.value


def _match_str(context: Context, node: syntax.Match, value: typed.Expr) -> list[typed.Stmt]:
    """A match over texts: compared one after the other."""
    keep, again = context.temporary(value, "matched")
    otherwise: typed.Block | None = None
    arms: list[tuple[typed.Expr, typed.Block]] = []
    for arm in node.arms:
        body_patterns = [
            convert(context, context.expression(p, STR), STR, "a pattern") for p in arm.patterns
        ]
        body = scoped_block(context, arm.body)
        if not arm.patterns:
            otherwise = body
            continue
        tests = [typed.Binary(BOOL, p.place, "eq", again, p) for p in body_patterns]
        test: typed.Expr = tests[0]
        for more in tests[1:]:
            test = typed.Logical(BOOL, more.place, "or", test, more)
        arms.append((test, body))
    for test, body in reversed(arms):
        branch = typed.If(test.place, test, body, otherwise)
        otherwise = typed.Block(test.place, (branch,), body.end)
    return [keep, *(otherwise.body if otherwise is not None else ())]


# ── Ways out ─────────────────────────────────────────────────────────────────────────────────


@checks_statement(syntax.Return)
def return_(context: Context, node: syntax.Return) -> list[typed.Stmt]:
    """`return value`; what is deferred runs after the value is known."""
    if context.in_defer:
        context.wrong(node.place, "what is deferred cannot leave the function")
        return []
    assert context.function is not None
    result = context.function.result
    value = _returned(context, node, result)
    deferred = leave(context)
    if value is None or not deferred:
        return [*deferred, typed.Return(node.place, value)]
    keep, again = context.temporary(value, "returned")
    return [keep, *deferred, typed.Return(node.place, again)]


def _returned(context: Context, node: syntax.Return, result: Type) -> typed.Expr | None:
    wanted = result.value if isinstance(result, Result) else result
    if node.value is None:
        if wanted not in (VOID, POISON):
            context.wrong(node.place, f"'return' must give a value of type {wanted}")
        return typed.Ok(result, node.place, None) if isinstance(result, Result) else None
    value = context.expression(node.value, wanted)
    if value.type == result:
        return value if result != VOID else refuse_result(context, value)
    if wanted == VOID:
        if value.type != POISON:
            hint = "this function has no result: add '-> T'"
            context.wrong(node.value.place, "there is nothing to return here", hint)
        return None
    if isinstance(result, Result):
        if isinstance(value.type, Result):
            value = refuse_result(context, value)
        converted = convert(context, value, wanted, "the returned value")
        return typed.Ok(result, node.place, converted)
    return convert(context, value, result, "the returned value")


@checks_statement(syntax.Break)
def break_(context: Context, node: syntax.Break) -> list[typed.Stmt]:
    """`break`."""
    for scope in reversed(context.scopes):
        if scope.loop:
            scope.broken = True
            break
    return _leave_loop(context, "break", typed.Break(node.place))


@checks_statement(syntax.Continue)
def continue_(context: Context, node: syntax.Continue) -> list[typed.Stmt]:
    """`continue`."""
    return _leave_loop(context, "continue", typed.Continue(node.place))


def _leave_loop(context: Context, word: str, jump: typed.Stmt) -> list[typed.Stmt]:
    if context.in_defer:
        context.wrong(jump.place, f"'{word}' cannot be deferred")
        return []
    if not in_loop(context):
        context.wrong(jump.place, f"'{word}' stands outside of any loop")
        return []
    return [*leave(context, loop=True), jump]
