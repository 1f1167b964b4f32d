"""The state of a hart: one block of 64-bit words that both engines work on.

Each member of `State` is declared once, in the order of the block. Python reads and writes it as an
attribute (`state.pc`, `state.x[5]`); emitted code takes its place from `State.offset("pc")`. Every
element is one 64-bit word in the host's byte order, so the layout needs no padding and no types.

**Translation buffers.** `fetch_tlb`, `load_tlb` and `store_tlb` are direct mapped by virtual page
number (`vpn % TLB_ENTRIES`). An entry's tag is the page's virtual address with a *context* in its
low 12 bits; context 0 is never in use, so a zeroed entry never hits. What must hold:

* an entry exists only for a whole 4 KiB page of memory, RAM or a device's, to which the access is
  allowed and which needs no further side effect: its A bit is set and, in `store_tlb`, its D bit;
* a context stands for one translation regime: whoever changes privilege, satp, or the mstatus bits
  MPRV, MPP, SUM, MXR calls `set_regime` with values that tell the regimes apart;
* SFENCE.VMA, every write of a PMP register, and device memory that moves on the bus call
  `flush_tlb`, which abandons all contexts;
* bare and machine-mode addresses go through the buffers like any other.

`load_runs` and `store_runs` hold the same knowledge in larger pieces: bytes that lie one behind the
other in memory, with the context in force, entered in no order (`emu.cpu.runs`). The rules above
hold for every page that is wholly in a run, and emitted code takes what the buffers lack from
there.
`load_extents` and `store_extents` are copies that it makes for operands of tensor instructions,
direct mapped by the page of an operand's first byte (`vpn % EXTENTS`).

**Decoded code.** The native engine keeps decoded instructions for the physical pages it has
executed. Stores do not look there: RISC-V promises nothing before FENCE.I, which calls
`flush_code`. So does whoever changes code behind the hart's back (a debugger, a loader). It starts
a new generation: a page is decoded afresh when it is next entered.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Collection, Hashable
from enum import IntEnum
from typing import ClassVar, overload

PAGE_SIZE = 4096
TLB_ENTRIES = 1024
NEVER = (1 << 64) - 1
CONTEXTS = PAGE_SIZE  # as many as the low bits of a tag can tell apart
WORD = 8
EXTENTS, RUNS = 256, 32
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
    instret = Word("Instructions retired since reset.")
    budget = Word("Instructions that emitted code may still retire; it returns at 0.")
    exit_code = Word("Why emitted code returned, an `Exit`.")
    exit_info = Word("The virtual address that missed in a translation buffer.")
    stall_ps = Word("Picoseconds for which instructions took longer than their one cycle.")
    stall_end = Word("The value of stall_ps from which on the machine must look at the hart.")
    tr = Words(TENSOR_REGISTERS * DESCRIPTOR_WORDS, "Tensor registers, as descriptors in memory.")
    ram_base = Word("Physical address of the first byte of RAM.")
    ram_size = Word("Size of RAM in bytes.")
    ram_host = Word("Host address of the first byte of RAM.")
    tensor_unit = Word("Host address of what native tensor instructions need; 0: there are none.")
    fetch_context = Word("Low 12 bits of the tags in `fetch_tlb` that may hit now.")
    data_context = Word("Low 12 bits of the tags in `load_tlb` and `store_tlb` that may hit now.")
    code_generation = Word("Counts `flush_code`; pages decoded in an earlier one are stale.")
    fetch_tlb = Words(4 * TLB_ENTRIES, "tag | record address - 8 * pc | host address - pc | 0")
    load_tlb = Words(2 * TLB_ENTRIES, "tag | host address - virtual address")
    store_tlb = Words(2 * TLB_ENTRIES, "tag | host address - virtual address")
    load_extents = Words(4 * EXTENTS, "context | start | bytes | host address - virtual address")
    store_extents = Words(4 * EXTENTS, "context | start | bytes | host address - virtual address")
    load_runs = Words(4 * RUNS, "as in load_extents")
    store_runs = Words(4 * RUNS, "as in store_extents")

    def __init__(self) -> None:
        self._block = mmap.mmap(-1, self.total * WORD)
        self.words: memoryview[int] = memoryview(self._block).cast("Q")
        self.address = ctypes.addressof(ctypes.c_char.from_buffer(self._block))
        self._contexts: dict[tuple[str, Hashable], int] = {}
        self._last_context = 0
        self._regime: tuple[Hashable, Hashable] = (None, None)
        self.set_regime(None, None)

    @classmethod
    def offset(cls, name: str) -> int:
        """Distance of the member `name` from the start of the block, in bytes."""
        return cls.indices[name] * WORD

    @property
    def contexts(self) -> Collection[int]:
        """The contexts that may be in force again."""
        return self._contexts.values()

    def set_regime(self, fetch: Hashable, data: Hashable) -> None:
        """Select the translation regimes of fetches and of loads and stores from now on.

        Any values do that differ whenever a virtual address may translate differently, such as
        `(priv, satp)` and `(effective priv, satp, sum, mxr)`. Returning to an earlier regime
        finds its entries again.
        """
        if self._last_context > CONTEXTS - 3:  # both may need a new number below
            self._start_contexts_anew()
        self._regime = fetch, data
        self.fetch_context = self._context("fetch", fetch)
        self.data_context = self._context("data", data)

    def flush_tlb(self) -> None:
        """Forget every translation (SFENCE.VMA, a PMP register written)."""
        self._contexts.clear()
        self.set_regime(*self._regime)

    def flush_code(self) -> None:
        """Forget every decoded instruction (FENCE.I, code changed from outside)."""
        self.code_generation += 1
        self._contexts = {k: v for k, v in self._contexts.items() if k[0] != "fetch"}
        self.set_regime(*self._regime)

    def _context(self, kind: str, key: Hashable) -> int:
        number = self._contexts.get((kind, key))
        if number is None:
            self._last_context += 1
            number = self._contexts[kind, key] = self._last_context
        return number

    def _start_contexts_anew(self) -> None:
        """All numbers are used up: clear the buffers, so that none of them is in a tag."""
        self._contexts.clear()
        self._last_context = 0
        first = self.indices["fetch_tlb"]
        self.words[first:] = memoryview(bytes((self.total - first) * WORD)).cast("Q")
