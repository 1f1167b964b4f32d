"""`launch kernel(arguments) over grid by group on device signal signal`: a dispatch to a GPU.

It becomes a call of `gpu.launch`, the driver's function: the arguments are laid out as a C struct
in the caller's frame, which the driver copies. Grid and group are in work-items, the extents that
are left out 1; without `by` a group has 256 work-items along the first dimension. Without `signal`
the launch waits for the end, with one it returns at once.
"""

from __future__ import annotations

from collections.abc import Sequence

from toolchain.kern import syntax, typed
from toolchain.kern.check.calls import argument_values
from toolchain.kern.check.context import Context, checks_expression
from toolchain.kern.check.convert import address_of, cast_node, convert
from toolchain.kern.check.declare import instantiate
from toolchain.kern.check.names import resolve
from toolchain.kern.check.symbols import FunctionSymbol
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import INT, POISON, PTR, VOID, Result, Type, size_of

DRIVER, ENTRY = "gpu", "launch"
"""The module and the function that a launch calls."""
_PARAMETERS: tuple[Type, ...] = (INT, PTR, PTR, INT, *[INT] * 6, PTR)
"""Device, kernel object, kernarg and its bytes, grid, group, signal (null: wait)."""
_GROUP = 256


@checks_expression(syntax.Launch)
def launch(context: Context, node: syntax.Launch, expected: Type | None) -> typed.Expr:
    """A launch; its value is nothing or an error."""
    driver = _driver(context, node.place)
    made = _kernarg(context, node.kernel)
    place = node.place
    grid = _extents(context, node.grid, "the grid", 1, place)
    group = _extents(context, node.group or (), "the group", _GROUP, place)
    device = _operand(context, node.device, INT, "the device", place)
    signal = _operand(context, node.signal, PTR, "the signal", place)
    if driver is None or made is None:
        return typed.Zero(POISON, place)
    kernel, kernarg, size = made
    arguments = (device, kernel, kernarg, size, *grid, *group, signal)
    if any(a.type == POISON for a in arguments):
        return typed.Zero(POISON, place)
    context.world.note_call(context.function, driver, place)
    return typed.Call(driver.result, place, driver, arguments)


def _driver(context: Context, place: Place) -> typed.Function | None:
    """The driver's function, whose parameters are as `docs/kern.md` has them."""
    symbol = context.world.modules.get(DRIVER, {}).get(ENTRY)
    if not isinstance(symbol, FunctionSymbol):
        message = f"a launch needs the module '{DRIVER}' with its function '{ENTRY}'"
        context.wrong(place, message, "compile kernel_src/gpu.kern too")
        return None
    if symbol.parameters != _PARAMETERS or symbol.result != Result(VOID):
        wanted = ", ".join(map(str, _PARAMETERS))
        context.wrong(place, f"'{DRIVER}.{ENTRY}' must be fn({wanted}) !")
        return None
    return instantiate(context.world, symbol, ())


def _kernarg(
    context: Context, node: syntax.Node
) -> tuple[typed.Expr, typed.Expr, typed.Expr] | None:
    """The kernel object, the address of the arguments in the frame, and their size."""
    symbol = resolve(context, node.callee) if isinstance(node, syntax.Call) and isinstance(
        node.callee, syntax.Name | syntax.Dot) else None  # fmt: skip
    if not isinstance(node, syntax.Call) or not isinstance(symbol, FunctionSymbol):
        context.wrong(node.place, "a launch needs a call of a gpu function",
                      "launch name(arguments) over extent")  # fmt: skip
        return None
    if not symbol.node.gpu:
        message = f"'{symbol.name}' is no gpu function"
        context.wrong(node.place, message, f"declare it as gpu fn {symbol.name}(...)")
        return None
    arguments = argument_values(context, symbol, node)
    if arguments is None or any(a.type == POISON for a in arguments):
        return None
    function = instantiate(context.world, symbol, ())
    struct = function.kernarg
    assert struct is not None
    kernel = typed.KernelObject(PTR, node.place, function)
    if not arguments:
        return kernel, typed.Zero(PTR, node.place), typed.IntConst(INT, node.place, 0)
    block = typed.StructValue(struct, node.place, tuple(enumerate(arguments)))
    address = address_of(typed.Temporary(struct, node.place, block))
    size = typed.IntConst(INT, node.place, size_of(struct))
    return kernel, cast_node("bits", address, PTR), size


def _extents(
    context: Context, nodes: Sequence[syntax.Node], what: str, first: int, place: Place
) -> list[typed.Expr]:
    """Three extents; those that are not written are `first`, 1 and 1."""
    values: list[typed.Expr] = []
    for i in range(3):
        if i < len(nodes):
            values.append(_operand(context, nodes[i], INT, what, place))
        else:
            values.append(typed.IntConst(INT, place, 1 if i else first))
    return values


def _operand(
    context: Context, node: syntax.Node | None, type_: Type, what: str, place: Place
) -> typed.Expr:
    """A value of a launch, zero when it is not written."""
    if node is None:
        return typed.Zero(type_, place)
    return convert(context, context.expression(node, type_), type_, what)
