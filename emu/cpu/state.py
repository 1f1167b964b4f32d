"""The state of a hart: one block of 64-bit words that both engines work on.

Each member of `State` is declared once, in the order of the block. Python reads and writes it as an
attribute (`state.pc`, `state.x[5]`); emitted code takes its place from `State.offset("pc")`. Every
element is one 64-bit word in the host's byte order, so the layout needs no padding and no types.

**Translation buffers.** `fetch_tlb`, `load_tlb` and `store_tlb` are direct mapped by virtual page
number (`vpn % TLB_ENTRIES`). An entry's tag is the page's virtual address with a *context* in its
low 12 bits; context 0 is never in use, so a zeroed entry never hits. What must hold:

* an entry exists only for a whole 4 KiB page of memory, RAM or a device's, to which the access is
  allowed and which needs no further side effect: its A bit is set and, in `store_tlb`, its D bit;
* a context stands for one translation regime (`emu.cpu.regime`): whoever changes privilege, satp,
  or the mstatus bits MPRV, MPP, SUM, MXR has the contexts selected anew;
* SFENCE.VMA without an address, every write of a PMP register, and device memory that moves on the
  bus abandon all contexts; with an address it may forget that page alone;
* bare and machine-mode addresses go through the buffers like any other.

`load_runs` and `store_runs` hold the same knowledge in larger pieces: bytes that lie one behind the
other in memory, with the context in force, entered in no order (`emu.cpu.runs`). The rules above
hold for every page that is wholly in a run, and emitted code takes what the buffers lack from
there. `load_extents` and `store_extents` are copies that it makes for operands of tensor
instructions, direct mapped by the page of an operand's first byte (`vpn % EXTENTS`).

**Decoded code.** The native engine keeps decoded instructions for the physical pages it has
executed. Stores do not look there: RISC-V promises nothing before FENCE.I, which abandons the fetch
contexts. A page that is then entered again is compared with a copy of what it held before, and
decoded afresh if it has changed. `flush_code` forgets everything that was decoded: it starts a new
generation. `code_pages` says where the records of a page are, found by hashing its host address;
emitted code enters pages from there.
"""

from __future__ import annotations

import ctypes
import mmap
from enum import IntEnum
from typing import ClassVar, overload

from emu.isa.csrs import BY_NAME, PMP_ENTRIES

PAGE_BITS = 12
PAGE_SIZE = 1 << PAGE_BITS
TLB_ENTRIES = 1024
NEVER = (1 << 64) - 1
WORD = 8
NO_CONTEXT = PAGE_SIZE - 1
"""The largest number that the low bits of a tag can hold is never in one: nothing hits with it."""

SPACES, SPACE_WORDS = 16, 24
FIRST_FETCH, FETCH_CONTEXTS = 4, 4
FIRST_DATA, DATA_CONTEXTS = 8, 16
UNTRANSLATED = SPACES * SPACE_WORDS
"""Rows of address spaces (`emu.cpu.regime`): their number, their size, where the contexts are in
them, and where the row stands that is for no address space."""

EXTENTS, RUNS, WINDOWS = 256, 32, 8
CODE_PAGES, ENTERED = 2048, 64
RING, HANDLERS, CELL_WORDS = 64, 8192, 6
"""How many entries the members below have that are named after these, and the words of a cell."""
TENSOR_REGISTERS, DESCRIPTOR_WORDS = 16, 16

X_SINK = 32
"""The register number that native code writes in place of x0 (it is the word behind x31)."""


class Exit(IntEnum):
    """Why emitted code returned: `exit_code`. In every case but BUDGET, the instruction at `pc`
    has had no effect at all."""

    BUDGET = 0
    FETCH_MISS = 1
    LOAD_MISS = 2
    STORE_MISS = 3
    BREAK = 4
    SLOW = 5


class Dirty(IntEnum):
    """The values of mstatus.FS and mstatus.XS (privileged specification, 3.1.6.6)."""

    OFF = 0
    INITIAL = 1
    CLEAN = 2
    DIRTY = 3


class Words:
    """A member of several words; as an attribute it is a writable `memoryview` of them."""

    def __init__(self, count: int, doc: str) -> None:
        self.count, self.__doc__ = count, doc
        self.index = -1

    def __set_name__(self, owner: type[State], name: str) -> None:
        self.index = owner.allocate(name, self.count)

    @overload
    def __get__(self, state: None, owner: type[State]) -> Words: ...
    @overload
    def __get__(self, state: State, owner: type[State]) -> memoryview[int]: ...
    def __get__(self, state: State | None, owner: type[State]) -> Words | memoryview[int]:
        return self if state is None else state.words[self.index : self.index + self.count]


