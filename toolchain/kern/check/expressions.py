"""Literals, names and composite values."""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, checks_expression
from toolchain.kern.check.convert import convert, default_type, value_type
from toolchain.kern.check.declare import (
    constant_value,
    fill_struct,
    global_variable,
    instantiate,
)
from toolchain.kern.check.names import resolve, undefined
from toolchain.kern.check.symbols import (
    BuiltinSymbol,
    ConstantSymbol,
    EnumSymbol,
    FunctionSymbol,
    GlobalSymbol,
    ModuleSymbol,
    StructSymbol,
    Symbol,
)
from toolchain.kern.check.typenames import named_type
from toolchain.kern.diagnostics import Place, did_you_mean
from toolchain.kern.types import (
    ANY_FLOAT,
    ANY_INT,
    BOOL,
    NAMED,
    NULL,
    POISON,
    STR,
    Array,
    Enum,
    Slice,
    SlotTable,
    Struct,
    Type,
)


@checks_expression(syntax.Integer)
def integer(context: Context, node: syntax.Integer, expected: Type | None) -> typed.Expr:
    """An exact constant; it adapts where it is used."""
    return typed.IntConst(ANY_INT, node.place, node.value)


@checks_expression(syntax.Number)
def number(context: Context, node: syntax.Number, expected: Type | None) -> typed.Expr:
    """A floating point constant."""
    return typed.FloatConst(ANY_FLOAT, node.place, node.value)


@checks_expression(syntax.Text)
def text(context: Context, node: syntax.Text, expected: Type | None) -> typed.Expr:
    """A string."""
    return typed.StrConst(STR, node.place, node.value)


@checks_expression(syntax.Boolean)
def boolean(context: Context, node: syntax.Boolean, expected: Type | None) -> typed.Expr:
    """true or false."""
    return typed.IntConst(BOOL, node.place, int(node.value))


@checks_expression(syntax.NullLiteral)
def null(context: Context, node: syntax.NullLiteral, expected: Type | None) -> typed.Expr:
    """The null pointer of whatever type is expected."""
    return typed.Zero(NULL, node.place)


@checks_expression(syntax.Name)
def name(context: Context, node: syntax.Name, expected: Type | None) -> typed.Expr:
    """A local, a member of the expected enum, or what the name stands for elsewhere."""
    local = context.find_local(node.name, node.place)
    if isinstance(expected, Enum) and node.name in expected.members and (
        local is None or local.type != expected
    ):  # fmt: skip
        return typed.IntConst(expected, node.place, expected.members[node.name])
    if local is not None:
        return typed.Load(local.type, node.place, local)
    symbol = resolve(context, node)
    if symbol is not None:
        return symbol_value(context, symbol, node.place)
    if isinstance(expected, Enum):
        hint = did_you_mean(node.name, [*expected.members, *context.local_names()])
        members = ", ".join(expected.members)
        return context.wrong(
            node.place,
            f"'{node.name}' is not a member of {expected}",
            hint or f"its members are {members}",
        )
    if node.name in NAMED:
        return context.wrong(node.place, f"'{node.name}' is a type, not a value")
    return context.wrong(node.place, *undefined(context, node.name))


def symbol_value(context: Context, symbol: Symbol, place: Place) -> typed.Expr:
    """The value of a global name."""
    match symbol:
        case ConstantSymbol():
            return constant_value(context.world, symbol, place)
        case GlobalSymbol():
            variable = global_variable(context.world, symbol)
            lvalue = typed.GlobalVar(variable.type, place, variable)
            return typed.Load(variable.type, place, lvalue)
        case FunctionSymbol():
            return _function_value(context, symbol, place)
        case StructSymbol() | EnumSymbol():
            return context.wrong(place, f"'{symbol.name}' is a type, not a value")
        case ModuleSymbol():
            own = context.world.modules[symbol.name].get(symbol.name)
            if own is not None:
                return symbol_value(context, own, place)
            return context.wrong(place, f"'{symbol.name}' is a module, not a value")
        case BuiltinSymbol():
            return context.wrong(place, f"'{symbol.name}' is built in; it can only be called")
    return context.wrong(place, f"'{symbol.name}' is not a value")


def _function_value(context: Context, symbol: FunctionSymbol, place: Place) -> typed.Expr:
    if symbol.generic or symbol.formats:
        why = "its 'array' parameter" if symbol.generic else "its 'str...' parameter"
        message = f"'{symbol.name}' has no address because of {why}"
        return context.wrong(place, message, "call it, or wrap it in another function")
    if symbol.node.gpu:
        return context.wrong(place, f"the gpu function '{symbol.name}' has no address", "launch it")
    function = instantiate(context.world, symbol, ())
    context.world.note_call(context.function, function, place)
    return typed.FunctionAddress(function.type, place, function)


# ── Composite values ─────────────────────────────────────────────────────────────────────────


@checks_expression(syntax.ArrayLiteral)
def array_literal(context: Context, node: syntax.ArrayLiteral, expected: Type | None) -> typed.Expr:
    """`[a, b, c]`: of the expected element type, else of the first element's that is typed."""
    element = expected.element if isinstance(expected, Array | Slice | SlotTable) else None
    items = [context.expression(item, element) for item in node.items]
    if not items and element is None:
        return context.wrong(node.place, "the type of an empty array cannot be known here")
    if any(item.type == POISON for item in items):
        return typed.Zero(POISON, node.place)
    if element is None:
        element = _common_element(items)
    converted = tuple(
        convert(context, item, element, f"element {i}") for i, item in enumerate(items)
    )
    if any(item.type == POISON for item in converted):
        return typed.Zero(POISON, node.place)
    if not items:
        return typed.Zero(expected or POISON, node.place)
    return typed.ArrayValue(Array(element, len(items)), node.place, converted)


def _common_element(items: list[typed.Expr]) -> Type:
    own = [item.type for item in items if item.type == value_type(item)]
    if own:
        return own[0]
    floats = [item for item in items if item.type == ANY_FLOAT]
    return value_type((floats or items)[0])


@checks_expression(syntax.StructLiteral)
def struct_literal(
    context: Context, node: syntax.StructLiteral, expected: Type | None
) -> typed.Expr:
    """`Name{field: value, ...}`; missing fields are zero."""
    type_ = named_type(context, node.type)
    if not isinstance(type_, Struct):
        for given in node.fields:
            context.expression(given.value)
        written = getattr(node.type, "name", "this")
        structs = {s.name for s in context.world.structs}
        message = f"there is no struct '{written}'"
        return context.wrong(node.type.place, message, did_you_mean(written, structs))
    fill_struct(context.world, type_)
    fields: dict[int, typed.Expr] = {}
    for given in node.fields:
        index = type_.index_of(given.name)
        if index is None:
            hint = did_you_mean(given.name, (f.name for f in type_.fields))
            context.wrong(given.place, f"'{type_}' has no field '{given.name}'", hint)
            context.expression(given.value)
            continue
        if index in fields:
            context.wrong(given.place, f"the field '{given.name}' is given twice")
        wanted = type_.fields[index].type
        value = context.expression(given.value, wanted)
        fields[index] = convert(context, value, wanted, f"the field '{given.name}'")
    return typed.StructValue(type_, node.place, tuple(fields.items()))


def needed_value(context: Context, node: syntax.Node, expected: Type | None = None) -> typed.Expr:
    """A value that an object can hold: with a type of its own, and not a result."""
    from toolchain.kern.check.results import refuse_result

    value = default_type(context, context.expression(node, expected))
    return refuse_result(context, value)
