"""The page table walk as emitted code: what a miss in a buffer asks before it asks Python.

    walk(state, address, access, marks) -> host address of that page, or 0

It goes the way of `emu.cpu.mmu.resolve` and takes what entries mean from the same routine. 0 leaves
it to Python: everything that traps, memory that is not open (`State.open_start`: beyond RAM,
protected, watched). Who only looks ahead has `marks` 0: then so is an entry whose bits A and D are
not yet what the access makes of them, which it may never do.
"""

from __future__ import annotations

from llvmlite import ir

from emu.cpu import mmu, regime
from emu.cpu.native.control import RoutineFrame
from emu.cpu.native.handler import LONG, PTR, Frame, i64
from emu.cpu.native.layout import WINDOW_SIZE, WindowWord
from emu.cpu.state import PAGE_BITS, PAGE_SIZE, WINDOWS, State
from emu.isa.causes import M_MODE, S_MODE

WALK = ir.FunctionType(LONG, [PTR, LONG, LONG, LONG])
CALLER_KEEPS_NOTHING = "preserve_allcc"
"""So that a translation's or a finder's registers outlive the call."""

PAGE_FAULT = 1
"""What `State.walked` says, in place of an address, when the access is a page fault."""

_UNTRANSLATED = i64(0)  # as a span: all of memory, wrapped around


def call_walk(
    frame: Frame, address: ir.Value, access: str, marks: ir.Value | None = None
) -> ir.Value:
    """The host address of the page of `address` for "load", "store", "fetch", or 0."""
    function = frame.module.globals.get("walk") or _emit(frame.module)
    arguments = [frame.state, address, i64(mmu.NUMBERS[access]), i64(1) if marks is None else marks]
    return frame.builder.call(function, arguments, cconv=CALLER_KEEPS_NOTHING)


def _emit(module: ir.Module) -> ir.Function:
    function = ir.Function(module, WALK, "walk")
    function.calling_convention = CALLER_KEEPS_NOTHING
    function.attributes.add("noinline")
    for argument, name in zip(function.args, ("state", "address", "access", "marks"), strict=True):
        argument.name = name
    _Walk(function, 0).emit()
    return function


