"""The little machine that programs are compared on: RAM, a device, trap handlers, page tables.

    physical       what                      page tables show it at
    0x8000_0000    handler of machine mode   (2 MiB page at 0x4020_0000, 1 GiB page at 0x8000_0000)
    0x8000_1000    handler of supervisor     0x400f_0000
    0x8000_2000    two roots, their tables
    0x8001_0000    code, 8 pages             0x4001_0000; 0x4005_0000 again; 0x4009_0000 neighbours
                                             exchanged; and in the large pages
    0x8002_0000    data, 8 pages             0x4002_0000; 0x4006_0000 with fewer rights
    0x1000_0000    a device                  0x4003_0000

So the virtual addresses of one byte of code differ in single bits, and a program changes alias with
one `xor`. Handlers skip what trapped, own x26, x27 (supervisor's), x30 and x31 (machine's), lower
interrupt lines by the device, and take a program that jumped to nowhere back to its start. An
ECALL with a number in x25 asks the machine's handler for one of `SERVICES`, which edit nothing but
page tables: code that changed without a FENCE.I is not the same for all engines.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.state import Dirty
from emu.cpu.traps import Interrupt
from emu.isa.csrs import BY_NAME
from emu.memory import Memory
from tests.cpu.agreement.program import (
    AREA,
    BASE,
    CODE,
    DATA,
    DEVICE,
    FILLER,
    PAGED,
    SIZE,
    WINDOW,
    Program,
    assemble,
)  # fmt: skip

V, R, W, X, U, G, A, D = (1 << i for i in range(8))
ROOTS = (BASE + 0x2000, BASE + 0x5000)
LEAVES = tuple(root + 0x2000 for root in ROOTS)
"""Root page tables of the two address spaces; and their tables of the 4 KiB pages from WINDOW."""

SERVICES = {
    "edit": 1,  # store x29 as the page table entry at x28, forget all translations
    "edit-one": 2,  # the same, but forget those of the virtual address x17 only
    "space": 3,  # x28 becomes satp; nothing is forgotten
}

_MACHINE_HANDLER, _SUPERVISOR_HANDLER = BASE, BASE + 0x1000
_SUPERVISOR_VIRTUAL = WINDOW + 0xF_0000
_COMPARED = (
    "x", "f", "pc", "priv", "frm", "fflags", "fs", "xs", "reserved", "instret", "stall_ps",
)  # fmt: skip
_CSRS = [csr for csr in BY_NAME.values() if not csr.name.startswith("mhpm")]
_SATP = 8 << 60 | 5 << 44  # Sv39, address space 5

_MACHINE = """
m: jal x0, m_trap
    jal x0, m_interrupt ; jal x0, m_interrupt ; jal x0, m_interrupt ; jal x0, m_interrupt
    jal x0, m_interrupt ; jal x0, m_interrupt ; jal x0, m_interrupt ; jal x0, m_interrupt
    jal x0, m_interrupt ; jal x0, m_interrupt ; jal x0, m_interrupt
m_trap: csrr x31, mcause
    bltz x31, m_interrupt
    addi x30, x31, -12 ; beqz x30, m_lost
    addi x30, x31, -1 ; beqz x30, m_lost
    addi x30, x31, -8 ; sltiu x30, x30, 4 ; bnez x30, m_service
    lui x31, 0xa0 ; csrs mstatus, x31
    csrr x30, mepc ; lhu x30, 0(x30)
    csrc mstatus, x31
    andi x30, x30, 3 ; addi x30, x30, -3 ; seqz x30, x30 ; slli x30, x30, 1 ; addi x30, x30, 2
m_skip: csrr x31, mepc ; add x31, x31, x30 ; csrw mepc, x31
    mret
m_service: addi x30, x25, -3 ; beqz x30, m_space
    srli x30, x28, 15 ; lui x31, 0x10 ; bne x30, x31, m_serviced
    addi x30, x25, -2 ; beqz x30, m_edit_one
    addi x30, x25, -1 ; bnez x30, m_serviced
    sd x29, 0(x28) ; sfence.vma ; j m_serviced