class Word:
    """A member of one word; as an attribute it is an unsigned integer."""

    def __init__(self, doc: str) -> None:
        self.__doc__ = doc
        self.index = -1

    def __set_name__(self, owner: type[State], name: str) -> None:
        self.index = owner.allocate(name, 1)

    @overload
    def __get__(self, state: None, owner: type[State]) -> Word: ...
    @overload
    def __get__(self, state: State, owner: type[State]) -> int: ...
    def __get__(self, state: State | None, owner: type[State]) -> Word | int:
        return self if state is None else state.words[self.index]

    def __set__(self, state: State, value: int) -> None:
        state.words[self.index] = value


class CsrWord(Word):
    """The word that keeps the control and status register of the same name."""

    def __init__(self) -> None:
        super().__init__("")

    def __set_name__(self, owner: type[State], name: str) -> None:
        super().__set_name__(owner, name)
        self.__doc__ = BY_NAME[name].doc


class _Layout:
    """Hands out the words of the block in the order of declaration."""

    indices: ClassVar[dict[str, int]] = {}
    total: ClassVar[int] = 0

    @classmethod
    def allocate(cls, name: str, count: int) -> int:
        """Reserve `count` words for the member `name`; returns the index of the first."""
        index = cls.total
        cls.indices[name] = index
        _Layout.total += count
        return index


