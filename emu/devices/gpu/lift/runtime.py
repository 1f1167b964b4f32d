"""What lifted code shares: its parameter block, and the slow ways to memory.

**The block** holds everything that a kernel needs to know and everything it leaves; `layout` gives
the names of its words. A *site* is an instruction that accesses memory. It remembers the region it
found last: an access at `address` is good if `address - base` is below `bound`, and its bytes are
then at the host's `address + delta`; `bytes` counts them, for the counter `counter`. While nothing
is remembered `bound` is 0.

**The slow ways** are subroutines: `refill` makes a site remember the region of an address,
`each_lane` accesses memory lane by lane, which finds the first lane that may not, and `locate`
finds one place. They leave what they found in the word `bad` or `host`.

Private memory is laid out so that the lanes' same word of 8 bytes are neighbours: offset o of lane
k is at (o / 8) * 256 + k * 8 + o % 8.
"""

from __future__ import annotations

from functools import partial

from llvmlite import ir

from emu.cpu.tensor.emit import I8, I64, POINTER, Block, Emitter, Value
from emu.devices.gpu.dispatch import LANES, PRIVATE_BASE

SITE = ("base", "bound", "delta", "counter", "bytes")
SITE_BYTES = 8 * len(SITE)
LOADED, STORED, GROUP, NOWHERE = range(4)
"""The counters of `counts`."""
REGION = ("base", "size", "host", "is_group")
ROW = 8 * LANES
"""Bytes of all lanes' same word of private memory."""
SAVED_ROOM = 128 * ROW
"""Bytes that a warp needs at most while it waits: every register as a vector, those
in the stack included."""
GOOD = LANES
"""`bad` when every lane could access memory."""

_WORDS = """
    kernarg stack_top regions region_count
    group_id_x group_id_y group_id_z group_number unit_id
    group_size_x group_size_y group_size_z grid_size_x grid_size_y grid_size_z
    units group_warps warp_lanes group_memory warp_mask warp_id items ids
    groups groups_x groups_y group_bytes group_host private_host private_bytes private_warp
    mask resume left extra counts:4 barriers
    fault_code fault_address fault_pc fault_lane bad host bar_number bar_count bar_pc
    saved saved_host
    ended waiting
    addresses:32 values:32 masks_now:32 resumes:32 numbers:32 pcs:32
"""


def layout(blocks: int, sites: int) -> Block:
    """The block of a kernel with so many basic blocks and memory sites."""
    return Block(f"{_WORDS} masks:{max(blocks, 1)} sites:{max(sites, 1) * len(SITE)}")


def site_word(e: Emitter, site: Value, name: str) -> Value:
    """The place of a word of a site."""
    return e.offset(site, 8 * SITE.index(name))


def read(e: Emitter, place: Value) -> Value:
    """A word."""
    return e.b.load(place, typ=I64, align=8)


def place_of(e: Emitter, name: str, index: int = 0) -> Value:
    """The place of a word of the block."""
    return e.offset(e.function.args[0], 8 * (e.block.index[name] + index))


def put(e: Emitter, name: str, value: Value | int, index: int = 0) -> None:
    """Write a word of the block."""
    e.b.store(e.const(I64, value) if isinstance(value, int) else value,
              place_of(e, name, index), align=8)  # fmt: skip


def _lane_word(e: Emitter, name: str, lane: Value) -> Value:
    """The place of a lane's word of an array of the block."""
    return e.offset(place_of(e, name), e.b.shl(lane, e.const(I64, 3)))


def counter(e: Emitter, number: Value) -> Value:
    """The place of one of `counts`."""
    return e.offset(place_of(e, "counts"), e.b.shl(number, e.const(I64, 3)))


def add(e: Emitter, place: Value, amount: Value) -> None:
    """Add to a word."""
    e.b.store(e.b.add(read(e, place), amount), place, align=8)


def _find(e: Emitter, address: Value, span: Value) -> Value:
    """The region that holds `span` bytes at an address; a null pointer if there is none."""
    null = ir.Constant(POINTER, None)
    size = 8 * len(REGION)
    with e.loop(0, e.word("region_count"), carry=[null]) as regions:
        region = e.offset(e.pointer("regions"), e.b.mul(regions.index, e.const(I64, size)))
        offset = e.b.sub(address, read(e, region))
        room = e.b.sub(read(e, e.offset(region, 8)), span)
        holds = e.b.and_(
            e.b.icmp_signed(">=", room, e.const(I64, 0)), e.b.icmp_unsigned("<=", offset, room)
        )
        regions.next(e.b.select(holds, region, regions.values[0]))
    return regions.values[0]


def _is_null(e: Emitter, pointer: Value) -> Value:
    return e.b.icmp_unsigned("==", e.b.ptrtoint(pointer, I64), e.const(I64, 0))


