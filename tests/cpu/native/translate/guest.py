"""Guest code for translations: images of it without a hart, and programs on two engines at once.

Programs are texts as in `tests.cpu.agreement.program`, and run on the little machine of
`tests.cpu.agreement.world`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.native.translate.image import Image, Page
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import PAGE_SIZE
from emu.isa.decode import decode
from tests.cpu.agreement.program import DATA, Program, assemble
from tests.cpu.agreement.world import Stop, World

AT = 0x8000_0000

ENDLESS = 600
"""Instructions after which an eager engine has translated any loop that it is in."""


def image(lines: Sequence[str], at: int = AT, cold: Iterable[int] = ()) -> Image:
    """The image of a text at `at` of which all has run but what stands at `cold`."""
    code = assemble(tuple(lines), at, {}, 1 << 20)
    first = at & -PAGE_SIZE
    whole = bytes(at - first) + code
    whole += bytes(-len(whole) % PAGE_SIZE)
    executed = bytearray(len(whole) // 2)
    pc = at
    while pc < at + len(code):
        executed[pc - first >> 1] = pc not in cold
        pc += 4 if code[pc - at] & 3 == 3 else 2
    half = PAGE_SIZE // 2
    return Image(
        {
            first + n * PAGE_SIZE: Page(
                whole[n * PAGE_SIZE : (n + 1) * PAGE_SIZE],
                bytes(executed[n * half : (n + 1) * half]),
            )
            for n in range(len(whole) // PAGE_SIZE)
        }
    )


def instruction_at(code: Image, pc: int) -> int:
    """The bits of the instruction at an address."""
    word = int.from_bytes(code.bytes_at(pc, 2), "little")
    if word & 3 == 3:
        word = int.from_bytes(code.bytes_at(pc, 4), "little")
    assert decode(word) is not None
    return word


def program(*lines: str, mode: str = "machine", offset: int = 0) -> Program:
    """A program of these lines; registers hold small numbers, x10 and x11 addresses of data."""
    text = [part for line in lines for part in split(line)]
    x = [0, *range(1, 32)]
    x[10], x[11] = DATA + 0x1000, DATA + 0x2000
    f = tuple(0x3FF0_0000_0000_0000 + (n << 44) for n in range(32))
    return Program(tuple(text), mode, offset, tuple(x), f, bytes(range(1, 65)))


def split(text: str) -> list[str]:
    """Lines of a text in which `;` parts them, too."""
    return [line.strip() for line in text.replace("\n", ";").split(";") if line.strip()]


class Pair:
    """A program on the reference engine and on one that translates; `go` runs both."""

    def __init__(
        self, code: Program, factory: Callable[[Hart], NativeEngine] | None = None
    ) -> None:
        self.code = code
        self.expected = World(ReferenceEngine)
        self.seen = World(factory or (lambda hart: NativeEngine(hart, translate="eager")))
        self.start()

    def start(self, **changes: object) -> None:
        """Begin anew; the engine keeps what it has learnt."""
        self.code = replace(self.code, **changes)  # type: ignore[arg-type]
        for world in (self.expected, self.seen):
            world.start(self.code)

    def both(self, action: Callable[[Hart], object]) -> None:
        """Do something to both harts."""
        for world in (self.expected, self.seen):
            action(world.hart)

    def set(self, register: int, value: int) -> None:
        """Give a register a value."""
        self.both(lambda hart: hart.state.x.__setitem__(register, value))

    def put(self, paddr: int, data: bytes) -> None:
        """Write into both memories, as a device does."""
        self.both(lambda hart: hart.memory.view(paddr, len(data)).__setitem__(slice(None), data))

    def stop_at(self, *breakpoints: int) -> None:
        """Have these breakpoints and no others."""
        for world in (self.expected, self.seen):
            world.hart.breakpoints = set(breakpoints)

    def go(self, budget: int, lines: int = 0) -> str:
        """Run both, compare all that a guest could tell; what the engines said."""
        stop = Stop(lines, budget)
        reason = self.expected.go(stop)
        assert self.seen.go(stop) == reason
        left, right = self.expected.registers(), self.seen.registers()
        assert {name: right[name] for name in left if left[name] != right[name]} == {
            name: left[name] for name in left if left[name] != right[name]
        }
        assert self.expected.memory() == self.seen.memory()
        return reason

    def until(self, pc: int) -> None:
        """Run both up to the instruction at `pc`."""
        count = 0
        while not count or self.expected.hart.state.pc != pc:
            self.expected.go(Stop(0, 1))
            count += 1
        self.seen.go(Stop(0, count))
        self.go(0)

    def translated(self, budget: int) -> int:
        """How many of the next `budget` instructions were executed by translations."""
        before = self.seen.hart.state.translated
        self.go(budget)
        return self.seen.hart.state.translated - before

    def share(self, budget: int) -> float:
        """Which part of the next `budget` instructions was executed by translations."""
        return self.translated(budget) / budget

    def warm(self) -> None:
        """Run until translations must have been made."""
        self.go(ENDLESS)
