"""Declarations: gathering the names of all modules, then their types, on demand.

On demand because they may stand in any order: an array's length is a constant that may be the
size of a struct that comes later. A cycle is reported where it closes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolchain.kern import syntax, typed
from toolchain.kern.check.constants import is_constant, moved
from toolchain.kern.check.context import Context
from toolchain.kern.check.convert import convert
from toolchain.kern.check.symbols import (
    ConstantSymbol,
    EnumSymbol,
    FunctionSymbol,
    GlobalSymbol,
    StructSymbol,
    Symbol,
    World,
)
from toolchain.kern.check.typenames import resolve_type
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import (
    NAMED,
    POISON,
    STR,
    VOID,
    Array,
    Enum,
    Field,
    Ptr,
    Queue,
    Result,
    SlotTable,
    Struct,
    Type,
)


def gather(world: World, modules: Sequence[syntax.Module]) -> None:
    """Enters every declared name of every module; functions last, their owners being known."""
    for module in modules:
        world.modules.setdefault(module.name, {})
    for module in modules:
        for item in module.items:
            _gather_item(world, module.name, item)
    for module in modules:
        for item in module.items:
            if isinstance(item, syntax.Function):
                _gather_function(world, module.name, item)


def _gather_item(world: World, module: str, item: syntax.Node) -> None:
    match item:
        case syntax.Assign(place, syntax.Name(_, name), value):
            _enter(world, ConstantSymbol(name, module, item.target.place, value))
        case syntax.Declare(place, name):
            _enter(world, GlobalSymbol(name, module, place, item))
        case syntax.Struct(place, name):
            struct = Struct(name, module, place.file, place.line)
            symbol = StructSymbol(name, module, place, item, struct)
            if _enter(world, symbol):
                world.structs[struct] = symbol
        case syntax.Enum(place, name):
            enum = Enum(name, module, place.file, place.line)
            if _enter(world, EnumSymbol(name, module, place, enum)):
                world.enums.append(enum)
                _number_members(world, module, item, enum)


def _enter(world: World, symbol: Symbol) -> bool:
    names = world.modules.setdefault(symbol.module, {})
    if symbol.name in NAMED:
        world.report(symbol.place, f"'{symbol.name}' is the name of a built-in type")
        return False
    if symbol.name in names:
        first = names[symbol.name].place
        world.report(symbol.place, f"'{symbol.name}' is already declared", f"at {first}")
        return False
    names[symbol.name] = symbol
    return True


def _number_members(world: World, module: str, node: syntax.Enum, enum: Enum) -> None:
    number = 0
    for member in node.members:
        if member.value is not None:
            number = _member_number(world, module, member.value, number)
        if member.name in enum.members:
            world.report(member.place, f"'{member.name}' is already a member of {enum.name}")
        enum.members.setdefault(member.name, number)
        number += 1


def _member_number(world: World, module: str, node: syntax.Node, otherwise: int) -> int:
    match node:
        case syntax.Integer(_, value):
            number = value
        case syntax.Prefix(_, "-", syntax.Integer(_, value)):
            number = -value
        case _:
            world.report(node.place, "the value of an enum's member is an integer literal")
            return otherwise
    if not -(1 << 31) <= number < 1 << 31:
        world.report(node.place, f"{number} does not fit an enum, which is an i32")
        return otherwise
    return number


def _gather_function(world: World, module: str, node: syntax.Function) -> None:
    owner = node.owner
    if owner == str(STR):
        _enter(world, FunctionSymbol(node.name, module, node.place, node, module, STR))
        return
    struct = _struct_named(world, module, owner) if owner else None
    if struct is not None:
        method = FunctionSymbol(node.name, struct.module, node.place, node, module, struct.type)
        if node.name in struct.methods:
            world.report(node.place, f"{owner} already has a method '{node.name}'")
        struct.methods[node.name] = method
        return
    if node.parameters and node.parameters[0].name == "self" and not node.parameters[0].type:
        world.report(node.parameters[0].place, "'self' is for methods: fn Struct.name(self, ...)")
    _enter(world, FunctionSymbol(node.name, owner or module, node.place, node, module))


def _struct_named(world: World, module: str, name: str) -> StructSymbol | None:
    own = world.modules[module].get(name)
    if isinstance(own, StructSymbol):
        return own
    found = [s for s in world.everywhere(name) if isinstance(s, StructSymbol)]
    return found[0] if len(found) == 1 and name not in world.modules else None


# ── Structs ──────────────────────────────────────────────────────────────────────────────────


def fill_struct(world: World, struct: Struct) -> None:
    """Finds out the fields of a struct; does nothing when they are known."""
    symbol = world.structs[struct]
    if symbol.state == "filled":
        return
    if symbol.state == "busy":
        world.report(
            symbol.place, f"'{struct.name}' contains itself", f"hold it by ptr[{struct.name}]"
        )
        return
    symbol.state = "busy"
    context = Context(world, symbol.module)
    fields: list[Field] = []
    for node in symbol.node.fields:
        type_ = resolve_type(context, node.type, f"{struct.name}.{node.name}")
        _fill_inside(world, type_)
        if isinstance(type_, Result):
            world.report(node.place, f"a field cannot be a result ({type_})")
            type_ = POISON
        if any(f.name == node.name for f in fields):
            world.report(node.place, f"'{struct.name}' already has a field '{node.name}'")
            continue
        fields.append(Field(node.name, type_, node.place.line))
    struct.fill(fields)
    symbol.state = "filled"


def _fill_inside(world: World, type_: Type) -> None:
    """Fills what lies inside an object of the type, not behind its pointers."""
    while isinstance(type_, Array | SlotTable | Queue):
        type_ = type_.element
    if isinstance(type_, Struct):
        fill_struct(world, type_)


# ── Constants and globals ────────────────────────────────────────────────────────────────────


def constant_value(world: World, symbol: ConstantSymbol, place: Place) -> typed.Expr:
    """The value of a constant, as used at `place`: a constant expression, or the Load of a
    read-only global when it is an array or a struct."""
    if symbol.value is None:
        if symbol.busy:
            world.report(symbol.place, f"the constant '{symbol.name}' depends on itself")
            return typed.Zero(POISON, place)
        symbol.busy = True
        symbol.value = _evaluate_constant(world, symbol)
        symbol.busy = False
    return moved(symbol.value, place)


def _evaluate_constant(world: World, symbol: ConstantSymbol) -> typed.Expr:
    context = Context(world, symbol.module)
    value = context.expression(symbol.node)
    if value.type == POISON:
        return value
    value = _known(world, value)
    if not is_constant(value):
        return context.wrong(
            symbol.node.place,
            f"the constant '{symbol.name}' is not known at compile time",
            f"declare a global variable ({symbol.name}: T) and assign it in a function",
        )
    if not isinstance(value, typed.ArrayValue | typed.StructValue):
        return value
    variable = _variable(world, symbol, value.type, value)
    world.read_only.add(variable)
    lvalue = typed.GlobalVar(value.type, symbol.place, variable)
    return typed.Load(value.type, symbol.place, lvalue)


def _variable(
    world: World, symbol: Symbol, type_: Type, initial: typed.Expr | None
) -> typed.Global:
    linked = f"{symbol.module}.{symbol.name}"
    variable = typed.Global(symbol.name, symbol.module, linked, type_, symbol.place, initial)
    world.globals.append(variable)
    return variable


def global_variable(world: World, symbol: GlobalSymbol) -> typed.Global:
    """The variable of a global; its initial value is found later, by `initialise`."""
    if symbol.variable is None:
        context = Context(world, symbol.module)
        type_ = resolve_type(context, symbol.node.type, symbol.name)
        _fill_inside(world, type_)
        if isinstance(type_, Result):
            world.report(symbol.place, f"a variable cannot be a result ({type_})")
            type_ = POISON
        symbol.variable = _variable(world, symbol, type_, None)
    return symbol.variable


def initialise(world: World, symbol: GlobalSymbol) -> None:
    """Evaluates the initial value of a global."""
    variable = global_variable(world, symbol)
    node = symbol.node.value
    if node is None:
        return
    context = Context(world, symbol.module)
    value = convert(context, context.expression(node, variable.type), variable.type)
    value = _known(world, value)
    if value.type == POISON or variable.type == POISON:
        return
    if not is_constant(value):
        world.report(
            node.place,
            f"the initial value of '{symbol.name}' is not known at compile time",
            "assign it in a function",
        )
        return
    variable.initial = None if isinstance(value, typed.Zero) else value


def _known(world: World, value: typed.Expr) -> typed.Expr:
    """A value with what it reads from read-only memory put in its place."""
    match value:
        case typed.Load(lvalue=lvalue):
            content = _content(world, lvalue)
            return value if content is None else moved(content, value.place)
        case typed.ArrayValue(elements=elements):
            return replace(value, elements=tuple(_known(world, e) for e in elements))
        case typed.StructValue(fields=fields):
            return replace(value, fields=tuple((i, _known(world, v)) for i, v in fields))
    return value


def _content(world: World, lvalue: typed.Lvalue) -> typed.Expr | None:
    """What lies in read-only memory; None when it is not known."""
    match lvalue:
        case typed.GlobalVar(symbol=variable) if variable in world.read_only:
            return variable.initial
        case typed.FieldOf(base=base, index=index):
            whole = _content(world, base)
            if isinstance(whole, typed.StructValue):
                zero = typed.Zero(lvalue.type, lvalue.place)
                return dict(whole.fields).get(index, zero)
        case typed.Element(base=base, index=typed.IntConst(value=number)):
            whole = _content(world, base)
            if isinstance(whole, typed.ArrayValue):
                return whole.elements[number]
    return None


def global_type(world: World, symbol: Symbol) -> Type | None:
    """The type of what a symbol stands for when it is a value in memory."""
    if isinstance(symbol, GlobalSymbol):
        return global_variable(world, symbol).type
    if isinstance(symbol, ConstantSymbol):
        return constant_value(world, symbol, symbol.place).type
    return None


# ── Functions ────────────────────────────────────────────────────────────────────────────────


def declare_function(world: World, symbol: FunctionSymbol) -> None:
    """Finds out a function's parameter and result types."""
    context = Context(world, symbol.home)
    node = symbol.node
    types: list[Type | None] = []
    for number, parameter in enumerate(node.parameters):
        if parameter.name in [p.name for p in node.parameters[:number]]:
            world.report(parameter.place, f"there are two parameters '{parameter.name}'")
        types.append(_parameter_type(context, symbol, parameter, number))
    if symbol.owner is not None and (not node.parameters or node.parameters[0].name != "self"):
        hint = f"fn {symbol.owner}.{symbol.name}(self)"
        world.report(node.place, "the first parameter of a method is 'self'", hint)
    symbol.parameters = tuple(types)
    symbol.result = resolve_type(context, node.result) if node.result else VOID
    if node.gpu:
        from toolchain.kern.check.lane_rules import check_kernel

        check_kernel(world, node, types)
    if node.exported and symbol.generic:
        world.report(node.place, "a function with an 'array' parameter cannot be exported")
    if not symbol.generic:
        function = instantiate(world, symbol, ())
        if node.body is None:
            world.externs.append(function)


