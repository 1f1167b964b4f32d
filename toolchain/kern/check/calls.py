"""Calls: functions, methods, casts, builtins, values of function type."""

from __future__ import annotations

from dataclasses import replace

from toolchain.kern import syntax, typed
from toolchain.kern.check.access import has_member, member
from toolchain.kern.check.builtins import call_builtin
from toolchain.kern.check.containers import call_operation, operations
from toolchain.kern.check.context import Context, checks_expression
from toolchain.kern.check.convert import address_of, cast, convert, lvalue_of
from toolchain.kern.check.declare import fill_struct, instantiate
from toolchain.kern.check.format import format_text
from toolchain.kern.check.names import find_symbol, resolve, undefined
from toolchain.kern.check.symbols import (
    BuiltinSymbol,
    FunctionSymbol,
    ModuleSymbol,
    Symbol,
)
from toolchain.kern.check.tensors import LIBRARY, method_of, typed_result
from toolchain.kern.check.typenames import named_type
from toolchain.kern.diagnostics import did_you_mean
from toolchain.kern.types import (
    BOOL,
    INT,
    POISON,
    U8,
    VOID,
    Array,
    Fn,
    Order,
    Ptr,
    Queue,
    Result,
    Slice,
    SlotTable,
    Str,
    Struct,
    Tensor,
    Type,
)


