"""The loops around a lifted warp: workgroups one after the other, and the warps of each.

Without barriers a warp runs from start to end, and then the next one. With barriers the warps take
turns as in the reference engine: each runs until it ends or waits; when as many wait at a barrier
as it asks for, they go on in the next round, the last one at once; when all that are left wait at
the same one, they go on too; when they wait for nothing that can come, the watchdog bites.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from emu.cpu.tensor.emit import I1, I8, I32, I64, Emitter, Value
from emu.devices.gpu.dispatch import LANES, FaultCode
from emu.devices.gpu.lift import runtime
from emu.devices.gpu.lift.runtime import SAVED_ROOM, place_of, put
from emu.devices.gpu.lift.writer import ENDED, FAILED

_AXES = "xyz"
_ROW_OF_IDS = 4 * LANES


NO_ROOM = 2
"""What the kernel gives, having done nothing, when private memory is smaller than its stack."""


def write_driver(
    e: Emitter, warp: ir.Function, *, has_barriers: bool, stack: int, clears_private: bool
) -> None:
    """Emit the body of the emitter's function, which executes all groups; it gives 1 after a
    fault. `stack` is how many bytes of it are registers."""
    small = e.b.icmp_unsigned("<", e.word("private_bytes"), e.const(I64, stack))
    with e.b.if_then(small):
        e.b.ret(e.const(I64, NO_ROOM))
    with e.loop(0, e.word("groups")) as groups:
        _start_group(e, groups.index)
        if clears_private:
            private = e.b.mul(e.word("private_bytes"), e.const(I64, LANES))
            _clear(e, e.pointer("private_host"), e.b.mul(private, e.word("group_warps")))
        if has_barriers:
            _rounds(e, warp)
        else:
            _one_by_one(e, warp)


def _start_group(e: Emitter, number: Value) -> None:
    """Say which group it is, make its own memory zero, and find which lanes start."""
    b, k = e.b, partial(e.const, I64)
    put(e, "group_number", number)
    rest, width, height = number, e.word("groups_x"), e.word("groups_y")
    place = [b.urem(rest, width), b.urem(b.udiv(rest, width), height)]
    place.append(b.udiv(b.udiv(rest, width), height))
    for axis, value in zip(_AXES, place, strict=True):
        put(e, f"group_id_{axis}", value)
    put(e, "unit_id", b.urem(number, e.word("units")))
    _clear(e, e.pointer("group_host"), e.word("group_bytes"))
    whole = ir.Constant(I1, 1)
    starts = []
    for axis, value in zip(_AXES, place, strict=True):
        start = b.mul(value, e.word(f"group_size_{axis}"))
        end = b.add(start, e.word(f"group_size_{axis}"))
        whole = b.and_(whole, b.icmp_unsigned("<=", end, e.word(f"grid_size_{axis}")))
        starts.append(start)
    with e.loop(0, e.word("group_warps"), carry=[k(0)]) as warps:
        mask = _start_mask(e, warps.index, starts, whole)
        _put_at(e, "masks_now", warps.index, mask)
        some = b.zext(b.icmp_unsigned("!=", mask, k(0)), I64)
        warps.next(b.or_(warps.values[0], b.shl(some, warps.index)))
    put(e, "warp_mask", warps.values[0])


def _clear(e: Emitter, start: Value, size: Value) -> None:
    with e.b.if_then(e.b.icmp_unsigned("!=", size, e.const(I64, 0))):
        zero = ir.Constant(I8, 0)
        e.intrinsic("llvm.memset.p0.i64", ir.VoidType(), start, zero, size, ir.Constant(I1, 0),
                    suffix=False)  # fmt: skip


def _start_mask(e: Emitter, warp: Value, starts: list[Value], whole: Value) -> Value:
    """The lanes of a warp whose work-items are in the group and in the grid, as i64."""
    b, k = e.b, partial(e.const, I64)
    left = b.sub(e.word("items"), b.mul(warp, k(LANES)))
    bits = b.sub(b.shl(k(1), left), k(1))
    in_group = b.select(b.icmp_unsigned("<", left, k(LANES)), bits, k((1 << LANES) - 1))
    with e.branch(b.not_(whole), [in_group]) as part:
        in_grid = ir.Constant(ir.VectorType(I1, LANES), [ir.Constant(I1, 1)] * LANES)
        row = b.mul(e.word("group_warps"), k(_ROW_OF_IDS))
        for i, (axis, start) in enumerate(zip(_AXES, starts, strict=True)):
            offset = b.add(b.mul(row, k(i)), b.mul(warp, k(_ROW_OF_IDS)))
            ids = e.load(e.offset(e.pointer("ids"), offset), ir.VectorType(I32, LANES))
            room = b.sub(e.word(f"grid_size_{axis}"), start)
            capped = b.trunc(e.intrinsic("llvm.umin", I64, room, k(1 << 30)), I32)
            in_grid = b.and_(in_grid, b.icmp_unsigned("<", ids, e.splat(capped, LANES)))
        part.next(b.and_(in_group, b.zext(b.bitcast(in_grid, I32), I64)))
    return part.values[0]


def _at(e: Emitter, name: str, index: Value) -> Value:
    return e.offset(place_of(e, name), e.b.shl(index, e.const(I64, 3)))


def _get_at(e: Emitter, name: str, index: Value) -> Value:
    return runtime.read(e, _at(e, name, index))


def _put_at(e: Emitter, name: str, index: Value, value: Value) -> None:
    e.b.store(value, _at(e, name, index), align=8)


def _run(e: Emitter, warp: ir.Function, number: Value, mask: Value) -> Value:
    """Call the warp's function; leaves the kernel if it failed."""
    put(e, "warp_id", number)
    put(e, "mask", mask)
    size = e.b.mul(e.b.mul(e.word("private_bytes"), e.const(I64, LANES)), number)
    saved = e.b.mul(number, e.const(I64, SAVED_ROOM))
    put(e, "saved", e.b.add(e.word("saved_host"), saved))
    put(e, "private_warp", e.b.add(e.word("private_host"), size))
    status = e.b.call(warp, [e.function.args[0]])
    e.fail_if(e.b.icmp_unsigned("==", status, e.const(I64, FAILED)))
    return status


