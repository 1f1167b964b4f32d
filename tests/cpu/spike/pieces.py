"""What slots are made of: short sequences that reach into a corner of the architecture each.

A piece is a function of a random generator and of the mode the program starts in that gives lines
of assembly. What Spike and we may do differently is left out: registers in `_DIFFERENT`, atomics
at addresses that are not aligned (access fault there, misaligned here; both may be), SC after a
trap (ours takes the reservation away) or elsewhere (if it fails, ours does not look at the page).
"""

from __future__ import annotations

import random
from collections.abc import Callable

from emu.isa import TABLE
from emu.isa.csrs import BY_NAME
from emu.isa.decode import decode
from tests.cpu.agreement import operands
from tests.cpu.agreement.operands import FREE, instruction
from tests.cpu.spike.layout import DATA, USER, WINDOW, WINDOW_DATA, window_entry

Lines = list[str]

_READ_ONLY_HERE = (
    "mstatus",
    "sstatus",
    "satp",
    "mtvec",
    "stvec",
    "mideleg",
    "medeleg",
    "mie",
    "sie",
)
_DIFFERENT = (
    "time",  # counts host and guest time
    "misa",  # writable in Spike; ours has another extension
    "marchid", "mimpid", "mvendorid",
    "menvcfg", "senvcfg", "stimecmp",  # Spike's has ADUE, no FIOM, and no Sstc here
    "tcause", "toperand",
    "tselect", "tdata1", "tdata2", "tdata3", "tinfo",  # Spike's has triggers
)  # fmt: skip
_CSRS = [
    name for name in BY_NAME
    if name not in _DIFFERENT + _READ_ONLY_HERE and not name.startswith(("mhpm", "pmp"))
]  # fmt: skip
_ABSENT = (0x015, 0x04D, 0x30C, 0x31A, 0x321, 0x34A, 0x34B, 0x600, 0x7C0, 0x9C0, 0xBFF,
           0xC80, 0xCFF, 0xDA0, 0xFB0, 0x200, 0x740, 0x000, 0x008)  # fmt: skip
_PMP = [name for name in BY_NAME if name.startswith("pmp")]
_STATUS_BITS = (1 << 1, 1 << 3, 1 << 5, 1 << 7, 1 << 8, 1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21,
                1 << 22, 3 << 11, 1 << 11, 2 << 11, 1 << 13, 2 << 13, 3 << 13)  # fmt: skip


_PLAIN = [i for i in operands.MEMORY if i not in operands.ATOMIC]
_AMOS = [i for i in operands.ATOMIC if not i.mnemonic.startswith(("lr", "sc"))]


def _free(rng: random.Random) -> str:
    return f"x{rng.choice(FREE)}"


def _any(rng: random.Random) -> str:
    return f"x{rng.randrange(26)}"


def _address(rng: random.Random, mode: int) -> int:
    """Where data is, or might be: near the ends of pages, often."""
    page = rng.randrange(8) * 0x1000
    near = rng.choice((0, 0x100, 0x7F8, 0xFF0, 0xFF8, 0xFFC, 0xFFF, 0xFFE))
    kind = rng.random()
    if kind < 0.45:
        return DATA + page + near + (USER if mode == 0 and rng.random() < 0.9 else 0)
    if kind < 0.85:
        return WINDOW_DATA + page + near
    return rng.choice((
        WINDOW + 8, 0x8000_0000 + (2 << 20) + 0x2_0100, 0x8000_0000 + (4 << 20), 1 << 32, 5 << 30,
        (1 << 64) - 8, 1 << 38, (1 << 39) + DATA, (1 << 64) - (1 << 38), 1 << 47, 1 << 55,
        0x8010_0000, 0x6000_0000,
    ))  # fmt: skip


def integers(rng: random.Random, mode: int) -> Lines:
    """Integer instructions."""
    return [instruction(rng, rng.choice(operands.INTEGER)) for _ in range(rng.randint(1, 12))]