def _refill(e: Emitter, site: Value, address: Value, span: Value, stores: Value) -> None:
    """See the module; `bad` is 1 when there is no such region."""
    number = site_word(e, site, "counter")
    count = site_word(e, site, "bytes")
    add(e, counter(e, read(e, number)), read(e, count))
    e.b.store(e.const(I64, 0), count, align=8)
    e.b.store(e.const(I64, 0), site_word(e, site, "bound"), align=8)
    put(e, "bad", 1)
    region = _find(e, address, span)
    with e.b.if_then(e.b.not_(_is_null(e, region))):
        base, size, host, group = (read(e, e.offset(region, 8 * i)) for i in range(4))
        bound = e.b.add(e.b.sub(size, span), e.const(I64, 1))
        e.b.store(base, site_word(e, site, "base"), align=8)
        e.b.store(bound, site_word(e, site, "bound"), align=8)
        e.b.store(e.b.sub(host, base), site_word(e, site, "delta"), align=8)
        is_group = e.b.icmp_unsigned("!=", group, e.const(I64, 0))
        e.b.store(e.b.select(is_group, e.const(I64, GROUP), stores), number, align=8)
        put(e, "bad", 0)


def _locate(e: Emitter, address: Value, lane: Value, size: Value) -> None:
    """`host` becomes where `size` bytes of a lane are, 0 if nowhere; `bad` the counter."""
    put(e, "host", 0)
    offset = e.b.sub(address, e.const(I64, PRIVATE_BASE))
    with e.b.if_else(e.b.icmp_signed(">=", offset, e.const(I64, 0))) as (private, memory):
        with private:
            room = e.b.sub(e.word("private_bytes"), size)
            holds = e.b.and_(
                e.b.icmp_signed(">=", room, e.const(I64, 0)), e.b.icmp_unsigned("<=", offset, room)
            )
            where = e.b.ptrtoint(private_place(e, offset, lane), I64)
            put(e, "host", e.b.select(holds, where, e.const(I64, 0)))
            put(e, "bad", NOWHERE)
        with memory:
            region = _find(e, address, size)
            with e.b.if_then(e.b.not_(_is_null(e, region))):
                delta = e.b.sub(read(e, e.offset(region, 16)), read(e, region))
                put(e, "host", e.b.add(address, delta))
                group = read(e, e.offset(region, 24))
                is_group = e.b.icmp_unsigned("!=", group, e.const(I64, 0))
                put(e, "bad", e.b.select(is_group, e.const(I64, GROUP), e.const(I64, LOADED)))


def private_place(e: Emitter, offset: Value, lane: Value) -> Value:
    """Where the byte at an offset of a lane's private memory is."""
    b, k = e.b, partial(e.const, I64)
    row = b.mul(b.lshr(offset, k(3)), k(ROW))
    within = b.add(b.shl(lane, k(3)), b.and_(offset, k(7)))
    return e.offset(e.pointer("private_warp"), b.add(row, within))


def _each_lane(e: Emitter, locate: Value, mask: Value, size: Value, stores: Value) -> None:
    """Access `size` bytes for each lane of a mask, at `addresses` to or from `values`, up to the
    first that may not, which is then `bad`."""
    b, k = e.b, partial(e.const, I64)
    failed = e.local(8)
    b.store(k(GOOD), failed, align=8)
    with e.loop(0, k(LANES)) as lanes:
        lane = lanes.index
        wanted = b.icmp_unsigned("!=", b.and_(b.lshr(mask, lane), k(1)), k(0))
        fine = b.icmp_unsigned("==", read(e, failed), k(GOOD))
        with b.if_then(b.and_(wanted, fine)):
            address = read(e, _lane_word(e, "addresses", lane))
            e.call(locate, address, lane, size)
            found = b.icmp_unsigned("!=", e.word("host"), k(0))
            with b.if_else(found) as (good, bad):
                with good:
                    _copy(e, address, lane, size, stores)
                with bad:
                    b.store(lane, failed, align=8)
    put(e, "bad", read(e, failed))


def _copy(e: Emitter, address: Value, lane: Value, size: Value, stores: Value) -> None:
    """Move a lane's bytes, one by one, since in private memory they may be in two places."""
    b, k = e.b, partial(e.const, I64)
    value = _lane_word(e, "values", lane)
    is_store = b.icmp_unsigned("!=", stores, k(0))
    with b.if_then(b.not_(is_store)):
        b.store(k(0), value, align=8)
    offset = b.sub(address, k(PRIVATE_BASE))
    is_private = b.icmp_signed(">=", offset, k(0))
    with e.loop(0, size) as bytes_:
        private = private_place(e, b.add(offset, bytes_.index), lane)
        memory = b.inttoptr(b.add(e.word("host"), bytes_.index), POINTER)
        there, here = b.select(is_private, private, memory), e.offset(value, bytes_.index)
        source, target = b.select(is_store, here, there), b.select(is_store, there, here)
        b.store(b.load(source, typ=I8), target)
    number = e.word("bad")
    in_memory = b.icmp_unsigned("==", number, k(LOADED))
    add(e, counter(e, b.select(in_memory, stores, number)), size)


class Slow:
    """The subroutines, emitted into a module."""

    def __init__(self, e: Emitter) -> None:
        with e.subroutine("refill", POINTER, I64, I64, I64) as self.refill:
            _refill(e, *e.function.args[1:])
        with e.subroutine("locate", I64, I64, I64) as self.locate:
            _locate(e, *e.function.args[1:])
        with e.subroutine("each_lane", I64, I64, I64) as self.each_lane:
            _each_lane(e, self.locate, *e.function.args[1:])