def _one_by_one(e: Emitter, warp: ir.Function) -> None:
    with e.loop(0, e.word("group_warps")) as warps:
        mask = _get_at(e, "masks_now", warps.index)
        with e.b.if_then(e.b.icmp_unsigned("!=", mask, e.const(I64, 0))):
            _run(e, warp, warps.index, mask)


def _rounds(e: Emitter, warp: ir.Function) -> None:
    """Rounds of turns until every warp has ended. `ended` and `waiting` are masks of warps."""
    b, k = e.b, partial(e.const, I64)
    there = e.word("warp_mask")
    put(e, "ended", b.not_(there))
    put(e, "waiting", 0)
    with e.loop(0, e.word("group_warps")) as warps:
        _put_at(e, "resumes", warps.index, k(0))
    head, body, after = (e.function.append_basic_block(n) for n in ("round", "turns", "over"))
    b.branch(head)
    b.position_at_end(head)
    left = b.not_(e.word("ended"))
    b.cbranch(b.icmp_unsigned("!=", left, k(0)), body, after)
    b.position_at_end(body)
    ready = b.and_(left, b.not_(e.word("waiting")))
    with e.branch(b.icmp_unsigned("==", ready, k(0)), [ready]) as stuck:
        _release_all(e, left)
        stuck.next(left)
    ready = stuck.values[0]
    with e.loop(0, e.word("group_warps")) as warps:
        turn = b.icmp_unsigned("!=", b.and_(b.lshr(ready, warps.index), k(1)), k(0))
        with b.if_then(turn):
            _turn(e, warp, warps.index)
    b.branch(head)
    b.position_at_end(after)


def _turn(e: Emitter, warp: ir.Function, number: Value) -> None:
    """A warp runs until it ends or has to wait."""
    b, k = e.b, partial(e.const, I64)
    again, after = (e.function.append_basic_block(n) for n in ("again", "turned"))
    b.branch(again)
    b.position_at_end(again)
    put(e, "resume", _get_at(e, "resumes", number))
    status = _run(e, warp, number, _get_at(e, "masks_now", number))
    bit = b.shl(k(1), number)
    ends, waits = (e.function.append_basic_block(n) for n in ("ends", "waits"))
    b.cbranch(b.icmp_unsigned("==", status, k(ENDED)), ends, waits)
    b.position_at_end(ends)
    put(e, "ended", b.or_(e.word("ended"), bit))
    b.branch(after)
    b.position_at_end(waits)
    for name, word in (("resumes", "resume"), ("masks_now", "mask"), ("pcs", "bar_pc")):
        _put_at(e, name, number, e.word(word))
    others = _waiting_at(e, e.word("bar_number"))
    count = e.intrinsic("llvm.ctpop", I64, others)
    enough = b.icmp_unsigned(">=", b.add(count, k(1)), e.word("bar_count"))
    stays, goes = (e.function.append_basic_block(n) for n in ("stays", "goes"))
    b.cbranch(enough, goes, stays)
    b.position_at_end(goes)
    put(e, "waiting", b.and_(e.word("waiting"), b.not_(others)))
    b.branch(again)
    b.position_at_end(stays)
    put(e, "waiting", b.or_(e.word("waiting"), bit))
    _put_at(e, "numbers", number, e.word("bar_number"))
    b.branch(after)
    b.position_at_end(after)


def _waiting_at(e: Emitter, barrier: Value) -> Value:
    """The warps that wait at a barrier, as a mask."""
    numbers = e.load(place_of(e, "numbers"), ir.VectorType(I64, LANES))
    same = e.b.icmp_unsigned("==", numbers, e.splat(barrier, LANES))
    return e.b.and_(e.b.zext(e.b.bitcast(same, I32), I64), e.word("waiting"))


def _release_all(e: Emitter, left: Value) -> None:
    """All that are left wait: at one barrier they may go on, else it is a fault of the first."""
    b, k = e.b, partial(e.const, I64)
    first = e.intrinsic("llvm.cttz", I64, left, ir.Constant(I1, 1))
    same = b.icmp_unsigned("==", _waiting_at(e, _get_at(e, "numbers", first)), left)
    with b.if_then(b.not_(same)):
        put(e, "fault_code", int(FaultCode.WATCHDOG))
        put(e, "fault_address", 0)
        put(e, "fault_pc", _get_at(e, "pcs", first))
        mask = _get_at(e, "masks_now", first)
        put(e, "fault_lane", e.intrinsic("llvm.cttz", I64, mask, ir.Constant(I1, 1)))
        put(e, "warp_id", first)
        b.ret(k(1))
    put(e, "waiting", 0)