def floats(rng: random.Random, mode: int) -> Lines:
    """Floating-point instructions in any rounding mode, and their flags."""
    lines = [f"csrwi frm, {rng.randrange(8)}"] if rng.random() < 0.3 else []
    lines += [instruction(rng, rng.choice(operands.FLOAT)) for _ in range(rng.randint(1, 10))]
    return [*lines, f"csrr {_free(rng)}, fcsr"]


def memory(rng: random.Random, mode: int) -> Lines:
    """Loads and stores at any alignment and with any rights."""
    lines = [f"li {p}, {_address(rng, mode)}" for p in ("x2", "x10", "x11")]
    return lines + [instruction(rng, rng.choice(_PLAIN)) for _ in range(rng.randint(1, 5))]


def atomics(rng: random.Random, mode: int) -> Lines:
    """Atomic instructions; LR and SC next to each other, of one size or two."""
    lines = [f"li x10, {_address(rng, mode)}", "andi x10, x10, -8"]
    if rng.random() < 0.6:
        lines.append(f"lr.{rng.choice('wd')} {_free(rng)}, (x10)")
        lines.append(f"sc.{rng.choice('wd')} x12, {_any(rng)}, (x10)")
        lines.append(f"sc.{rng.choice('wd')} x13, {_any(rng)}, (x10)")
        return lines
    lines += ["mv x2, x10", "mv x11, x10"]
    return lines + [instruction(rng, rng.choice(_AMOS)) for _ in range(3)]


def csr(rng: random.Random, mode: int) -> Lines:
    """Any CSR, written in any way; those with consequences are in other pieces."""
    name = rng.choice(_CSRS)
    verb = rng.choice(("csrrw", "csrrs", "csrrc", "csrrwi", "csrrsi", "csrrci"))
    operand = f"{rng.randrange(32)}" if verb.endswith("i") else rng.choice(("x0", _any(rng)))
    lines = [f"li x9, {operands.integer(rng)}"]
    lines.append(f"{verb} {rng.choice(('x0', _free(rng)))}, {name}, {operand}")
    return [*lines, f"csrr {_free(rng)}, {name}"]


def absent(rng: random.Random, mode: int) -> Lines:
    """Registers that are not there, or cannot be written, or not from here."""
    number = rng.choice((*_ABSENT, *(BY_NAME[n].number for n in _READ_ONLY_HERE)))
    verb = rng.choice(("csrrs", "csrrc")) if number not in _ABSENT else "csrrw"
    lines = [f"{verb} {_free(rng)}, {number:#x}, x0"]
    return [*lines, f"csrrw {_free(rng)}, {rng.choice(('cycle', 'instret', 'mhartid'))}, x0"]


def status(rng: random.Random, mode: int) -> Lines:
    """Bits of the status register, its views, and a load and a store under them."""
    name = rng.choice(("mstatus", "sstatus"))
    verb = rng.choice(("csrs", "csrs", "csrc"))
    lines = [f"li x9, {rng.choice(_STATUS_BITS) | rng.choice((0, *_STATUS_BITS))}"]
    lines += [f"{verb} {name}, x9", f"csrr {_free(rng)}, mstatus", f"csrr {_free(rng)}, sstatus"]
    if rng.random() < 0.6:
        lines += [f"li x10, {_address(rng, mode)}"]
        lines += [rng.choice(("ld x6, 0(x10)", "sw x7, 0(x10)", "lbu x8, 0(x10)"))]
    if rng.random() < 0.5:
        lines += ["li x9, 0x20000", "csrc mstatus, x9"]
    return lines


def interrupts(rng: random.Random, mode: int) -> Lines:
    """Software, timer and external interrupts of the supervisor, raised by hand."""
    lines = [f"li x9, {rng.choice((2, 0x20, 0x200, 0x222, 0x22))}"]
    lines += [f"{rng.choice(('csrs', 'csrs', 'csrw'))} {rng.choice(('mie', 'sie'))}, x9"]
    if rng.random() < 0.4:
        lines += ["csrs mideleg, x9", f"csrr {_free(rng)}, mideleg"]
    lines += [rng.choice(("csrsi mstatus, 8", "csrsi sstatus, 2", "csrsi mstatus, 10", "nop"))]
    lines += [f"csrs {rng.choice(('mip', 'mip', 'sip'))}, x9", f"csrr {_free(rng)}, mip"]
    lines += [f"csrr {_free(rng)}, sip", f"csrr {_free(rng)}, sie"]
    return lines