class State(_Layout):
    """One hart's state block. `words` is the whole of it, `address` where emitted code finds it."""

    x = Words(32, "Integer registers; x[0] is never written.")
    x_sink = Word("Where native code puts results for x0; meaningless.")
    f = Words(32, "Floating-point registers, single precision NaN-boxed.")
    pc = Word("Address of the next instruction.")
    priv = Word("Privilege: 0 user, 1 supervisor, 3 machine.")
    frm = Word("Dynamic rounding mode, fcsr bits 7:5.")
    fflags = Word("Accrued floating-point exceptions, fcsr bits 4:0.")
    fs = Word("mstatus.FS, a `Dirty`.")
    xs = Word("mstatus.XS, the tensor unit's, a `Dirty`.")
    reservation = Word("Virtual address of the LR reservation.")
    reserved = Word("1 while a reservation is held, else 0.")
    instret = Word(
        "Instructions retired since reset; while emitted code runs, less those of this run "
        "(`budget` less the count that remains)."
    )
    budget = Word("Instructions that emitted code may still retire; it returns at 0.")
    exit_code = Word("Why emitted code returned, an `Exit`.")
    exit_info = Word("The virtual address that missed in a translation buffer.")
    stall_ps = Word("Picoseconds for which instructions took longer than their one cycle.")
    stall_end = Word("The value of stall_ps from which on the machine must look at the hart.")
    mstatus = Word("mstatus without FS and XS, which have words of their own, and SD.")
    medeleg, mideleg, mie, mtvec, mepc, mcause, mtval = (CsrWord() for _ in range(7))
    mscratch, mcounteren, menvcfg, mcountinhibit = (CsrWord() for _ in range(4))
    stvec, sepc, scause, stval, sscratch, scounteren = (CsrWord() for _ in range(6))
    senvcfg, stimecmp, satp, tcause, toperand = (CsrWord() for _ in range(5))
    lines = Word("The interrupts in mip that devices drive.")
    soft_mip = Word("The interrupts in mip that software has set.")
    cycle_count = Word("mcycle less `instret`, or mcycle itself while it is inhibited.")
    instret_count = Word("minstret less `instret`, or minstret itself while it is inhibited.")
    pmpcfg = Words(PMP_ENTRIES // 8, "pmpcfg0, pmpcfg2.")
    pmpaddr = Words(PMP_ENTRIES, "pmpaddr0 to pmpaddr15.")
    tr = Words(TENSOR_REGISTERS * DESCRIPTOR_WORDS, "Tensor registers, as descriptors in memory.")
    hartid = Word("Number of the hart: mhartid.")
    watched = Word("1 while Python wants to see every trap.")
    trap_ps = Word("Picoseconds that taking a trap costs.")
    ps_per_insn = Word("Picoseconds that an instruction takes, as the clock counts.")
    ps_per_tick = Word("Picoseconds, of this hart's own, to a tick of `time`.")
    time_ticks = Word("The machine's time at instret = stall_ps = 0, in ticks of `time`,")
    time_ps = Word("and the picoseconds beyond.")
    mtimecmp = Word("The CLINT's register of this name for this hart;")
    alarm = Word("the time, in ticks, for which something is scheduled to look at it;")
    alarm_at = Word("and the physical address at which emitted code may store to it, or 0.")
    ram_base = Word("Physical address of the first byte of RAM.")
    ram_size = Word("Size of RAM in bytes.")
    ram_host = Word("Host address of the first byte of RAM.")
    tensor_unit = Word("Host address of what native tensor instructions need; 0: there are none.")
    fetch_context = Word("Low 12 bits of the tags in `fetch_tlb` that may hit now.")
    data_context = Word("Low 12 bits of the tags in `load_tlb` and `store_tlb` that may hit now.")
    next_context = Word("The number that the next new context gets.")
    oldest_context = Word("Contexts below this one are abandoned.")
    generation = Word("Counts how often all translations were forgotten.")
    fences = Word("Counts how often all fetch contexts were abandoned (FENCE.I).")
    space = Word("Where in `spaces` the row of satp starts.")
    spaces = Words((SPACES + 1) * SPACE_WORDS, "Rows of contexts: `emu.cpu.regime`.")
    open_start = Words(4, "Where the `open_size` bytes of RAM begin, by privilege, in whole pages,")
    open_size = Words(
        4, "all of which it may read, write and execute, and whose stores none watch."
    )
    walked = Word("The physical address that the last walk came to, 0, or 1 for a page fault.")
    breakpoints = Word("How many there are.")
    large_start = Word("What is kept of more than a small page, of addresses that are translated,")
    large_last = Word("begins here and ends with this byte: `emu.cpu.regime`.")
    pages_forgotten = Word("Counts how often the translations of one page were forgotten.")
    window_wanted = Word("Page | context of the last store where there is no window yet, or 0.")
    code_generation = Word("Counts `flush_code`; pages decoded in an earlier one are stale.")
    code_version = Word("The number that was last given to a page of records as it was cleared.")
    code_pages = Words(4 * CODE_PAGES, "Host address | code_generation | address of records | 0")
    entered_at = Word("How many pages emitted code has entered in `fetch_tlb`;")
    entered = Words(ENTERED, "the virtual addresses of the last of them.")
    fetch_tlb = Words(4 * TLB_ENTRIES, "tag | record address - 8 * pc | host address - pc | 0")
    load_tlb = Words(2 * TLB_ENTRIES, "tag | host address - virtual address")
    store_tlb = Words(2 * TLB_ENTRIES, "tag | host address - virtual address")
    load_extents = Words(4 * EXTENTS, "context | start | bytes | host address - virtual address")
    store_extents = Words(4 * EXTENTS, "context | start | bytes | host address - virtual address")
    load_runs = Words(4 * RUNS, "as in load_extents")
    store_runs = Words(4 * RUNS, "as in store_extents")
    windows = Words(4 * WINDOWS, "context | start | limit | host address, by data context")
    translated = Word("Instructions that translations have retired.")
    ring_at = Word("How many entries of `ring` are new.")
    ring = Words(2 * RING, "Indirect jumps that left a region: address | target")
    cells = Words(
        CELL_WORDS * HANDLERS, "What must hold for a region, by the number of its handler."
    )
    handlers = Words(HANDLERS, "Host addresses of handlers: the interpreter's, then regions'.")

    def __init__(self) -> None:
        self._block = mmap.mmap(-1, self.total * WORD)
        self.words: memoryview[int] = memoryview(self._block).cast("Q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._block))
        self.start_contexts_anew()

    @property
    def saved(self) -> int:
        """How many of the first words a reset clears and a snapshot holds: all that is the guest's.
        Behind them stands what belongs to the machine, and what can be found again."""
        return self.indices["hartid"]

    @classmethod
    def offset(cls, name: str) -> int:
        """Distance of the member `name` from the start of the block, in bytes."""
        return cls.indices[name] * WORD

    def start_contexts_anew(self) -> None:
        """Forget everything in the buffers, so that no context is in a tag, and begin with the
        numbers again."""
        from emu.cpu import regime  # is derived from what is declared here

        first, end = self.indices["fetch_tlb"], self.indices["translated"]
        self.words[first:end] = memoryview(bytes((end - first) * WORD)).cast("Q")
        self.cells[::CELL_WORDS] = memoryview(bytes(HANDLERS * WORD)).cast("Q")  # their contexts
        self.next_context = self.oldest_context = 1
        self.generation += 1
        for i in range(len(self.spaces)):
            self.spaces[i] = NO_CONTEXT
        regime.FIND.python(self.words)
        regime.SELECT.python(self.words)

    def flush_code(self) -> None:
        """Forget every decoded instruction, even where the code is what it was."""
        from emu.cpu import regime

        self.code_generation += 1
        regime.FENCE.python(self.words)
        regime.SELECT.python(self.words)
        if self.fetch_context == NO_CONTEXT:
            self.start_contexts_anew()
