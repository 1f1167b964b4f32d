"""Bodies: of functions and their instances, of tests, of the program itself."""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context, read
from toolchain.kern.check.flow import diverges
from toolchain.kern.check.statements import block_in_scope
from toolchain.kern.check.symbols import FunctionSymbol, World
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import POISON, VOID, Ptr, Result

_ENTRY = "kern_main"


def check_pending(world: World) -> list[typed.Function]:
    """Checks the bodies of all instances; checking one can make more."""
    done: list[typed.Function] = []
    while world.pending:
        symbol, function = world.pending.pop(0)
        assert symbol.node.body is not None
        context = Context(world, symbol.home, function)
        _check_body(context, symbol, function)
        done.append(function)
    return done


def _check_body(context: Context, symbol: FunctionSymbol, function: typed.Function) -> None:
    body = symbol.node.body
    assert body is not None
    with context.scope():
        for parameter in function.parameters:
            context.bind(parameter.name, _parameter_object(parameter))
        block = block_in_scope(context, body)
    function.end = body.end
    function.body = _finished(context, function, block)


def _parameter_object(parameter: typed.Local) -> typed.Lvalue:
    """What the name of a parameter stands for; for an array by reference the array itself."""
    place = parameter.place
    whole = typed.LocalVar(parameter.type, place, parameter)
    is_self = parameter.name == "self"
    if not parameter.by_reference or is_self or not isinstance(parameter.type, Ptr):
        return whole
    target = parameter.type.target or POISON
    return typed.Deref(target, place, read(parameter, place), checked=False)


def _finished(context: Context, function: typed.Function, block: typed.Block) -> typed.Block:
    """The body, with the return that ends a function whose result is nothing or `!`."""
    if any(map(diverges, block.body)):
        return block
    end = function.end or block.end
    if isinstance(function.result, Result) and function.result.value == VOID:
        last = typed.Return(end, typed.Ok(function.result, end, None))
        return typed.Block(block.place, (*block.body, last), block.end)
    if function.result not in (VOID, POISON):
        message = f"'{function.name}' can reach its end without returning a value"
        context.wrong(end, message, f"it must return {function.result}")
    return block


def check_test(world: World, module: str, node: syntax.Test, number: int) -> typed.Test:
    """A `test` block as a function."""
    symbol = f"{module}.test#{number}"
    function = typed.Function(
        f"test {node.name}", module, symbol, (), VOID, node.place, exported=False
    )
    context = Context(world, module, function, is_test=True)
    with context.scope():
        function.body = block_in_scope(context, node.body)
    function.end = node.body.end
    return typed.Test(node.name, function, node.place)


def check_entry(world: World, module: syntax.Module, is_root: bool) -> typed.Function | None:
    """The statements at the top level of the root module as a function; elsewhere there must be
    none."""
    declarations = (
        syntax.Function, syntax.Struct, syntax.Enum, syntax.Test, syntax.Declare,
    )  # fmt: skip
    statements = [
        item for item in module.items
        if not isinstance(item, declarations) and not _is_constant(item)
    ]  # fmt: skip
    if not statements:
        return None
    if not is_root:
        message = "only the root module of a program has statements at its top level"
        world.report(statements[0].place, message, "put it into a function")
        return None
    place = statements[0].place
    end = Place(place.file, statements[-1].place.line, 1)
    function = typed.Function(_ENTRY, module.name, _ENTRY, (), VOID, place, exported=True)
    context = Context(world, module.name, function)
    with context.scope():
        body = block_in_scope(context, syntax.Block(place, tuple(statements), end))
    function.body, function.end = body, end
    return function


def _is_constant(item: syntax.Node) -> bool:
    return isinstance(item, syntax.Assign) and isinstance(item.target, syntax.Name)
