"""The builtins of lanes: where a lane stands, what lanes do together, the memory they share.

Which functions lanes run, and what those must not say, is in `lane_rules`.
"""

from __future__ import annotations

from toolchain.kern import syntax, typed
from toolchain.kern.check.builtins import builtin
from toolchain.kern.check.constants import constant_int
from toolchain.kern.check.context import Context
from toolchain.kern.check.convert import convert, default_type
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import (
    BOOL,
    INT,
    POISON,
    U32,
    VOID,
    Bool,
    Enum,
    Float,
    Int,
    Ptr,
    Type,
)

# ── Where a lane stands ──────────────────────────────────────────────────────────────────────

_INDICES = ("local_id", "group_id", "group_size", "grid_size")
"""Builtins that read the CSR of the same name, whose last letter is the dimension."""


def _only_lanes(context: Context, name: str, place: Place) -> None:
    """Notes that the function being checked needs lanes."""
    if context.function is None:
        context.wrong(place, f"'{name}' is no constant")
    else:
        context.world.lane_uses.setdefault(context.function, (name, place))


def _read_index(place: Place, csr: str) -> typed.Expr:
    return typed.Intrinsic(INT, place, "index", (csr,), ())


def _index(name: str) -> None:
    @builtin(name, 1)
    def index(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        _only_lanes(context, name, node.place)
        axis = constant_int(context, node.arguments[0])
        if axis is not None and not 0 <= axis <= 2:
            return context.wrong(node.arguments[0].place, f"{axis} is no dimension, 0 to 2")
        return _index_of(name, axis or 0, node.place)


def _index_of(name: str, axis: int, place: Place) -> typed.Expr:
    """An index of the lane in one dimension."""
    letter = "xyz"[axis]
    if name != "global_id":
        return _read_index(place, f"{name}_{letter}")
    parts = [_read_index(place, f"{n}_{letter}") for n in ("group_id", "group_size")]
    first = typed.Binary(INT, place, "mul", *parts)
    return typed.Binary(INT, place, "add", first, _read_index(place, f"local_id_{letter}"))


for _name in (*_INDICES, "global_id"):
    _index(_name)


@builtin("lane", 0)
def lane(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """The number of this lane in its warp."""
    _only_lanes(context, "lane", node.place)
    return _read_index(node.place, "lane_id")


# ── What lanes do together ───────────────────────────────────────────────────────────────────


@builtin("barrier", 0)
def barrier(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
    """Waits for all lanes of the group."""
    _only_lanes(context, "barrier", node.place)
    warps = _read_index(node.place, "group_warps")
    return typed.Intrinsic(VOID, node.place, "barrier", (), (warps,))


def _vote(name: str, result: Type) -> None:
    @builtin(name, 1)
    def vote(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        _only_lanes(context, name, node.place)
        value = context.expression(node.arguments[0], BOOL)
        value = convert(context, value, BOOL, f"the argument of '{name}'")
        return typed.Intrinsic(result, node.place, name, (), (value,))


_vote("vote_all", BOOL)
_vote("vote_any", BOOL)
_vote("ballot", U32)


def _shuffle(name: str) -> None:
    @builtin(name, 2)
    def shuffle(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        _only_lanes(context, name, node.place)
        value = default_type(context, context.expression(node.arguments[0], expected))
        other = convert(context, context.expression(node.arguments[1], INT), INT)
        if POISON in (value.type, other.type):
            return typed.Zero(POISON, node.place)
        if not isinstance(value.type, Int | Float | Bool | Enum | Ptr):
            return context.wrong(node.place, f"'{name}' moves a number, not {value.type}")
        return typed.Intrinsic(value.type, node.place, name, (), (value, other))


for _name in ("shuffle_up", "shuffle_down", "shuffle_xor", "shuffle_idx"):
    _shuffle(_name)


# ── Memory that lanes share ──────────────────────────────────────────────────────────────────


def _atomic(name: str, operands: int = 1) -> None:
    @builtin(name, 1 + operands)
    def atomic(context: Context, node: syntax.Call, expected: Type | None) -> typed.Expr:
        pointer = context.expression(node.arguments[0])
        target = pointer.type.target if isinstance(pointer.type, Ptr) else None
        if not isinstance(target, Int) or target.bits < 32:
            if pointer.type != POISON:
                message = f"'{name}' works on i32, u32, int or u64 in memory"
                context.wrong(pointer.place, message, "its first argument is a ptr to one")
            return typed.Zero(POISON, node.place)
        values = [
            convert(context, context.expression(argument, target), target)
            for argument in node.arguments[1:]
        ]
        if any(value.type == POISON for value in values):
            return typed.Zero(POISON, node.place)
        return typed.Intrinsic(target, node.place, name, (), (pointer, *values))


for _name in ("add", "min", "max", "and", "or", "xor", "swap"):
    _atomic(f"atomic_{_name}")
_atomic("atomic_cas", 2)