def _parameter_type(
    context: Context, symbol: FunctionSymbol, node: syntax.Parameter, number: int
) -> Type | None:
    world = context.world
    if node.type is None:
        if number == 0 and node.name == "self" and symbol.owner is not None:
            return STR if symbol.owner == STR else Ptr(symbol.owner)
        if node.name != "self":
            world.report(node.place, f"the parameter '{node.name}' needs a type",
                         f"{node.name}: int")  # fmt: skip
        return POISON
    if isinstance(node.type, syntax.Name) and node.type.name == "array":
        return None
    type_ = resolve_type(context, node.type, f"{symbol.name}.{node.name}")
    if node.formats and (type_ != STR or number != len(symbol.node.parameters) - 1):
        world.report(node.place, "only a last parameter of type str can end in '...'")
    if isinstance(type_, Result):
        world.report(node.place, f"a parameter cannot be a result ({type_})")
        return POISON
    return type_


def instantiate(world: World, symbol: FunctionSymbol, generics: tuple[Type, ...]) -> typed.Function:
    """The function for these types of its `array` parameters; new ones are checked later."""
    if generics in symbol.instances:
        return symbol.instances[generics]
    waiting = iter(generics)
    parameters = []
    for node, declared in zip(symbol.node.parameters, symbol.parameters, strict=True):
        type_ = next(waiting) if declared is None else declared
        by_reference = node.type is None and type_ != STR
        if declared is None and isinstance(type_, Array | SlotTable | Queue):
            type_, by_reference = Ptr(type_), True
        parameters.append(
            typed.Local(node.name, type_, node.place, False, by_reference, parameter=True)
        )
    function = typed.Function(
        symbol.name, symbol.module, _linker_name(symbol, generics), tuple(parameters),
        symbol.result or VOID, symbol.node.place, symbol.node.exported,
    )  # fmt: skip
    if symbol.node.gpu:
        function.kernarg = _kernarg(symbol, parameters)
    symbol.instances[generics] = function
    if symbol.node.body is not None:
        world.pending.append((symbol, function))
    return function


def _kernarg(symbol: FunctionSymbol, parameters: Sequence[typed.Local]) -> Struct:
    """The struct in which a launch lays out the arguments of a gpu function."""
    place = symbol.place
    struct = Struct(f"{symbol.name}.kernarg", symbol.module, place.file, place.line)
    struct.fill([Field(p.name, p.type, p.place.line) for p in parameters])
    return struct


def _linker_name(symbol: FunctionSymbol, generics: tuple[Type, ...]) -> str:
    if symbol.node.body is None or symbol.node.exported:
        return symbol.name
    owner = f"{symbol.owner}." if symbol.owner is not None else ""
    types = f"({', '.join(map(str, generics))})" if generics else ""
    return f"{symbol.module}.{owner}{symbol.name}{types}"
