"""Which functions the lanes of a GPU run, and what these, and only these, may say.

A `gpu fn` and everything that it calls is compiled for lanes. `mark` finds those functions once all
bodies are checked, refuses what a lane has no means for (a stack of calls, the console, errors) and
what a hart has none for (the index of a lane), and gives the program's two sets of functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context
from toolchain.kern.check.intrinsics import tensor_instructions
from toolchain.kern.check.symbols import World
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import Float, Str, Type

_REFUSED: dict[type[typed.Expr] | type[typed.Lvalue], str] = {
    typed.CallPointer: "calls through a function's address",
    typed.FunctionAddress: "takes a function's address",
    typed.Sort: "sorts",
    typed.Format: "makes a text",
    typed.Err: "can fail",
    typed.SlotOp: "uses a slot table",
    typed.QueueOp: "uses a queue",
    typed.KernelObject: "launches a gpu function",
}
_LANE_INTRINSICS = {
    "index", "barrier", "vote_all", "vote_any", "ballot",
    "shuffle_up", "shuffle_down", "shuffle_xor", "shuffle_idx",
    "min", "max", "abs", "sqrt", "floor", "ceil", "fma", "float_bits", "bits_float",
    "volatile_load", "volatile_store", "fence", "unreachable",
}  # fmt: skip


def mark(
    world: World, functions: Sequence[typed.Function], roots: Sequence[typed.Function]
) -> tuple[list[typed.Function], tuple[typed.Function, ...]]:
    """The functions that harts run and those that lanes run, of all that have been checked.

    `roots` are the program's entry and its tests. Reports what either cannot do.
    """
    kernels = [f for f in functions if f.gpu]
    lanes = _closure(world, kernels)
    for function in lanes:
        _check_recursion(world, function)
        for found in _nodes(function.body):
            _check_node(world, function, found)
    needing = _users(world, world.lane_uses)
    exported = (f for f in functions if f.exported)
    for function in [*roots, *exported]:
        if function in needing:
            _report_need(world, function)
    harts = [f for f in functions if f not in needing and not f.gpu]
    return harts, tuple(lanes)


def _closure(world: World, start: Sequence[typed.Function]) -> dict[typed.Function, None]:
    """What these functions reach by calls, themselves included, in the order found."""
    found = dict.fromkeys(start)
    waiting = list(start)
    while waiting:
        for callee in world.calls.get(waiting.pop(0), {}):
            if callee not in found:
                found[callee] = None
                waiting.append(callee)
    return found


def _users(
    world: World, used: dict[typed.Function, tuple[str, Place]]
) -> dict[typed.Function, None]:
    """The functions from which calls lead to one of `used`, these included."""
    callers: dict[typed.Function, list[typed.Function]] = {}
    for caller, callees in world.calls.items():
        for callee in callees:
            callers.setdefault(callee, []).append(caller)
    found = dict.fromkeys(used)
    waiting = list(used)
    while waiting:
        for caller in callers.get(waiting.pop(), ()):
            if caller not in found:
                found[caller] = None
                waiting.append(caller)
    return found


def _report_need(world: World, function: typed.Function) -> None:
    """Says where a function that harts run gets to what only lanes can do."""
    if function in world.lane_uses:
        name, place = world.lane_uses[function]
        world.report(place, f"'{name}' works only in a gpu function and in what it calls")
        return
    for callee, place in world.calls[function].items():
        reached = [f for f in _closure(world, [callee]) if f in world.lane_uses]
        if reached:
            name = world.lane_uses[reached[0]][0]
            message = f"'{callee.name}' uses '{name}', so only gpu functions can call it"
            world.report(place, message)
            return


def _check_recursion(world: World, function: typed.Function) -> None:
    for callee, place in world.calls.get(function, {}).items():
        if function in _closure(world, [callee]):
            message = f"'{callee.name}' leads back to '{function.name}'; lanes cannot recurse"
            world.report(place, message, "write it as a loop")
            return


def _nodes(node: object) -> Iterator[typed.Expr | typed.Lvalue]:
    """All values and objects below a node; what a panic says is left out, for lanes do not."""
    if isinstance(node, typed.Expr | typed.Lvalue):
        yield node
    if isinstance(node, typed.Panic):
        return
    if isinstance(node, typed.Expr | typed.Lvalue | typed.Stmt):
        for member in fields(node):
            yield from _nodes(getattr(node, member.name))
    elif isinstance(node, tuple):
        for part in node:
            yield from _nodes(part)


def _check_node(world: World, function: typed.Function, node: typed.Expr | typed.Lvalue) -> None:
    why = _REFUSED.get(type(node), "")
    match node:
        case typed.GlobalVar(symbol=symbol) if symbol not in world.read_only:
            why = f"uses the variable '{symbol.name}'"
        case typed.Binary(left=left) if isinstance(left.type, Str):
            why = "compares texts"
        case typed.Binary(op="rem", left=left) if isinstance(left.type, Float):
            why = "takes the remainder of floats"
        case typed.Call(function=callee) if callee.body is None and not callee.gpu:
            why = f"calls '{callee.name}', which is not written in Kern"
        case typed.Intrinsic(name=name, immediates=texts):
            atomic = name.startswith("atomic_")
            tensor = name == "insn" and texts[0].split()[0] in tensor_instructions()
            if not atomic and not tensor and name not in _LANE_INTRINSICS:
                why = f"uses '{name}'"
    if why:
        hint = "pass its address as an argument" if "variable" in why else ""
        world.report(node.place, f"lanes run '{function.name}', which {why}; they cannot", hint)


# ── Declarations ─────────────────────────────────────────────────────────────────────────────


def check_kernel(world: World, node: syntax.Function, types: Sequence[Type | None]) -> None:
    """Refuses a `gpu fn` that cannot be launched."""
    if node.exported or node.body is None:
        world.report(node.place, "a gpu function cannot be exported")
    if node.result is not None:
        message = f"the gpu function '{node.name}' cannot give a result"
        world.report(node.place, message, "give it the address where its results go")
    for parameter, type_ in zip(node.parameters, types, strict=True):
        if type_ is None:
            message = f"the gpu function's parameter '{parameter.name}' needs its full type"
            world.report(parameter.place, message, "as in slice[f32]")


def refuse_group_memory(context: Context, node: syntax.Declare) -> str:
    """Why a `local` declaration is wrong; empty when it is not."""
    if context.function is None or not context.function.gpu:
        return "only a gpu function's own body declares local memory"
    if node.value is not None:
        return "local memory has no initial value: lanes store to it, then wait at a barrier"
    return ""
