"""Finding what a name stands for.

Order: locals, the own module, the prelude and the builtins, then a function, global, constant or
type that only one module has, then modules themselves. `m.name` is module m's name; a global or
local and a module may share their name: `x.name` is then the field if there is one.
"""

from __future__ import annotations

from toolchain.kern import syntax
from toolchain.kern.check.context import Context
from toolchain.kern.check.symbols import (
    PRELUDE,
    BuiltinSymbol,
    EnumSymbol,
    FunctionSymbol,
    ModuleSymbol,
    StructSymbol,
    Symbol,
)
from toolchain.kern.diagnostics import Place, did_you_mean

BUILTINS: dict[str, BuiltinSymbol] = {}
"""Filled by `builtins` and `intrinsics`."""

_NOWHERE = Place("", 0, 0)


def declare_builtin(name: str) -> None:
    """Enters the name of a builtin function."""
    BUILTINS[name] = BuiltinSymbol(name, PRELUDE, _NOWHERE)


def find_symbol(context: Context, name: str, place: Place) -> Symbol | None:
    """What a bare name that is no local stands for; reports ambiguity, not absence."""
    world = context.world
    for names in (world.modules.get(context.module, {}), world.modules.get(PRELUDE, {}), BUILTINS):
        if name in names:
            return names[name]
    candidates = list(world.everywhere(name))
    if len(candidates) > 1 and name in world.modules:
        own = world.modules[name].get(name)
        return own if isinstance(own, FunctionSymbol) else ModuleSymbol(name, name, place)
    if len(candidates) > 1:
        where = " and ".join(sorted(f"{c.module}.{c.name}" for c in candidates))
        world.report(place, f"'{name}' is ambiguous", f"it could be {where}")
        return candidates[0]
    if candidates:
        return candidates[0]
    return find_module(context, name, place)


def find_module(context: Context, name: str, place: Place) -> ModuleSymbol | None:
    """The module of this name."""
    return ModuleSymbol(name, name, place) if name in context.world.modules else None


def find_member(context: Context, module: str, name: str) -> Symbol | None:
    """What `module.name` stands for."""
    return context.world.modules[module].get(name)


def resolve(context: Context, node: syntax.Node) -> Symbol | None:
    """The symbol that a name or a dotted name stands for; None when it is (part of) a value.

    Reports nothing but ambiguity: whoever needs a value or a type says what is missing.
    """
    match node:
        case syntax.Name(place, name):
            if context.find_local(name, place) is not None:
                return None
            return find_symbol(context, name, place)
        case syntax.Dot(_, syntax.Name(place, base), name):
            return _resolve_dotted(context, base, name, place)
        case syntax.Dot(_, base_node, name):
            inner = resolve(context, base_node)
            if isinstance(inner, ModuleSymbol):
                return find_member(context, inner.name, name)
    return None


def _resolve_dotted(context: Context, base: str, name: str, place: Place) -> Symbol | None:
    local = context.find_local(base, place)
    if local is not None:
        from toolchain.kern.check.access import has_member

        if has_member(context, local.type, name) or base not in context.world.modules:
            return None
        return find_member(context, base, name)
    names = context.world.modules.get(context.module, {})
    symbol = names.get(base) or (
        None if base in context.world.modules else find_symbol(context, base, place)
    )
    if base not in context.world.modules:
        return None
    return _dual(context, symbol, base, name)


def _dual(context: Context, symbol: Symbol | None, base: str, name: str) -> Symbol | None:
    """`base.name` where base is a module, and perhaps a global too (`symbol` or a unique one)."""
    from toolchain.kern.check.access import has_member
    from toolchain.kern.check.declare import global_type

    if symbol is None:
        found = [s for s in context.world.everywhere(base) if not isinstance(s, FunctionSymbol)]
        symbol = found[0] if len(found) == 1 else None
    if isinstance(symbol, EnumSymbol) and name in symbol.type.members:
        return None
    if symbol is not None and not isinstance(symbol, StructSymbol):
        type_ = global_type(context.world, symbol)
        if type_ is not None and has_member(context, type_, name):
            return None
    return find_member(context, base, name)


def undefined(context: Context, name: str) -> tuple[str, str]:
    """The message and hint for a name that stands for nothing."""
    known = context.local_names() | set(BUILTINS) | set(context.world.modules)
    for names in context.world.modules.values():
        known |= set(names)
    return f"'{name}' is not defined", did_you_mean(name, known)