m_edit_one: sd x29, 0(x28) ; sfence.vma x17 ; j m_serviced
m_space: csrw satp, x28
m_serviced: li x25, 0 ; li x30, 4 ; j m_skip
m_lost: li x31, START ; csrw mepc, x31 ; mret
m_interrupt: li x31, DEVICE ; sw x0, 0(x31) ; csrw mip, x0 ; mret
"""

_SUPERVISOR = """
s: jal x0, s_trap
    jal x0, s_interrupt ; jal x0, s_interrupt ; jal x0, s_interrupt ; jal x0, s_interrupt
    jal x0, s_interrupt ; jal x0, s_interrupt ; jal x0, s_interrupt ; jal x0, s_interrupt
    jal x0, s_interrupt
s_trap: csrr x27, scause
    bltz x27, s_interrupt
    lui x26, 0xc0 ; csrs sstatus, x26
    csrr x27, sepc ; lhu x27, 0(x27)
    csrc sstatus, x26
    andi x27, x27, 3 ; addi x27, x27, -3 ; seqz x27, x27 ; slli x27, x27, 1 ; addi x27, x27, 2
    csrr x26, sepc ; add x26, x26, x27 ; csrw sepc, x26
    sret
s_interrupt: li x27, DEVICE ; sw x0, 0(x27) ; csrci sip, 2 ; sret
"""


def _handler(text: str, at: int, places: dict[str, int]) -> bytes:
    """Assemble a handler, whose lines hold several instructions and may begin with a label."""
    lines: list[str] = []
    for part in text.replace("\n", ";").split(";"):
        label, colon, rest = part.rpartition(":")
        lines += [f"{label.strip()}:"] * bool(colon) + [rest.strip()] * bool(rest.strip())
    return assemble(tuple(lines), at, places, 4096)


def _entry(paddr: int, rights: int) -> bytes:
    return struct.pack("<Q", paddr >> 12 << 10 | rights | V)


def _tables(root: int, u: int, second: bool) -> list[tuple[int, bytes]]:
    """One address space. The second has its data pages in another order."""
    large, small = root + 0x1000, root + 0x2000
    every = R | W | X | u
    entries = [
        (root + 8, _entry(large, 0)),
        (root + 16, _entry(BASE, every)),
        (large, _entry(small, 0)),
        (large + 8, _entry(BASE, every)),
        (small + 8 * 0x30, _entry(DEVICE, R | W | u)),
        (small + 8 * 0xF0, _entry(_SUPERVISOR_HANDLER, R | X)),
    ]
    for page in range(8):
        code, data = CODE + 0x1000 * page, DATA + 0x1000 * (page ^ 3 * second)
        fewer = (R | W, R | W, R, R | W, 0, X, R | W | A | D, R | A)[page]
        entries += [
            (small + 8 * (0x10 + page), _entry(code, R | X | u)),
            (small + 8 * (0x50 + page), _entry(code, every)),
            (small + 8 * (0x90 + page ^ 1), _entry(code, X | u)),
            (small + 8 * (0x20 + page), _entry(data, R | W | u)),
            (small + 8 * (0x60 + page), _entry(data, fewer | u)),
        ]
    return entries


@lru_cache(maxsize=4)
def image(program: Program) -> bytes:
    """What RAM holds before the program runs; AiosError when it cannot be assembled."""
    ram = bytearray(SIZE)
    paged = program.mode in PAGED
    virtual = _SUPERVISOR_VIRTUAL if paged else _SUPERVISOR_HANDLER
    device = WINDOW + 0x3_0000 if paged else DEVICE
    machine = _handler(_MACHINE, _MACHINE_HANDLER, {"START": program.start, "DEVICE": DEVICE})
    supervisor = _handler(_SUPERVISOR, virtual, {"DEVICE": device})
    parts = [(_MACHINE_HANDLER, machine), (_SUPERVISOR_HANDLER, supervisor)]
    for root in ROOTS:
        parts += _tables(root, U if program.mode == "user" else 0, root == ROOTS[1])
    parts.append((CODE, struct.pack("<H", FILLER) * (AREA // 2)))
    parts.append((CODE + program.offset, program.code()))
    parts.append((DATA, program.seed * (AREA // len(program.seed))))
    for at, data in parts:
        ram[at - BASE : at - BASE + len(data)] = data
    return bytes(ram)


class _Lines:
    """The device: any write lowers all interrupt lines; a read gives how often it was used."""

    name = "lines"

    def __init__(self) -> None:
        self.accesses = 0
        self.hart: Hart

    def read(self, offset: int, size: int) -> int:
        self.accesses += 1
        return self.accesses + offset & 0xFF

    def write(self, offset: int, size: int, value: int) -> None:
        self.accesses += 1
        for line in Interrupt:
            self.hart.set_interrupt(line, False)

    def describe(self, write: bool, offset: int, size: int, value: int) -> str:
        return "lines"


class Engine(Protocol):
    """What is compared."""

    def run(self, budget: int) -> str: ...


class Stop(NamedTuple):
    """Raise the interrupt lines that are bits of `lines`, then run `budget` instructions."""

    lines: int
    budget: int


class World:
    """A hart and the engine that a factory makes for it."""

    def __init__(self, factory: Callable[[Hart], Engine], memory: Memory | None = None) -> None:
        self._device = _Lines()
        memory = memory or Memory(BASE, SIZE)
        bus = Bus(memory)
        bus.map(DEVICE, 0x1000, self._device)
        self.hart = self._device.hart = Hart(bus, memory)
        self.engine = factory(self.hart)

    def start(self, program: Program) -> None:
        """Be about to execute the program's first instruction."""
        hart, state = self.hart, self.hart.state
        hart.memory.view(BASE, SIZE)[:] = image(program)
        self._device.accesses = 0
        hart.reset(program.start)
        paged = program.mode in PAGED
        supervisor = _SUPERVISOR_VIRTUAL if paged else _SUPERVISOR_HANDLER
        values = {
            "mtvec": _MACHINE_HANDLER | program.vectored,
            "stvec": supervisor | program.vectored,
            "medeleg": program.delegated[0],
            "mideleg": program.delegated[1],
            "mie": (1 << 12) - 1,
            "mstatus": Dirty.INITIAL << 13 | 0b1010,
            "mcounteren": 7,
            "scounteren": 7,
            "satp": _SATP | ROOTS[0] >> 12 if paged else 0,
            "pmpaddr0": DATA + 0x6000 >> 2 | 0x1FF,
            "pmpcfg0": 0x1F00 | (0x19 if program.guarded else 0),
            "pmpaddr1": (1 << 54) - 1,
        }
        for name, value in values.items():
            hart.csr_write(BY_NAME[name].number, value)
        for i in range(32):
            state.x[i], state.f[i] = program.x[i] if i else 0, program.f[i]
        state.priv = {"machine": 3, "user": 0}.get(program.mode, 1)
        hart.regime_changed()

    def go(self, stop: Stop) -> str:
        """Run up to the stop; what the engine said."""
        for line in Interrupt:
            if stop.lines >> line & 1:
                self.hart.set_interrupt(line, True)
        return self.engine.run(stop.budget)

    def registers(self) -> dict[str, Any]:
        """All that a guest could tell, but memory."""
        hart, state = self.hart, self.hart.state
        seen: dict[str, Any] = {}
        for name in _COMPARED:
            value = getattr(state, name)
            if isinstance(value, int):
                seen[name] = value
            else:
                seen |= {f"{name}{i}": word for i, word in enumerate(value)}
        seen |= {csr.name: hart.csr_read(csr.number) for csr in _CSRS}
        return seen | {
            "reservation": state.reserved and state.reservation,
            "waiting": hart.waiting, "attention": hart.attention,
            "accesses of the device": self._device.accesses,
        }  # fmt: skip

    def memory(self) -> bytes:
        """All of RAM."""
        return bytes(self.hart.memory.bytes)
