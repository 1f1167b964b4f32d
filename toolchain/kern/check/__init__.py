"""From the syntax trees of all modules to the typed tree, or to everything that is wrong.

Read `symbols` (what names stand for), `names` (how they are found), `declare` (types of
declarations), then `expressions`, `access`, `operators`, `calls`, `statements`, `loops`. A wrong
expression has the type POISON, which agrees with everything: one mistake gives one message.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from toolchain.kern import syntax, typed
from toolchain.kern.check import calls as calls  # imported for the kinds of node they check
from toolchain.kern.check import lane_rules
from toolchain.kern.check import lanes as lanes
from toolchain.kern.check import launch as launch
from toolchain.kern.check import loops as loops
from toolchain.kern.check import operators as operators
from toolchain.kern.check.declare import (
    constant_value,
    declare_function,
    fill_struct,
    gather,
    initialise,
)
from toolchain.kern.check.functions import check_entry, check_pending, check_test
from toolchain.kern.check.intrinsics import declare_tensor_instructions
from toolchain.kern.check.symbols import (
    ConstantSymbol,
    FunctionSymbol,
    GlobalSymbol,
    World,
)
from toolchain.kern.diagnostics import Diagnostic, KernErrors, Place, Source

_RECURSION = 20_000


def check(
    modules: Sequence[syntax.Module],
    root: str,
    tests: bool = False,
    sources: Sequence[Source] = (),
) -> typed.Program:
    """The program made of these modules; the statements of `root` are its entry.

    With `tests`, the `test` blocks are part of it. Raises KernErrors (which shows lines of
    `sources`).
    """
    declare_tensor_instructions()
    world = World()
    with _deep_recursion():
        try:
            program = _check(world, modules, root, tests)
        except RecursionError:
            place = Place(modules[0].file if modules else "?", 1, 1)
            raise KernErrors([Diagnostic(place, "expressions are nested too deeply")]) from None
    if world.diagnostics:
        raise KernErrors(world.diagnostics, sources)
    return program


@contextmanager
def _deep_recursion() -> Iterator[None]:
    """Lets long chains of operators recurse; the passes are pure Python, so the host stack is
    not what limits them."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(max(before, _RECURSION))
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def _check(world: World, modules: Sequence[syntax.Module], root: str, tests: bool) -> typed.Program:
    gather(world, modules)
    _declare_all(world)
    tested = tuple(
        check_test(world, module.name, item, number)
        for module in modules
        for number, item in enumerate(module.items)
        if isinstance(item, syntax.Test)
    )
    entry = None
    for module in modules:
        made = check_entry(world, module, module.name == root)
        entry = made or entry
    functions = check_pending(world)
    roots = [*([entry] if entry else ()), *(test.function for test in tested)]
    harts, gpu = lane_rules.mark(world, functions, roots)
    return typed.Program(
        files={module.name: module.file for module in modules},
        structs=tuple(world.structs),
        enums=tuple(world.enums),
        globals=tuple(world.globals),
        functions=tuple(harts),
        externs=tuple(world.externs),
        tests=tested if tests else (),
        entry=entry,
        lanes=gpu,
    )


def _declare_all(world: World) -> None:
    """Finds out the types of everything declared, used or not."""
    symbols = [symbol for names in world.modules.values() for symbol in names.values()]
    for struct in tuple(world.structs):
        fill_struct(world, struct)
    functions = [s for s in symbols if isinstance(s, FunctionSymbol)]
    for struct_symbol in world.structs.values():
        functions += struct_symbol.methods.values()
    for function in functions:
        declare_function(world, function)
    for symbol in symbols:
        if isinstance(symbol, ConstantSymbol):
            constant_value(world, symbol, symbol.place)
        elif isinstance(symbol, GlobalSymbol):
            initialise(world, symbol)


__all__ = ["check"]