@checks_expression(syntax.Call)
def call(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """`callee(arguments)`, whatever the callee is."""
    symbol = _called_symbol(context, node.callee)
    if isinstance(symbol, FunctionSymbol):
        return call_function(context, symbol, node, None)
    if isinstance(symbol, BuiltinSymbol):
        return call_builtin(context, symbol.name, node, expected)
    target = named_type(context, node.callee)
    if target is not None:
        return _cast(context, target, node)
    if isinstance(node.callee, syntax.Dot) and symbol is None:
        return _call_dotted(context, node, node.callee)
    callee = node.callee
    if (
        symbol is None
        and isinstance(callee, syntax.Name)
        and context.find_local(callee.name, node.place) is None
    ):
        _check_arguments(context, node)
        return context.wrong(callee.place, *undefined(context, callee.name))
    return _call_value(context, context.expression(node.callee), node)


def _called_symbol(context: Context, callee: syntax.Node) -> Symbol | None:
    """What a callee names; a module stands for its function of the same name."""
    if not isinstance(callee, syntax.Name | syntax.Dot):
        return None
    symbol = resolve(context, callee)
    if isinstance(symbol, ModuleSymbol):
        own = context.world.modules[symbol.name].get(symbol.name)
        return own if own is not None else symbol
    return symbol


def _check_arguments(context: Context, node: syntax.Call) -> typed.Expr:
    """Checks arguments for their own mistakes, of a call that is wrong already.

    Not bare names: they may be members of an enum that nobody expects here.
    """
    for argument in node.arguments:
        if not isinstance(argument, syntax.Name):
            context.expression(argument)
    return typed.Zero(POISON, node.place)


def _cast(context: Context, target: Type, node: syntax.Call) -> typed.Expr:
    """`T(x)`; `slice[T](p, n)` and `str(p, n)` make a view from a pointer and a length."""
    if isinstance(target, Slice | Str) and len(node.arguments) == 2 and not node.keywords:
        return _make_view(context, target, node)
    if len(node.arguments) != 1 or node.keywords:
        _check_arguments(context, node)
        message = f"a cast to {target} takes one value"
        hint = f"a struct literal is {target}{{field: value}}" if isinstance(target, Struct) else ""
        return context.wrong(node.place, message, hint)
    guide = Slice(target.element) if isinstance(target, Tensor) and target.element else target
    value = context.expression(node.arguments[0], guide if isinstance(guide, Slice) else None)
    if value.type == POISON:
        return typed.Zero(POISON, node.place)
    return cast(context, value, target, node.place)


def _make_view(context: Context, target: Slice | Str, node: syntax.Call) -> typed.Expr:
    element = target.element if isinstance(target, Slice) else U8
    pointer = context.expression(node.arguments[0])
    if pointer.type == Ptr():
        pointer = cast(context, pointer, Ptr(element), pointer.place)
    pointer = convert(context, pointer, Ptr(element), "the pointer")
    length = convert(context, context.expression(node.arguments[1], INT), INT, "the length")
    return typed.MakeSlice(target, node.place, pointer, length)


# ── x.name(...) ──────────────────────────────────────────────────────────────────────────────


def _call_dotted(context: Context, node: syntax.Call, callee: syntax.Dot) -> typed.Expr:
    base = resolve(context, callee.base) if isinstance(
        callee.base, syntax.Name | syntax.Dot) else None  # fmt: skip
    if isinstance(base, ModuleSymbol):
        _check_arguments(context, node)
        known = context.world.modules[base.name]
        message = f"the module '{base.name}' has no function '{callee.name}'"
        return context.wrong(callee.name_place, message, did_you_mean(callee.name, known))
    value = context.expression(callee.base)
    if value.type == POISON:
        return _check_arguments(context, node)
    return call_method(context, value, node, callee)


def call_method(
    context: Context, value: typed.Expr, node: syntax.Call, callee: syntax.Dot
) -> typed.Expr:
    """`value.name(...)`: a method, a container's operation, a field that is a function, or a
    function of the prelude that takes the value first."""
    target = value.type
    if isinstance(target, Ptr) and target.target is not None:
        target = target.target
    if isinstance(target, Struct):
        fill_struct(context.world, target)
        method = context.world.structs[target].methods.get(callee.name)
        if method is not None:
            return call_function(context, method, node, _self(value, method))
        if has_member(context, target, callee.name):
            return _call_value(context, member(context, value, callee), node)
        _check_arguments(context, node)
        known = [*context.world.structs[target].methods, *(f.name for f in target.fields)]
        message = f"'{target}' has no method '{callee.name}'"
        return context.wrong(callee.name_place, message, did_you_mean(callee.name, known))
    if isinstance(target, Tensor):
        return _call_on_tensor(context, value, node, callee)
    if operations(target):
        if target is not value.type:
            lvalue = typed.Deref(target, callee.place, value, checked=True)
            value = typed.Load(target, callee.place, lvalue)
        return call_operation(context, value, node, callee)
    return _call_on_value(context, value, node, callee)


def _call_on_tensor(
    context: Context, value: typed.Expr, node: syntax.Call, callee: syntax.Dot
) -> typed.Expr:
    method = method_of(context, callee, value)
    if method is None:
        return _check_arguments(context, node)
    if isinstance(value.type, Ptr) and value.type.target is not None:
        lvalue = typed.Deref(value.type.target, callee.place, value, checked=True)
        value = typed.Load(value.type.target, callee.place, lvalue)
    return call_function(context, method, node, value)


def _self(value: typed.Expr, method: FunctionSymbol) -> typed.Expr:
    """The first argument of a method call: the address of the object, or the object if `self`
    is declared with another type."""
    declared = method.parameters[0] if method.parameters else None
    if isinstance(value.type, Ptr) or not isinstance(declared, Ptr):
        return value
    return address_of(lvalue_of(value))


def _call_on_value(
    context: Context, value: typed.Expr, node: syntax.Call, callee: syntax.Dot
) -> typed.Expr:
    if callee.name in ("len", "ptr") and has_member(context, value.type, callee.name):
        return context.wrong(callee.name_place, f"'{callee.name}' is a field", "drop the ()")
    symbol = find_symbol(context, callee.name, callee.name_place)
    if isinstance(symbol, FunctionSymbol) and isinstance(value.type, Str | Slice | Array):
        return call_function(context, symbol, node, value)
    _check_arguments(context, node)
    hint = "handle its error with 'try' or 'else'" if isinstance(value.type, Result) else ""
    return context.wrong(callee.name_place, f"{value.type} has no method '{callee.name}'", hint)


def _call_value(context: Context, callee: typed.Expr, node: syntax.Call) -> typed.Expr:
    """A call through a value of function type."""
    if not isinstance(callee.type, Fn):
        _check_arguments(context, node)
        if callee.type == POISON:
            return typed.Zero(POISON, node.place)
        return context.wrong(node.callee.place, f"{callee.type} cannot be called")
    types = callee.type.parameters
    if len(types) != len(node.arguments) or node.keywords:
        _check_arguments(context, node)
        return context.wrong(node.place, _count_message("this function", types, node))
    arguments = tuple(
        convert(context, context.expression(a, t), t, f"argument {i + 1}")
        for i, (a, t) in enumerate(zip(node.arguments, types, strict=True))
    )
    return typed.CallPointer(callee.type.result, node.place, callee, arguments)


def _count_message(what: str, types: tuple[object, ...], node: syntax.Call) -> str:
    plural = "" if len(types) == 1 else "s"
    return f"{what} takes {len(types)} argument{plural}, not {len(node.arguments)}"


# ── Functions ────────────────────────────────────────────────────────────────────────────────


def call_function(
    context: Context, symbol: FunctionSymbol, node: syntax.Call, first: typed.Expr | None
) -> typed.Expr:
    """A call of a declared function; `first` is the object of a method call."""
    if symbol.node.gpu:
        _check_arguments(context, node)
        message = f"'{symbol.name}' is a gpu function, so lanes run it"
        return context.wrong(node.place, message, f"launch {symbol.name}(...) over its extents")
    if node.keywords:
        context.wrong(node.keywords[0].place, "arguments are given by position, not by name")
    if first is not None and not symbol.parameters:
        _check_arguments(context, node)
        return context.wrong(node.callee.place, f"'{symbol.name}' takes no arguments")
    arguments = [first] if first is not None else []
    types = [a.type for a in arguments]
    declared = symbol.parameters[len(arguments) :]
    fixed = len(declared) - int(symbol.formats)
    given = node.arguments
    if symbol.module == LIBRARY:  # flags may be left out
        flags = len(declared) - len(given)
        if flags > 0 and all(type_ == BOOL for type_ in declared[len(given) :]):
            given = (*given, *(syntax.Boolean(node.place, False) for _ in range(flags)))
    if len(given) < fixed or (len(given) > fixed and not symbol.formats):
        _check_arguments(context, node)
        return context.wrong(node.place, _wrong_count(symbol, declared, node))
    generics: list[Type] = []
    if first is not None and symbol.parameters[0] is None:
        arguments = [_generic(context, first, generics)]
    elif first is not None and symbol.parameters[0] is not None:
        arguments = [convert(context, first, symbol.parameters[0], "the object")]
    names = [p.name for p in symbol.node.parameters][len(arguments) :]
    for name, type_, argument in zip(names[:fixed], declared[:fixed], given, strict=False):
        arguments.append(_argument(context, symbol, name, type_, argument, generics, types))
    if symbol.formats:
        arguments.append(format_text(context, given[fixed:], node.place, "stack"))
    poisoned = any(a.type == POISON for a in arguments)
    if poisoned and symbol.generic:
        return typed.Zero(symbol.result or VOID, node.place)
    function = instantiate(context.world, symbol, tuple(generics))
    context.world.note_call(context.function, function, node.place)
    made = typed.Call(function.result, node.place, function, tuple(arguments))
    return typed_result(context, symbol, made, types)


def argument_values(
    context: Context, symbol: FunctionSymbol, node: syntax.Call
) -> list[typed.Expr] | None:
    """The arguments of a gpu function; None after reporting that their number is wrong."""
    declared = symbol.parameters
    if len(node.arguments) != len(declared) or node.keywords:
        _check_arguments(context, node)
        context.wrong(node.place, _wrong_count(symbol, declared, node))
        return None
    names = [p.name for p in symbol.node.parameters]
    return [
        _argument(context, symbol, name, type_, argument, [], [])
        for name, type_, argument in zip(names, declared, node.arguments, strict=True)
    ]


def _wrong_count(
    symbol: FunctionSymbol, declared: tuple[Type | None, ...], node: syntax.Call
) -> str:
    message = _count_message(f"'{symbol.name}'", declared, node)
    return message.replace("takes", "takes at least") if symbol.formats else message


def _argument(
    context: Context,
    symbol: FunctionSymbol,
    name: str,
    type_: Type | None,
    node: syntax.Node,
    generics: list[Type],
    types: list[Type],
) -> typed.Expr:
    value = context.expression(node, type_)
    types.append(value.type)
    if type_ is not None:
        return convert(context, value, type_, f"the argument '{name}' of '{symbol.name}'")
    return _generic(context, value, generics)


def _generic(context: Context, value: typed.Expr, generics: list[Type]) -> typed.Expr:
    """An argument for a bare `array`: arrays, tables and queues by reference, views by value."""
    if value.type == POISON:
        return value
    generics.append(value.type)
    if isinstance(value.type, Array | SlotTable | Queue):
        return replace(address_of(lvalue_of(value)), place=value.place)
    if isinstance(value.type, Slice | Str | Order):
        return value
    return context.wrong(value.place, f"an array, slice or order is needed here, not {value.type}")