class _Walk(RoutineFrame):
    """The function being emitted."""

    def emit(self) -> None:
        """Decide whether there is anything to walk, and do it."""
        b, address, access = self.builder, self.operand("address"), self.operand("access")
        self._fail, self._fault = [
            self.function.append_basic_block(name) for name in ("fail", "fault")
        ]
        self.store("walked", i64(0))
        walk, found = (self.function.append_basic_block(n) for n in ("walk", "found"))
        is_fetch = b.icmp_unsigned("==", access, i64(mmu.NUMBERS["fetch"]))
        (lent,) = self.answers(regime.DATA_PRIVILEGE)
        privilege = self.arguments["privilege"] = b.select(is_fetch, self.load("priv"), lent)
        satp = self.load("satp")
        mode = b.lshr(satp, i64(60))
        is_machine = b.icmp_unsigned("==", privilege, i64(M_MODE))
        plain = b.or_(is_machine, b.icmp_unsigned("==", mode, i64(0)))
        start = b.block
        b.cbranch(plain, found, walk)
        b.position_at_end(walk)
        leaf, target, span = self._levels(satp, mode)
        b.branch(found)
        b.position_at_end(found)
        place, reach = b.phi(LONG), b.phi(LONG)
        for block, *values in ((start, address, _UNTRANSLATED), (leaf, target, span)):
            for phi, value in zip((place, reach), values, strict=True):
                phi.add_incoming(value, block)
        self.store("walked", place)
        self._want_window(reach)
        b.ret(self._open(b.and_(place, i64(-PAGE_SIZE)), privilege))
        b.position_at_end(self._fault)
        self.store("walked", i64(PAGE_FAULT))
        b.branch(self._fail)
        b.position_at_end(self._fail)
        b.ret(i64(0))

    def _levels(self, satp: ir.Value, mode: ir.Value) -> tuple[ir.Block, ir.Value, ir.Value]:
        """Walk from the root to a leaf and set its bits; the block it ends in, the physical
        address, and how many bytes the leaf maps."""
        b, address = self.builder, self.operand("address")
        levels = {PAGE_BITS + mmu.LEVEL_BITS * n: m for m, n in mmu.LEVELS.items()}
        (short, _), (long, long_mode) = sorted(levels.items())
        bits = b.select(b.icmp_unsigned("==", mode, i64(long_mode)), i64(long), i64(short))
        unused = b.sub(i64(64), bits)
        extended = b.ashr(b.shl(address, unused), unused)
        self._fail_if(b.icmp_unsigned("!=", extended, address), self._fault)
        root = self._table(satp)
        before = b.block
        level, table_found, leaf_found = (
            self.function.append_basic_block(n) for n in ("level", "table", "leaf")
        )
        b.branch(level)
        b.position_at_end(level)
        table, above = b.phi(LONG), b.phi(LONG)
        shift = b.sub(above, i64(mmu.LEVEL_BITS))
        index = b.and_(b.lshr(address, shift), i64(mmu.LEVEL_MASK))
        host = self._open(b.add(table, b.shl(index, i64(3))), i64(S_MODE))
        place = b.inttoptr(host, PTR)
        entry = self.arguments["entry"] = b.load(place, typ=LONG)
        span = self.arguments["span"] = b.shl(i64(1), shift)
        verdict, used = self.answers(mmu.JUDGE)
        below = self._table(b.lshr(entry, i64(mmu.PPN_SHIFT)))
        choice = b.switch(verdict, self._fault)
        choice.add_case(i64(mmu.TABLE), table_found)
        choice.add_case(i64(mmu.LEAF), leaf_found)
        b.position_at_end(table_found)
        for block, *values in ((before, root, bits), (table_found, below, shift)):
            for phi, value in zip((table, above), values, strict=True):
                phi.add_incoming(value, block)
        b.branch(level)
        b.position_at_end(leaf_found)
        self._mark(place, entry, used)
        self._keep_large(span)
        return b.block, b.or_(below, b.and_(address, b.sub(span, i64(1)))), span

    def _mark(self, place: ir.Value, entry: ir.Value, used: ir.Value) -> None:
        """Write a leaf back if the access changes it, which it may only do if it happens."""
        b = self.builder
        changes = b.icmp_unsigned("!=", entry, used)
        only_looks = b.icmp_unsigned("==", self.operand("marks"), i64(0))
        self._fail_if(b.and_(changes, only_looks))
        with b.if_then(changes, likely=False):
            b.store(used, place)

    def _keep_large(self, span: ir.Value) -> None:
        """Note that something of a large leaf may be kept, for SFENCE.VMA of one page."""
        b, address = self.builder, self.operand("address")
        with b.if_then(b.icmp_unsigned("!=", span, i64(PAGE_SIZE)), likely=False):
            start = self.arguments["start"] = b.and_(address, b.neg(span))
            self.arguments["last"] = b.add(start, b.sub(span, i64(1)))
            self.answers(regime.KEEP_LARGE)

    def _table(self, number: ir.Value) -> ir.Value:
        """The physical address of the page with that number, in the low bits."""
        b = self.builder
        return b.shl(b.and_(number, i64(mmu.PPN_MASK)), i64(PAGE_BITS))

    def _open(self, physical: ir.Value, privilege: ir.Value) -> ir.Value:
        """The host address of memory that is open to a privilege."""
        b = self.builder
        offset = b.sub(physical, self.load("open_start", privilege))
        self._fail_if(b.icmp_unsigned(">=", offset, self.load("open_size", privilege)))
        return b.add(b.sub(physical, self.load("ram_base")), self.load("ram_host"))

    def _want_window(self, span: ir.Value) -> None:
        """Note a store to large memory in a context for which no window has been looked for."""
        b = self.builder
        context = self.load("data_context")
        window = b.mul(b.and_(context, i64(WINDOWS - 1)), i64(WINDOW_SIZE))
        at = b.add(window, i64(State.offset("windows") + 8 * WindowWord.CONTEXT))
        known = b.load(self.at(self.state, at), typ=LONG)
        is_store = b.icmp_unsigned("==", self.operand("access"), i64(mmu.NUMBERS["store"]))
        is_large = b.icmp_unsigned("!=", span, i64(PAGE_SIZE))
        is_first = b.icmp_unsigned("!=", known, context)
        with b.if_then(b.and_(is_store, b.and_(is_large, is_first)), likely=False):
            page = b.and_(self.operand("address"), i64(-PAGE_SIZE))
            self.store("window_wanted", b.or_(page, context))

    def _fail_if(self, condition: ir.Value, end: ir.Block | None = None) -> None:
        """Go to the block `end`, or give 0, where the 1-bit condition holds."""
        rest = self.function.append_basic_block("rest")
        self.builder.cbranch(condition, end or self._fail, rest).set_weights([1, 1000])
        self.builder.position_at_end(rest)
