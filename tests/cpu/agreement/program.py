"""A program to compare engines on, as text that can be shrunk: one instruction, label or directive
a line.

Lines are what the assembler of the instruction table takes, and besides: `name:` for a label; `la
reg, label` (always `auipc` and `addi`, so that it stays within the virtual alias it runs in);
`.half` and `.word` with a value; `.pc label`, the label's virtual address as a doubleword; `.align`
to 8 bytes; `.page` to 16 bytes before the end of a page; what is skipped is filled with returns. A
target such as `loop+2` is the middle of an instruction. `SYMBOLS` gives the names of places, which
differ from mode to mode.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

from emu.errors import AiosError
from emu.isa.assemble import assemble_line
from emu.isa.disassemble import disassemble

PAGED = ("supervisor", "user")
MODES = ("machine", "bare", *PAGED)
"""Where a program runs: M-mode; S-mode without page tables; S- and U-mode on page tables."""

BASE, SIZE = 0x8000_0000, 0x8_0000
CODE, DATA, AREA = BASE + 0x1_0000, BASE + 0x2_0000, 0x8000
DEVICE = 0x1000_0000
WINDOW = 0x4000_0000
"""Physical places; and where page tables of 4 KiB pages show code, data and device again."""

FILLER = 0x8082
"""`ret`: who runs into what is no program goes back to where it came from, or is lost."""

_PAGE = 4096


def symbols(mode: str) -> dict[str, int]:
    """The names of places as a program in that mode sees them."""
    paged = mode in PAGED
    base = WINDOW if paged else BASE
    names = {"CODE": base + 0x1_0000, "DATA": base + 0x2_0000}
    names["DATA2"] = base + 0x6_0000 if paged else DATA
    names["DEVICE"] = WINDOW + 0x3_0000 if paged else DEVICE
    names["END"] = base + 0x2_8000 if paged else BASE + SIZE
    names["NOWHERE"] = 0x6000_0000
    return names


@dataclass(frozen=True)
class Program:
    """Text, and what the hart holds before it runs. `offset` is where in the code area it starts;
    data is `seed` over and over; exceptions and interrupts in `delegated` (bits of medeleg and of
    mideleg) go to the supervisor."""

    lines: tuple[str, ...]
    mode: str
    offset: int
    x: tuple[int, ...]
    f: tuple[int, ...]
    seed: bytes
    delegated: tuple[int, int] = (0, 0)
    vectored: bool = False
    guarded: bool = False
    """Whether a PMP entry takes the right to write from one page of data."""

    @property
    def start(self) -> int:
        """The virtual address of the first instruction."""
        return symbols(self.mode)["CODE"] + self.offset

    def code(self) -> bytes:
        """The bytes from `start` on; AiosError when a line cannot be assembled."""
        known = symbols(self.mode)
        return assemble(self.lines, self.start, known, AREA - self.offset)


def _directive(line: str, pc: int, known: dict[str, int]) -> bytes:
    """The bytes of a line that is no instruction."""
    name, _, rest = line.partition(" ")
    if name == ".half":
        return int(rest, 0).to_bytes(2, "little")
    if name == ".word":
        return int(rest, 0).to_bytes(4, "little")
    if name == ".pc":
        return struct.pack("<Q", known[rest])
    until = {".align": -pc % 8, ".page": (-16 - pc) % _PAGE}[name]
    return struct.pack("<H", FILLER) * (until // 2)


def _one(line: str, pc: int, known: dict[str, int]) -> bytes:
    if line.startswith("."):
        return _directive(line, pc, known)
    if line.startswith("la "):
        register, target = (part.strip() for part in line[3:].split(","))
        label, _, more = target.partition("+")
        distance = known[label] + int(more or 0) - pc
        low = (distance + 2048) % 4096 - 2048
        upper = assemble_line(f"auipc {register}, {distance - low >> 12 & 0xFFFFF:#x}")
        return upper + assemble_line(f"addi {register}, {register}, {low}")
    return assemble_line(line, pc, known)


@cache
def _fixed(line: str) -> bytes | None:
    """The bytes of a line that are the same wherever it stands, if it is such a one."""
    try:
        return None if line.startswith((".pc", ".a", ".pa", "la ")) else _one(line, 0, {})
    except (AiosError, KeyError):
        return None


def assemble(lines: tuple[str, ...], at: int, places: dict[str, int], most: int) -> bytes:
    """Bytes of a text placed at `at`. Sizes do not depend on labels, so two passes do; in the first
    one a label that is yet to come is where it is asked for."""
    known = dict(places)
    starts: list[tuple[int, str]] = []
    pc = at
    for line in lines:
        if line.endswith(":"):
            known[line[:-1]] = pc
            continue
        starts.append((pc, line))
        pc += _length(line, pc, known)
    if pc - at > most:
        raise AiosError(f"The program of {pc - at} bytes does not fit {most}.")
    try:
        return b"".join(_fixed(line) or _one(line, pc, known) for pc, line in starts)
    except KeyError as missing:
        raise AiosError(f"There is no label {missing}.") from None


def _length(line: str, pc: int, known: dict[str, int]) -> int:
    fixed = _fixed(line)
    if fixed is not None:
        return len(fixed)
    if line.startswith("la "):
        return 8
    if line.startswith(".pc"):
        return 8
    if line.startswith("."):
        return len(_one(line, pc, known))
    if line.startswith("li "):
        return len(assemble_line(line, pc, known))
    return 2 if line.startswith("c.") else 4


def text_of(word: int) -> str:
    """A line that assembles to these bits: the instruction's text where that says it all."""
    size = 4 if word & 3 == 3 else 2
    text = disassemble(word)
    try:
        if assemble_line(text) == word.to_bytes(size, "little"):
            return text
    except AiosError:
        pass
    return f".word {word:#x}" if size == 4 else f".half {word:#x}"
