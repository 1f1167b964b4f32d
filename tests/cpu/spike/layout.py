"""A program for Spike and for us: where things lie, and what RAM holds before it starts.

    BASE              handler of machine mode, and the prologue that sets the scene
    BASE + 0x1000     handler of supervisor mode
    BASE + 0x2000     page tables: the root, 2 MiB entries, 4 KiB entries of RAM and of the window
    BASE + 0x10000    code, in slots of `SLOT` bytes; user mode runs it at the alias `USER` higher
    BASE + 0x20000    data, 8 pages; page tables show them in the window too, with other rights
    BASE + 0x30000    values for the registers, and how many passes are to come

A slot begins with `auipc x26, 0`, and a handler goes on with the next one, `x26 + SLOT`: whatever
a slot did, a jump to nowhere included, the program goes on. Handlers, vectored or not, first read
the registers that tell about the trap, which is how they are compared. ECALL asks the machine's
handler to go on in the mode x25. They use x27 (supervisor's), x28, x30 and x31. At the end of the
slots everything begins again with the prologue, as many times as the program has passes: what was
translated during the first is executed in the next.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from tests.cpu.agreement.program import assemble

BASE, SIZE = 0x8000_0000, 0x4_0000
PROLOGUE, SUPERVISOR = BASE + 0x800, BASE + 0x1000
ROOT, MEGA, SMALL, WINDOW_TABLE, FOURTH = (BASE + 0x2000 + 0x1000 * i for i in range(5))
CODE, DATA, VALUES = BASE + 0x1_0000, BASE + 0x2_0000, BASE + 0x3_0000
START = BASE + 0x3_8000
"""Where Spike begins: what only it must do (its timer would ring) before the prologue."""
PASSES = VALUES + 0x400
TOHOST = BASE + 0x3_F000
WINDOW = 0x4000_0000
USER = 0x4000_0000  # user mode's addresses of code: BASE + USER and so on
SLOT, SLOTS = 64, 0x4000 // 64
NOP = 0x0001
_PAGE = 4096

V, R, W, X, U, G, A, D = (1 << i for i in range(8))

_ADUE = 1 << 61  # Spike's hardware sets A and D bits if it is told to; ours always does
_VECTORS = 12
VECTORS_SIZE = 4 * _VECTORS
_TABLE = "j trap\n" * _VECTORS
_MACHINE = (
    _TABLE
    + """
trap: csrr x31, mcause
csrr x30, mtval
csrr x30, mepc
csrr x30, mstatus
csrr x30, mip
csrw mip, x0
bltz x31, back
addi x31, x31, -8
sltiu x31, x31, 4
beqz x31, next
beqz x25, next
li x30, 6144
csrc mstatus, x30
andi x30, x25, 3
slli x30, x30, 11
csrs mstatus, x30
next: addi x30, x26, SLOT
li x31, ALIAS
not x25, x31
and x30, x30, x25
csrr x25, mstatus
slli x25, x25, 51
srli x25, x25, 62
bnez x25, resume
or x30, x30, x31
resume: csrw mepc, x30
back: li x25, 0
mret
"""
)

_SUPERVISOR = (
    _TABLE
    + """
trap: csrr x27, scause
csrr x28, stval
csrr x28, sepc
csrr x28, sstatus
csrr x28, sip
csrci sip, 2
bltz x27, back
addi x28, x26, SLOT
li x27, ALIAS
not x30, x27
and x28, x28, x30
csrr x30, sstatus
andi x30, x30, 256
bnez x30, resume
or x28, x28, x27
resume: csrw sepc, x28
back: sret
"""
)


@dataclass(frozen=True)
class Program:
    """Slots of instructions, and the scene they are played in: `csrs` are set before it begins, in
    their order, from machine mode; then it starts in `mode`."""

    slots: tuple[tuple[str, ...], ...]
    mode: int = 3
    paging: int = 0
    """0, or the mode of satp: 8 for Sv39, 9 for Sv48."""
    csrs: tuple[tuple[str, int], ...] = ()
    x: tuple[int, ...] = (0,) * 32
    f: tuple[int, ...] = (0,) * 32
    data: bytes = bytes(16)
    passes: int = 1

    @property
    def alias(self) -> int:
        """What user mode's addresses of code have more."""
        return USER if self.paging else 0


def _lines(text: str, alias: int) -> tuple[str, ...]:
    found = []
    for line in filter(None, text.splitlines()):
        label, colon, rest = line.rpartition(": ")
        found += [f"{label}:"] * bool(colon) + [rest]
    return tuple(line.replace("SLOT", str(SLOT)).replace("ALIAS", str(alias)) for line in found)