def waiting(rng: random.Random, mode: int) -> Lines:
    """WFI with something pending and enabled, so that it ends at once."""
    return ["csrsi mie, 2", "csrsi mip, 2", "csrr x9, mip", "andi x9, x9, 2", "beqz x9, .+8", "wfi"]


def delegation(rng: random.Random, mode: int) -> Lines:
    """Which exceptions go to the supervisor, and the counters it may read."""
    bits = sum(1 << c for c in (1, 2, 3, 4, 5, 6, 7, 12, 13, 15) if rng.random() < 0.5)
    lines = [f"li x9, {bits}", "csrw medeleg, x9", f"csrr {_free(rng)}, medeleg"]
    name = rng.choice(("mcounteren", "scounteren"))
    lines += [f"csrwi {name}, {rng.randrange(8)}", f"csrr {_free(rng)}, {name}"]
    return [*lines, f"csrr {_free(rng)}, {rng.choice(('cycle', 'instret'))}"]


def exceptions(rng: random.Random, mode: int) -> Lines:
    """What always traps."""
    kinds = (
        "ecall",
        "ebreak",
        "c.ebreak",
        ".word 0xffffffff",
        ".half 0",
        ".word 0",
        ".half 0x8002",
    )
    return [rng.choice(kinds)]


def hop(rng: random.Random, mode: int) -> Lines:
    """Go on in another mode, by a service of the machine's handler."""
    return [f"li x25, {rng.choice((4, 5, 7, 7))}", "ecall"]


def returns(rng: random.Random, mode: int) -> Lines:
    """MRET and SRET, to odd places and modes."""
    kind = rng.choice("ms")
    lines = ["la x9, there", f"csrw {kind}epc, x9", f"csrr {_free(rng)}, {kind}epc"]
    if rng.random() < 0.5:
        bits = rng.choice((1 << 11, 2 << 11, 3 << 11, 1 << 8, 1 << 17, 1 << 5, 1 << 7))
        lines += [f"li x8, {bits}", f"{rng.choice(('csrs', 'csrc'))} mstatus, x8"]
    return [*lines, f"{kind}ret", "there:", f"csrr {_free(rng)}, mstatus"]


def jumps(rng: random.Random, mode: int) -> Lines:
    """Jumps to halfwords, to odd addresses, to what cannot be executed, and out of the world."""
    if rng.random() < 0.5:
        offset = rng.choice((0, 1, 2, 3))
        return ["la x9, there", f"jalr {_free(rng)}, {offset}(x9)", "there:", "c.nop", "c.nop"]
    target = rng.choice(
        (_address(rng, mode), 1 << 63, 0x6000_0000, operands.integer(rng) | 1 << 62)
    )
    return [f"li x9, {target}", rng.choice(("jr x9", "jalr x9", "jalr x1, 1(x9)"))]


def words(rng: random.Random, mode: int) -> Lines:
    """Any bits at all, as long as they neither go anywhere nor reach memory if they mean
    something: is what is no instruction of ours none of Spike's either?"""
    lines: Lines = []
    while len(lines) < 3:
        word = rng.getrandbits(32) | 3 if rng.random() < 0.6 else _mutated(rng)
        found = decode(word if word & 3 == 3 else word & 0xFFFF)
        if found is None or _harmless(found.insn.mnemonic, word):
            lines.append(f".word {word:#x}" if word & 3 == 3 else f".half {word & 0xFFFF:#x}")
    return lines


def _mutated(rng: random.Random) -> int:
    """An instruction with a few bits changed."""
    insn = rng.choice(list(TABLE.values()))
    word = insn.encoding.match | rng.getrandbits(insn.encoding.bits) & ~insn.encoding.mask
    for _ in range(rng.randrange(3)):
        word ^= 1 << rng.randrange(insn.encoding.bits)
    return word


