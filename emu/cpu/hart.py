"""The hart: its state, its view of memory, its traps and interrupts. Both engines execute on it.

`state` is the block that emitted code shares, control registers included, `tr` a view of the
tensor registers in it. The machine drives a hart through an engine's `run` and looks at it
when that returns:

* `attention` asks an engine to return at once; anybody may set it (a device, a CSR write that lets
  an interrupt through, WFI, a request to stop, instructions that have taken until
  `state.stall_end`);
* `resume` is what an engine calls before it executes: it takes a pending interrupt, and says
  whether there is anything to execute at all or the hart `waiting` in WFI;
* `set_interrupt` drives the lines of mip that devices own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from emu.bus import Bus, BusFault, Extent
from emu.clock import PS_PER_TICK
from emu.cpu import csr, mmu, regime, traps
from emu.cpu.pmp import Pmp
from emu.cpu.runs import Runs
from emu.cpu.state import NEVER, NO_CONTEXT, PAGE_BITS, PAGE_SIZE, Exit, State
from emu.cpu.traps import Trap
from emu.isa.causes import M_MODE, S_MODE, U_MODE, Interrupt
from emu.isa.csrs import STCE
from emu.memory import Memory

if TYPE_CHECKING:
    from emu.cpu.tensor.registers import Registers
    from emu.cpu.tensor.unit.unit import TensorUnit

_OFFSET = PAGE_SIZE - 1
_ALL = (1 << 64) - 1
_INSTRET, _STALL_PS, _FETCH_CONTEXT, _DATA_CONTEXT, _PAGES_FORGOTTEN = (  # asked for all the time
    State.indices[name]
    for name in ("instret", "stall_ps", "fetch_context", "data_context", "pages_forgotten")
)
_TRAP_PS = 1_000
"""What taking a trap costs, unless somebody sets `trap_ps`."""
_KEPT_REGIMES, _KEPT_PAGES = 1024, 1 << 16
"""Translations remembered: a guest that makes up page tables without end must not fill the host."""

_SAVED = ("waiting", "attention")
"""What a snapshot holds besides words of the state."""

Pages = dict[int, int]
"""Virtual page number to the distance from virtual address to offset in RAM; for pages that are no
memory, to the distance to physical address."""


class Hart:
    """One hart of the machine, in its reset state."""

    hartid: int
    state: State

    def __init__(self, bus: Bus, memory: Memory, hartid: int = 0) -> None:
        self.bus, self.memory, self.hartid = bus, memory, hartid
        self.state = State()
        self.state.hartid, self.state.trap_ps = hartid, _TRAP_PS
        self.set_time_base(0, PS_PER_TICK, PS_PER_TICK)
        self._on_trap: Callable[[int, int, int, int], None] | None = None
        self.breakpoints: set[int] = set()
        self.due = False
        """Whether an engine must take an interrupt before the next instruction."""
        self.on_timer: Callable[[int], None] = lambda hartid: None
        """Told when stimecmp, or whether it counts, has changed."""
        self._pages: dict[tuple[str, int], Pages] = {}
        self._pages_forgotten = 0
        self.runs = Runs(self)
        self.tensor_unit: TensorUnit | None = None
        """What executes tensor instructions natively, once an engine has made it."""
        bus.on_memory_moved.append(self.flush_translations)
        self.reset()

    def reset(self, pc: int = 0) -> None:
        """Return to the state after power-on, about to execute at `pc`."""
        for i in range(self.state.saved):
            self.state.words[i] = 0
        self.state.ram_base, self.state.ram_size = self.memory.base, self.memory.size
        self.state.ram_host = self.memory.host_address
        self.state.pc, self.state.priv = pc, M_MODE
        self.state.exit_code = Exit.BUDGET
        self.state.stall_end = NEVER
        self.pmp = Pmp(self.state)
        self.waiting = False
        self.attention = False
        self.protection_changed()
        self.fence_i()

    def snapshot(self) -> dict[str, Any]:
        """Registers and all else that the guest could tell; `restore` takes it back."""
        return {
            "words": self.state.words[: self.state.saved].tolist(),
            **{name: getattr(self, name) for name in _SAVED},
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave. Translations and decoded code are found again."""
        for i, word in enumerate(saved["words"]):
            self.state.words[i] = word
        for name in _SAVED:
            setattr(self, name, saved[name])
        self.pmp.recompute()
        self.protection_changed()
        self.fence_i()

    # --- what others look at --------------------------------------------------------------------

    @property
    def csr(self) -> State:
        """The registers as they are kept."""
        return self.state

    @property
    def on_trap(self) -> Callable[[int, int, int, int], None] | None:
        """Told of every trap taken: cause (bit 63 for interrupts), tval, pc, handler."""
        return self._on_trap

    @on_trap.setter
    def on_trap(self, told: Callable[[int, int, int, int], None] | None) -> None:
        self._on_trap, self.state.watched = told, int(told is not None)

    @property
    def trap_ps(self) -> int:
        """Taking a trap costs this much time, so that time passes even where nothing retires."""
        return self.state.trap_ps

    @trap_ps.setter
    def trap_ps(self, ps: int) -> None:
        self.state.trap_ps = ps

    def set_time_base(self, base_ps: int, ps_per_insn: int, ps_per_tick: int) -> None:
        """From now on the CSR `time` is `base_ps` + instret * `ps_per_insn` + stall_ps, in units of
        `ps_per_tick`. `base_ps` may be of any size, and negative."""
        ticks, rest = divmod(base_ps, ps_per_tick)
        self.state.time_ticks, self.state.time_ps = ticks & _ALL, rest
        self.state.ps_per_insn, self.state.ps_per_tick = ps_per_insn, ps_per_tick

    @property
    def instret(self) -> int:
        """Instructions retired since reset."""
        return self.state.words[_INSTRET]

    @property
    def stall_ps(self) -> int:
        """Picoseconds for which instructions took longer than their one cycle."""
        return self.state.words[_STALL_PS]

    @stall_ps.setter
    def stall_ps(self, value: int) -> None:
        self.state.stall_ps = value
        if value >= self.state.stall_end:
            self.attention = True

    @cached_property
    def tr(self) -> Registers:
        """The tensor registers tr0 to tr15: copies to read, to be assigned back when changed."""
        from emu.cpu.tensor.registers import Registers  # most runs need none

        return Registers(self.state.tr)

    def csr_read(self, number: int) -> int:
        """A CSR's value without permission checks, for debuggers and tests; KeyError if absent."""
        return csr.by_number(number).read(self)

    def csr_write(self, number: int, value: int) -> None:
        """Write a CSR without permission checks; KeyError if absent."""
        csr.by_number(number).write(self, value & _ALL)

    @property
    def tcause(self) -> int:
        """Why the last tensor exception was raised."""
        return self.state.tcause

    @tcause.setter
    def tcause(self, value: int) -> None:
        self.state.tcause = value

    @property
    def toperand(self) -> int:
        """Which operand it was about."""
        return self.state.toperand

    @toperand.setter
    def toperand(self, value: int) -> None:
        self.state.toperand = value

    # --- traps and interrupts -------------------------------------------------------------------

    def trap(self, cause: int, tval: int = 0) -> None:
        """Take an exception: the instruction at pc has had no effect."""
        self._take(cause, tval & _ALL, interrupt=False)

    def _take(self, cause: int, tval: int, interrupt: bool) -> None:
        traps.take(self, cause, tval, interrupt)
        self.stall(0)  # its time is counted already

    def stall(self, ps: int) -> None:
        """An instruction has taken so much longer than its one cycle."""
        self.stall_ps += ps

    @property
    def mip(self) -> int:
        """Interrupts pending: the devices' lines and what software wrote."""
        return self.state.lines | self.state.soft_mip

    def set_interrupt(self, number: Interrupt, level: bool) -> None:
        """Drive one of the devices' lines."""
        state = self.state
        state.lines = state.lines & ~(1 << number) | bool(level) << number
        self.interrupts_changed()
        if self.due:
            self.attention = True

    def timer_changed(self) -> None:
        """stimecmp or menvcfg was written; with a timer of its own, STIP is not software's."""
        if self.state.menvcfg & STCE:
            self.state.soft_mip &= ~(1 << Interrupt.STI)
        self.on_timer(self.hartid)
        self.interrupts_changed()

    def interrupt_pending(self) -> bool:
        """Whether an interrupt would be taken now."""
        return traps.deliverable(self) is not None

    def interrupts_changed(self) -> None:
        """Find out whether an interrupt is to be taken, or WFI to end."""
        self.due = False
        if self.mip & self.state.mie:
            self.due = self.interrupt_pending()
            if self.waiting:
                self.attention = True

    def take_interrupt(self) -> bool:
        """Enter the handler of the interrupt that is due, if there is one."""
        self.due = False
        interrupt = traps.deliverable(self)
        if interrupt is None:
            return False
        self._take(interrupt, 0, interrupt=True)
        return True

    def resume(self) -> bool:
        """Prepare to execute; False while the hart waits for an interrupt. If an interrupt taken
        here has used up the time until `state.stall_end`, there is `attention` again.

        WFI ends when an enabled interrupt is pending, even one that is masked (section 3.3.3).
        """
        self.attention = False
        if self.waiting and not self.mip & self.state.mie:
            return False
        self.waiting = False
        self.take_interrupt()
        return True

    def break_reservation(self) -> None:
        """Devices may have written to memory: the next SC fails, as if they had written there. (It
        may fail for any reason; loops that retry go on, for events are never that frequent.)"""
        self.state.reserved = 0

    # --- translation ----------------------------------------------------------------------------

    def regime_changed(self) -> None:
        """Privilege or a bit of mstatus that translation looks at may have changed."""
        regime.SELECT.python(self.state.words)
        self.follow_regime()

    def space_changed(self) -> None:
        """satp was written."""
        regime.FIND.python(self.state.words)

    def protection_changed(self) -> None:
        """A PMP register was written: find out what is open to all kinds of access."""
        state, memory = self.state, self.memory
        for privilege in (U_MODE, S_MODE, M_MODE):
            start, end = self.pmp.open_pages(privilege, memory.base, memory.end)
            start, end = self.bus.unwatched(max(start, end - 1), start, end)
            state.open_start[privilege], state.open_size[privilege] = start, end - start
        self.flush_translations()

    def flush_translations(self) -> None:
        """Forget every translation: SFENCE.VMA, or another protection."""
        regime.FIND.python(self.state.words)
        regime.FORGET.python(self.state.words)
        self.regime_changed()

    def follow_regime(self) -> None:
        """Have the pages of the contexts in force at hand, which emitted code may have changed."""
        state = self.state
        if state.fetch_context == NO_CONTEXT or state.data_context == NO_CONTEXT:
            state.start_contexts_anew()
            self._pages.clear()
        pages = self._pages
        if len(pages) > _KEPT_REGIMES:
            pages.clear()
        self._followed = fetch, data = state.fetch_context, state.data_context
        self.fetch_pages: Pages = pages.setdefault(("fetch", fetch), {})
        self.load_pages: Pages = pages.setdefault(("load", data), {})
        self.store_pages: Pages = pages.setdefault(("store", data), {})
        self._load_devices: Pages = pages.setdefault(("load device", data), {})
        self._store_devices: Pages = pages.setdefault(("store device", data), {})

    def follow(self) -> None:
        """Take note of what emitted code has done, before Python goes on."""
        words = self.state.words
        if self._pages_forgotten != words[_PAGES_FORGOTTEN]:
            self._pages_forgotten = words[_PAGES_FORGOTTEN]
            self._pages.clear()
            self.follow_regime()
        elif self._followed != (words[_FETCH_CONTEXT], words[_DATA_CONTEXT]):
            self.follow_regime()

    def fence_i(self) -> None:
        """Fetch from memory again: code may have changed."""
        regime.FENCE.python(self.state.words)
        self.regime_changed()

    def translate(self, vaddr: int, access: str) -> int:
        """The physical address for `access` ("fetch", "load", "store"); raises Trap.

        Sets the accessed and dirty bits. Valid for the bytes up to the end of `mapping`'s range.
        """
        return vaddr + mmu.resolve(self, vaddr, access).offset

    def mapping(self, vaddr: int, access: str) -> tuple[int, int]:
        """The physical address, and how many bytes from there on are mapped linearly with the same
        rights: to the end of a leaf page, of what one PMP decision reaches, or of all addresses.
        Raises Trap."""
        found = mmu.resolve(self, vaddr, access)
        return vaddr + found.offset, found.end - vaddr

    def host_page(self, vaddr: int, access: str) -> int | None:
        """The host address of the 4 KiB page of `vaddr` if the whole page is memory, RAM or a
        device's, to which the access is allowed, so that it may be kept until translations are
        flushed; None if it is not, or somebody watches stores to it. Raises Trap."""
        found = mmu.resolve(self, vaddr, access)
        page = vaddr & ~_OFFSET
        if page < found.start or page + PAGE_SIZE > found.end:
            return None
        paddr = page + found.offset
        if access == "store" and self.bus.unwatched(paddr, paddr, paddr + 1) == (paddr, paddr):
            return None
        memory = self.bus.storage(paddr, PAGE_SIZE)
        return None if memory is None else memory[0].host_address + memory[1]

    def extent(self, paddr: int, n: int = 1) -> Extent | None:
        """The whole of the memory in which the `n` bytes at a physical address lie, if any."""
        return self.bus.extent(paddr, n)

    def is_device_page(self, vaddr: int, is_store: bool) -> bool:
        """Whether the page of `vaddr`, just accessed, is known to be no memory."""
        pages = self._store_devices if is_store else self._load_devices
        return vaddr >> PAGE_BITS in pages

    # --- memory ---------------------------------------------------------------------------------

    def _pieces(self, vaddr: int, size: int, access: str) -> list[tuple[int, int]]:
        """The physical pieces (address, size) of an access, one on each page. Raises Trap, for
        the first piece that cannot be accessed: also when one decision of the PMP does not hold for
        all of it (section 3.7.1), or when it is one of two and not in memory."""
        pieces = []
        while size:
            vaddr &= _ALL
            found = mmu.resolve(self, vaddr, access)
            paddr, here = vaddr + found.offset, min(size, PAGE_SIZE - (vaddr & _OFFSET))
            if vaddr + here > found.end:
                privilege = mmu.effective_privilege(self, access)
                if not self.pmp.allows(paddr, here, access, privilege):
                    raise Trap(mmu.ACCESS_FAULT[access], vaddr)
            pieces.append((paddr, here))
            if (here < size or len(pieces) > 1) and self.bus.storage(paddr, here) is None:
                raise Trap(mmu.ACCESS_FAULT[access], vaddr)
            vaddr, size = vaddr + here, size - here
        return pieces

    def _plain(self, vaddr: int, size: int, access: str) -> list[tuple[int, int]] | int:
        """The pieces, all in memory; or the physical address of a device. Only an aligned access of
        a whole register's size reaches a device: others are access faults. Raises Trap."""
        pieces = self._pieces(vaddr, size, access)
        if len(pieces) > 1 or self.bus.storage(*pieces[0]) is not None:
            return pieces
        if vaddr & (size - 1):
            raise Trap(mmu.ACCESS_FAULT[access], vaddr)
        return pieces[0][0]

    def _remember(self, pages: Pages, vaddr: int, access: str) -> None:
        """Keep the page of `vaddr`, which has just been accessed, if all of it is RAM."""
        host = self.host_page(vaddr, access)
        if host is not None:
            offset = host - self.memory.host_address
            if 0 <= offset < self.memory.size:
                _keep(pages, vaddr, offset - (vaddr & ~_OFFSET))

    def _remember_device(self, pages: Pages, vaddr: int, paddr: int, access: str) -> None:
        """Keep the translation of the page of `vaddr`, at `paddr`, if it holds for the whole page.
        What answers there is found anew each time."""
        found = mmu.resolve(self, vaddr, access)
        page = vaddr & ~_OFFSET
        if found.start <= page and page + PAGE_SIZE <= found.end:
            _keep(pages, vaddr, paddr - vaddr)

    def load(self, vaddr: int, size: int, access: str = "load") -> int:
        """The unsigned value of `size` bytes, at any alignment in memory; raises Trap.

        `access` "store" asks for the right to write as well, as AMOs do.
        """
        if access == "load" and not vaddr & (size - 1):
            distance = self._load_devices.get(vaddr >> PAGE_BITS)
            if distance is not None:
                return self._read_device(vaddr, vaddr + distance, size, access)
        where = self._plain(vaddr, size, access)
        if isinstance(where, int):
            if access == "load":
                self._remember_device(self._load_devices, vaddr, where, access)
            return self._read_device(vaddr, where, size, access)
        if access == "load":
            self._remember(self.load_pages, vaddr, access)
        data = b"".join(bytes(self._bytes(paddr, n)) for paddr, n in where)
        return int.from_bytes(data, "little")

    def _read_device(self, vaddr: int, paddr: int, size: int, access: str) -> int:
        try:
            return self.bus.read(paddr, size)
        except BusFault:
            raise Trap(mmu.ACCESS_FAULT[access], vaddr) from None

    def store(self, vaddr: int, size: int, value: int) -> None:
        """Store `size` bytes, at any alignment; raises Trap before anything is written."""
        distance = self._store_devices.get(vaddr >> PAGE_BITS)
        if distance is not None and not vaddr & (size - 1):
            self._write_device(vaddr, vaddr + distance, size, value)
            return
        where = self._plain(vaddr, size, "store")
        if isinstance(where, int):
            self._remember_device(self._store_devices, vaddr, where, "store")
            self._write_device(vaddr, where, size, value)
            return
        self._remember(self.store_pages, vaddr, "store")
        data = value.to_bytes(size, "little")
        for paddr, n in where:
            self._bytes(paddr, n)[:] = data[:n]
            data = data[n:]
            self.bus.stored(paddr, n)

    def _write_device(self, vaddr: int, paddr: int, size: int, value: int) -> None:
        self.state.reserved = 0  # the device may transfer at once: see `break_reservation`
        try:
            self.bus.write(paddr, size, value)
        except BusFault:
            raise Trap(mmu.ACCESS_FAULT["store"], vaddr) from None

    def _bytes(self, paddr: int, n: int) -> memoryview:
        """Bytes that are known to be memory."""
        found = self.bus.storage(paddr, n)
        assert found is not None
        return found[0].bytes[found[1] : found[1] + n]

    def fetch(self, pc: int) -> int:
        """The 32 bits at `pc`, or 16 when that is the whole instruction; raises Trap."""
        low = self._fetch_half(pc)
        if low & 3 != 3:
            return low
        return low | self._fetch_half((pc + 2) & _ALL) << 16

    def _fetch_half(self, vaddr: int) -> int:
        paddr = self.translate(vaddr, "fetch")
        self._remember(self.fetch_pages, vaddr, "fetch")
        try:
            return self.bus.read(paddr, 2)
        except BusFault:
            raise Trap(mmu.ACCESS_FAULT["fetch"], vaddr) from None


def _keep(pages: Pages, vaddr: int, distance: int) -> None:
    if len(pages) >= _KEPT_PAGES:
        pages.clear()
    pages[vaddr >> PAGE_BITS] = distance