def _prologue(program: Program) -> tuple[str, ...]:
    start = CODE + (program.alias if program.mode == 0 else 0)
    status = program.mode << 11 | 3 << 13
    satp = program.paging << 60 | (FOURTH if program.paging == 9 else ROOT) >> 12
    csrs = [
        ("mtvec", BASE), ("stvec", SUPERVISOR), ("mstatus", status), ("mepc", start),
        ("satp", satp), ("pmpaddr7", (1 << 54) - 1), ("pmpcfg0", 0x1F << 56), ("pmpaddr0", 0),
        ("fcsr", 0), ("menvcfg", _ADUE), ("mcounteren", 7), ("scounteren", 7),
        ("mcountinhibit", 0), *program.csrs,
    ]  # fmt: skip
    lines = [line for name, value in csrs for line in (f"li x1, {value}", f"csrw {name}, x1")]
    lines += ["sfence.vma", f"li x31, {VALUES}"]
    lines += [f"fld f{i}, {256 + 8 * i}(x31)" for i in range(32)]
    lines += [f"ld x{i}, {8 * i}(x31)" for i in range(1, 32)]
    return (*lines, "csrw minstret, x0", "csrw mcycle, x0", "mret")


_TIMER = (
    "li x1, 0x2004000", "li x2, -1", "sd x2, 0(x1)", f"li x1, {PROLOGUE}", "jr x1",
)  # fmt: skip


_END = (
    ("li x25, 7", "ecall"),
    (
        f"li x9, {PASSES}",
        "ld x8, 0(x9)",
        "addi x8, x8, -1",
        "sd x8, 0(x9)",
        "beqz x8, SLOT_END",
        f"li x9, {PROLOGUE}",
        "jr x9",
    ),
    (f"li x9, {TOHOST}", "li x8, 1", "csrw mie, x0", "sd x8, 0(x9)", "wfi", "j .-4"),
)
"""Goes to machine mode and begins again, or ends the simulation."""


def _entry(paddr: int, rights: int) -> bytes:
    return struct.pack("<Q", paddr >> 12 << 10 | rights | V)


RIGHTS = (
    R | W | U, R | W, R | U | A, X | U | A | D, R | W | U | A | D, R | W | X, 0, W | A | D,
)  # fmt: skip
"""Of the data pages in the window, besides V."""


def _tables() -> list[tuple[int, bytes]]:
    every = R | W | X | A | D
    entries = [
        (FOURTH, _entry(ROOT, 0)),
        (ROOT + 8, _entry(WINDOW_TABLE, 0)),
        (ROOT + 16, _entry(MEGA, 0)),
        (ROOT + 24, _entry(BASE, every | U)),  # a page of 1 GiB: user mode's alias of all RAM
        (ROOT + 32, _entry(BASE + 0x20_0000, every)),  # a superpage that is not aligned
        (ROOT + 40, _entry(ROOT, A)),  # a pointer with a bit that is reserved there
        (MEGA, _entry(SMALL, 0)),
        (MEGA + 8, _entry(BASE, R | W)),  # a page of 2 MiB, without A and D
        (MEGA + 16, _entry(BASE + 0x1000, every)),
    ]
    entries += [(SMALL + 8 * i, _entry(BASE + i * _PAGE, every)) for i in range(SIZE // _PAGE)]
    # The window's second level is shared with its third: entry 0 leads to the table itself.
    entries += [(WINDOW_TABLE, _entry(WINDOW_TABLE, 0))]
    entries += [
        (WINDOW_TABLE + 8 * (0x20 + i), _entry(DATA + i * _PAGE, rights))
        for i, rights in enumerate(RIGHTS)
    ]
    return entries


def window_entry(page: int) -> int:
    """The physical address of the page table entry of the window's data page `page`."""
    return WINDOW_TABLE + 8 * (0x20 + page)


WINDOW_DATA = WINDOW + 0x2_0000


def slot_code(slot: tuple[str, ...], at: int) -> bytes:
    """The bytes of one slot at an address; AiosError if it has too many."""
    code = assemble(("auipc x26, 0", *slot), at, {"SLOT_END": at + SLOT}, SLOT)
    return code + struct.pack("<H", NOP) * ((SLOT - len(code)) // 2)


def image(program: Program) -> bytes:
    """All of RAM."""
    ram = bytearray(SIZE)
    machine = assemble(_lines(_MACHINE, program.alias), BASE, {}, 0x800)
    supervisor = assemble(_lines(_SUPERVISOR, program.alias), SUPERVISOR, {}, _PAGE)
    parts = [(BASE, machine), (SUPERVISOR, supervisor)]
    parts.append((PROLOGUE, assemble(_prologue(program), PROLOGUE, {}, 0x800)))
    parts += _tables()
    parts.append((CODE, struct.pack("<H", NOP) * (SLOTS * SLOT // 2)))
    parts += [(CODE + i * SLOT, slot_code(s, CODE + i * SLOT)) for i, s in enumerate(program.slots)]
    end = CODE + len(program.slots) * SLOT
    parts += [(end + i * SLOT, slot_code(s, end + i * SLOT)) for i, s in enumerate(_END)]
    parts.append((DATA, program.data * (8 * _PAGE // len(program.data))))
    parts.append((VALUES, struct.pack("<64Q", *program.x, *program.f)))
    parts.append((PASSES, struct.pack("<Q", program.passes)))
    parts.append((START, assemble(_TIMER, START, {}, _PAGE)))
    for at, data in parts:
        ram[at - BASE : at - BASE + len(data)] = data
    return bytes(ram)