def _harmless(mnemonic: str, word: int) -> bool:
    insn = TABLE[mnemonic]
    ops = {step.op for step in insn.steps}
    if ops & {"system", "branch", "jump", "load", "store", "reserve"}:
        return False
    field = next((f for f in insn.encoding.fields if f.name == "rd"), None)
    return field is not None and field.extract(word) in (0, *FREE)


def page_table(rng: random.Random, mode: int) -> Lines:
    """A page table entry of the window: read, written, forgotten in some way; then an access.
    Where a fence is illegal no entry is written: without one, old translations may live on."""
    page = rng.randrange(8)
    entry = (DATA + rng.randrange(8) * 0x1000) >> 2
    entry |= rng.choice((0xCF, 0xC7, 0x0F, 0x07, 0x1F, 0xDF, 0x17, 0xD7, 0x05, 0x03, 0x01, 0x43))
    entry |= rng.choice((0, 0, 0, 0x100, 1 << 54, 1 << 60, 1 << 61, 1 << 63, 16))
    lines = [f"li x9, {window_entry(page) + (USER if mode == 0 else 0)}", f"ld {_free(rng)}, 0(x9)"]
    if rng.random() < 0.6:
        lines += [f"li x8, {entry}", "sfence.vma", "sd x8, 0(x9)", "sfence.vma"]
    lines += [f"li x10, {WINDOW_DATA + page * 0x1000 + 64:#x}"]
    lines += [rng.choice(("ld x6, 0(x10)", "sd x7, 0(x10)", "jr x10"))]
    return lines


def fences(rng: random.Random, mode: int) -> Lines:
    """Fences of every kind, and TVM."""
    kinds = ("fence", "fence.i", "pause", "sfence.vma", "sfence.vma x10, x0", "sfence.vma x0, x11",
             "sfence.vma x10, x11", ".word 0x8330000f")  # fmt: skip
    return [rng.choice(kinds), f"csrr {_free(rng)}, satp"]


def protection(rng: random.Random, mode: int) -> Lines:
    """PMP entries around one page of data, of every kind, locked at times; then an access."""
    at = DATA + rng.randrange(8) * 0x1000
    kind, entry = rng.choice((0, 1, 2, 3, 3)), rng.randrange(1, 5)
    size = rng.choice((8, 16, 64, 4096))
    address = (at | (size - 1 >> 1)) >> 2 if kind == 3 else at + rng.choice((0, 4, 64, 4096)) >> 2
    config = rng.randrange(8) | kind << 3 | rng.choice((0, 0, 0, 0x80, 0x20, 0x40))
    lines = [f"li x9, {address}", f"csrw pmpaddr{entry}, x9", f"csrr {_free(rng)}, pmpaddr{entry}"]
    lines += [f"li x8, {config << 8 * entry}", "csrs pmpcfg0, x8", "sfence.vma"]
    lines += [
        f"li x10, {at + rng.choice((0, 2, 4, 60))}",
        rng.choice(("ld x6, 0(x10)", "sw x7, 0(x10)")),
    ]
    return lines


def protection_registers(rng: random.Random, mode: int) -> Lines:
    """What the PMP's registers keep of what is written to them."""
    name = rng.choice(_PMP)
    if name.startswith("pmpcfg"):
        name = "pmpcfg2"
    lines = [f"li x9, {operands.integer(rng) & ~(0x8080808080808080 if rng.random() < 0.9 else 0)}"]
    if name == "pmpaddr7":
        return integers(rng, mode)
    return [*lines, f"csrw {name}, x9", "sfence.vma", f"csrr {_free(rng)}, {name}"]


def _counted(rng: random.Random, body: Lines, start: Lines | None = None) -> Lines:
    """`start`, then `body` some times."""
    count = rng.choice((2, 3, 5, 9, 17, 30))
    return [
        *(start or []),
        f"li x20, {count}",
        "again:",
        *body,
        "addi x20, x20, -1",
        "bnez x20, again",
    ]


def loops(rng: random.Random, mode: int) -> Lines:
    """Counted loops of anything that is no system instruction, with a branch that goes either way
    and with pointers that wander at times, from page to page."""
    kinds = (operands.INTEGER, operands.INTEGER, operands.FLOAT, _PLAIN)
    body = [instruction(rng, rng.choice(rng.choice(kinds))) for _ in range(rng.randint(1, 6))]
    start = []
    if rng.random() < 0.5:
        start = [f"li x10, {_address(rng, mode)}", "mv x2, x10", "addi x11, x10, 64"]
        body.append(f"addi x10, x10, {rng.choice((8, -8, 7, 120, 1016))}")
    if rng.random() < 0.4:
        body += [
            f"andi x9, x20, {rng.choice((1, 2, 4))}",
            "beqz x9, over",
            "addi x6, x6, 3",
            "over:",
        ]
    return _counted(rng, body, start)


def rounding_loops(rng: random.Random, mode: int) -> Lines:
    """Loops in which the rounding mode or the flags change, or are looked at."""
    body = [instruction(rng, rng.choice(operands.FLOAT)) for _ in range(rng.randint(1, 4))]
    kinds = ("csrr x7, fflags", "fsflags x7, x0", "frcsr x7", "fsrm x20", "csrwi frm, 3",
             "csrsi frm, 1", "csrwi fflags, 0", "csrci frm, 7")  # fmt: skip
    body.insert(rng.randrange(len(body) + 1), rng.choice(kinds))
    if rng.random() < 0.5:
        body.append("xor x8, x8, x7")
    return _counted(rng, body)


def reservation_loops(rng: random.Random, mode: int) -> Lines:
    """Atomic additions by LR and SC, at an address that may not be accessed at times."""
    size = rng.choice("wd")
    body = [f"lr.{size} x6, (x10)", f"add x7, x6, {_any(rng)}", f"sc.{size} x12, x7, (x10)"]
    body.append("bnez x12, again")
    return _counted(rng, body, [f"li x10, {_address(rng, mode)}", "andi x10, x10, -8"])


def changing_code(rng: random.Random, mode: int) -> Lines:
    """A loop that exchanges two of its instructions, with FENCE.I."""
    first, second = (
        f"{rng.choice(('addi', 'xori', 'slli'))} x7, x7, {rng.randrange(1, 63)}" for _ in "12"
    )
    body = ["one:", first, "two:", second, "lw x6, 0(x9)", "lw x8, 0(x13)", "sw x8, 0(x9)"]
    body += ["sw x6, 0(x13)", "fence.i"]
    return _counted(rng, body, ["la x9, one", "la x13, two"])


def changing_pages(rng: random.Random, mode: int) -> Lines:
    """A loop that shows one page and another at the same address, or one with other rights, with
    SFENCE.VMA; user mode cannot."""
    if mode == 0:
        return page_table(rng, mode)
    page = rng.randrange(8)
    start = [
        f"li x9, {window_entry(page)}",
        f"li x10, {WINDOW_DATA + page * 0x1000 + 0x100:#x}",
        "ld x6, 0(x9)",
        "sfence.vma",
    ]
    bit = rng.choice((0x400, 0x400, 2, 4, 8, 16))
    fence = rng.choice(("sfence.vma", "sfence.vma x10, x0"))
    access = rng.choice(("lw x7, 0(x10)", "sw x20, 4(x10)", "amoadd.w x7, x20, (x10)"))
    body = [f"xori x6, x6, {bit}", "sd x6, 0(x9)", fence, access]
    return _counted(rng, body, start)


Piece = Callable[[random.Random, int], Lines]
PIECES: tuple[Piece, ...] = (
    integers, floats, memory, memory, atomics, csr, csr, absent, status, status, interrupts,
    waiting, delegation, exceptions, hop, hop, returns, jumps, words, words, page_table, fences,
    protection, protection_registers, loops, loops, loops, loops, rounding_loops, rounding_loops,
    reservation_loops, changing_code, changing_pages,
)  # fmt: skip
