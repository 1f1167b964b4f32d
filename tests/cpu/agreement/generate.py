"""Random programs with the shapes that translators get wrong.

A program is a main part that runs for ever and some functions, each a sequence of `PIECES`: nested
and irreducible loops, jump tables, calls whose return addresses are odd in every sense, code that
is jumped into between its halfwords, that changes itself, that goes on at another virtual address,
and page tables that change under it. A piece is a method that emits lines; its share is in the
table at the end. Everything comes from the generator that is passed in: a seed is a program.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from tests.cpu.agreement import operands
from tests.cpu.agreement.operands import FREE, instruction
from tests.cpu.agreement.program import MODES, PAGED, Program
from tests.cpu.agreement.world import LEAVES, ROOTS, SERVICES

_COUNTERS = {"main": (18, 19, 20), "function": (21, 22, 23)}
_BRANCHES = ("beq", "bne", "blt", "bge", "bltu", "bgeu")
_ALIASES = (0x4_0000, 0x4_0000, 0x8_0000, 0x20_0000, 0xC000_0000)
_EXCEPTIONS = (2, 3, 4, 5, 6, 7, 8, 13, 15)
_CSRS_TO_READ = (
    "cycle", "time", "instret", "fcsr", "fflags", "frm", "sstatus", "sip", "sie", "scause", "satp",
    "mstatus", "mip", "mie", "mcycle", "minstret", "mcause", "mhartid", "misa", "tcause", "0x7c0",
)  # fmt: skip
_LARGEST = 1500
_STRIDES = (1, 2, 4, 8, 8, 8, 16, 24, -8, -16, 1000, 2000)
_STRIDE_STARTS = ("DATA", "DATA+0x400", "DATA+0x7f00", "DATA2+0x1ff8", "DATA2+0x7000", "END-0x200")
"""Far enough from code, whichever way: a store there would be one without a FENCE.I."""


class Writer:
    """Emits the pieces of one program."""

    def __init__(self, rng: random.Random, mode: str, functions: int) -> None:
        self.rng, self.mode = rng, mode
        self.lines: list[str] = []
        self.functions = [f"f{i}" for i in range(functions)]
        self.links = {name: rng.choice(("x1", "x1", "x1", "x5")) for name in self.functions}
        """The register in which a function expects its return address."""
        self.part = "main"
        self.level = 0
        """Calls that need no fuel go to functions from this number on."""
        self.odd = rng.random() < 0.3
        """Whether some functions return further on than they should."""
        self._labels = 0
        self._loops = 0
        self._depth = 0

    def emit(self, *lines: str) -> None:
        """Add lines, `;` between them or not."""
        for line in lines:
            self.lines += [part.strip() for part in line.split(";")]

    def label(self) -> str:
        """A new name."""
        self._labels += 1
        return f"L{self._labels}"

    def free(self) -> str:
        """A register that may be written."""
        return f"x{self.rng.choice(FREE)}"

    def any(self) -> str:
        """Any register."""
        return f"x{self.rng.randrange(32)}"

    def body(self, most: int, least: int = 1) -> None:
        """From `least` to `most` pieces; deep within other pieces, simple ones."""
        self._depth += 1
        for _ in range(self.rng.randint(least, most)):
            pieces, weights = (_SIMPLE, _SIMPLE_WEIGHTS) if self._depth > 4 else (_ALL, _WEIGHTS)
            if len(self.lines) < _LARGEST:
                self.rng.choices(pieces, weights)[0](self)
        self._depth -= 1

    def branch(self, target: str) -> str:
        """A conditional branch that goes either way."""
        if self.rng.random() < 0.3:
            bit = f"andi x29, {self.any()}, {1 << self.rng.randrange(4)}"
            return f"{bit} ; {self.rng.choice(('beqz', 'bnez'))} x29, {target}"
        return f"{self.rng.choice(_BRANCHES)} {self.any()}, {self.any()}, {target}"

    # --- straight code --------------------------------------------------------------------------

    def integers(self) -> None:
        """Integer instructions."""
        for _ in range(self.rng.randint(1, 5)):
            self.emit(instruction(self.rng, self.rng.choice(operands.INTEGER)))

    def floats(self) -> None:
        """Floating-point instructions, and the rounding mode now and then."""
        if self.rng.random() < 0.1:
            self.emit(f"csrwi frm, {self.rng.choice((0, 0, 1, 2, 3, 4, 5))}")
        for _ in range(self.rng.randint(1, 4)):
            self.emit(instruction(self.rng, self.rng.choice(operands.FLOAT)))

    def memory(self) -> None:
        """Loads and stores at any alignment, also over the ends of pages."""
        for _ in range(self.rng.randint(1, 3)):
            self.emit(instruction(self.rng, self.rng.choice(operands.MEMORY)))

    def atomics(self) -> None:
        """Atomic instructions, mostly aligned."""
        if self.rng.random() < 0.5:
            size = self.rng.choice("wd")
            retry = self.label()
            self.emit(f"{retry}:", f"lr.{size} x6, (x10)", f"add x7, x6, {self.any()}")
            self.emit(f"sc.{size} x7, x7, (x10)", f"bnez x7, {retry}")
        self.emit(instruction(self.rng, self.rng.choice(operands.ATOMIC)))

    def computed_address(self) -> None:
        """A walk over data by a computed address, from page to page."""
        stride = self.rng.choice((8, 64, 1016, 4096, 4100))
        name, size = self.rng.choice((("ld", 7), ("lw", 3), ("lhu", 1), ("lb", 0)))
        self.emit(f"andi x28, {self.any()}, {0x7FF & ~size}", f"li x29, {stride}")
        self.emit("add x28, x28, x29", f"add x28, x28, {self.rng.choice(('x10', 'x11'))}")
        self.emit(f"{name} {self.free()}, 0(x28)")
        if self.rng.random() < 0.6:
            self.emit(f"{self.rng.choice(('sd', 'sw', 'sb'))} {self.any()}, 0(x28)")

    # --- control flow ---------------------------------------------------------------------------

    def choice(self) -> None:
        """If, perhaps with an else."""
        other, end = self.label(), self.label()
        self.emit(self.branch(other))
        self.body(3)
        if self.rng.random() < 0.5:
            self.emit(f"j {end}")
        self.emit(f"{other}:")
        self.body(2)
        self.emit(f"{end}:")

    def loop(self) -> None:
        """A counted loop, tested at either end, with ways out of its middle and back to its top."""
        counters = _COUNTERS[self.part]
        if self._loops >= len(counters):
            return self.integers()
        counter = f"x{counters[self._loops]}"
        self._loops += 1
        top, test, end = self.label(), self.label(), self.label()
        self.emit(f"li {counter}, {self.rng.choice((1, 2, 3, 5, 9))}")
        if self.rng.random() < 0.4:
            self.emit(f"j {test}")
        self.emit(f"{top}:")
        self.body(3)
        if self.rng.random() < 0.3:
            self.emit(self.branch(self.rng.choice((test, end))))
            self.body(2)
        self.emit(f"{test}:", f"addi {counter}, {counter}, -1", f"bgtz {counter}, {top}")
        self.emit(f"{end}:")
        self._loops -= 1
        return None

    def stride(self) -> None:
        """A loop over memory by a pointer that changes in steps, up to the end of what is there."""
        rng, counters = self.rng, _COUNTERS[self.part]
        if self._loops >= len(counters):
            return self.integers()
        counter, top, rare = f"x{counters[self._loops]}", self.label(), self.label()
        start, step = rng.choice(_STRIDE_STARTS), rng.choice(_STRIDES)
        turns = min(rng.choice((3, 9, 20, 100)), 0x8000 // abs(step))
        self.emit(f"li x28, {start}", f"li {counter}, {turns}", f"{top}:")
        for _ in range(rng.randint(1, 3)):
            size, offset = rng.choice("bhwd"), rng.choice((0, 0, 8, 1, -8, 40))
            self.emit(f"l{size} {self.free()}, {offset}(x28)")
            if rng.random() < 0.6:
                self.emit(f"s{size} {self.any()}, {rng.choice((0, 8, -8, 200))}(x28)")
            if rng.random() < 0.3:
                self.emit(instruction(rng, rng.choice(operands.INTEGER)))
        if rng.random() < 0.3:
            self.emit(self.branch(rare), "addi x28, x28, 0", f"{rare}:")
        self.emit(f"addi x28, x28, {step}", f"addi {counter}, {counter}, -1")
        self.emit(f"bgtz {counter}, {top}")
        return None

    def irreducible(self) -> None:
        """A loop with two entries."""
        counters = _COUNTERS[self.part]
        if self._loops >= len(counters):
            return self.integers()
        counter = f"x{counters[self._loops]}"
        self._loops += 1
        one, two = self.label(), self.label()
        self.emit(f"li {counter}, {self.rng.randint(1, 4)}", self.branch(two), f"{one}:")
        self.body(2)
        self.emit(f"{two}:")
        self.body(2)
        self.emit(f"addi {counter}, {counter}, -1")
        if self.rng.random() < 0.5:
            self.emit(f"andi x29, {counter}, 1", f"bgtz {counter}, {two}")
        self.emit(f"bgtz {counter}, {one}")
        self._loops -= 1
        return None

    def jump_table(self) -> None:
        """An indirect jump to one of four places, by addresses or by distances."""
        cases, table, end = [self.label() for _ in range(4)], self.label(), self.label()
        self.emit(f"andi x29, {self.any()}, 3")
        if self.rng.random() < 0.5:
            self.emit(f"la x28, {table}", "sh3add x28, x29, x28", "ld x28, 0(x28)", "jr x28")
            self.emit(".align", f"{table}:", *(f".pc {case}" for case in cases))
        else:
            self.emit(f"la x28, {cases[0]}", "slli x29, x29, 3", "add x28, x28, x29")
            self.emit(f"jalr {self.rng.choice(('x0', 'x0', 'x1'))}, 0(x28)")
        for case in cases:
            self.emit(f"{case}:", f"addi {self.free()}, {self.any()}, 1", f"jal x0, {end}")
        self.emit(f"{end}:")

    def call(self) -> None:
        """A call, direct or not, linked by x1, x5 or nothing."""
        rng = self.rng
        later = self.functions[self.level :]  # a stack without end would grow into code
        if not later:
            return self.integers()
        name = rng.choice(later)
        link = self.links[name] if rng.random() < 0.95 else "x1"
        kind = rng.random()
        if kind < 0.6:
            self.emit(f"jal {link}, {name}")
        elif kind < 0.9:
            self.emit(f"la x28, {name}", f"jalr {link}, {rng.choice((0, 0, 0, 1))}(x28)")
        else:
            back = self.label()
            self.emit(f"la {link}, {back}", f"jal x0, {name}", f"{back}:")
        self.landing()
        return None

    def landing(self) -> None:
        """What functions that return further on than they should step over."""
        if self.odd:
            self.emit("c.addi x8, 1", "c.addi x9, 1")

    def recursion(self) -> None:
        """A call of itself while there is fuel."""
        end = self.label()
        self.emit("addi x24, x24, -1", f"blez x24, {end}", "addi x2, x2, -16", "sd x1, 8(x2)")
        self.emit(f"jal x1, {self.rng.choice(self.functions)}")
        self.landing()
        self.emit("ld x1, 8(x2)", "addi x2, x2, 16", f"{end}:")

    def coroutines(self) -> None:
        """Two parts that call each other's return addresses."""
        one, end = self.label(), self.label()
        self.emit(f"la x5, {one}", "jalr x1, 0(x5)", f"addi {self.free()}, x1, 3", f"j {end}")
        self.emit(f"{one}:", f"addi {self.free()}, x5, 5", "jalr x5, 0(x1)", f"{end}:")

    def overlap(self) -> None:
        """A loop that enters an instruction at its start, then at its second halfword."""
        compressed = self.rng.choice((0x0405, 0x0485, 0x8C25, 0x8082, 0x0001, 0xA009, 0x157D))
        word = compressed << 16 | self.rng.choice((0x0337, 0x0397, 0x0413))  # lui, auipc, addi
        over, end = self.label(), self.label()
        self.emit(f"andi x29, {self.any()}, 2", f"la x28, {over}", "add x28, x28, x29")
        self.emit(f"la x1, {end}", "jr x28", f"{over}:", f".word {word:#x}", f"{end}:")
        if self.rng.random() < 0.5:
            self.emit(self.branch(f"{over}+2"))

    # --- code and pages that change -------------------------------------------------------------

    def self_modifying(self) -> None:
        """An instruction replaced, from the data of another; FENCE.I follows at once."""
        place, skip = self.label(), self.label()
        new = f"addi {self.free()}, {self.any()}, {self.rng.randint(-9, 9)}"
        self.emit(f"la x28, {skip}+4", "lw x29, 0(x28)")
        self.emit(f"la x28, {place}", "sw x29, 0(x28)", "fence.i")
        self.emit(f"{skip}:", "beq x0, x0, .+8", new)
        self.emit(f"{place}:", f"addi {self.free()}, {self.any()}, {self.rng.randint(10, 19)}")

    def alias(self) -> None:
        """Go on, or call, at another virtual address of the same code."""
        if self.mode not in PAGED:
            return self.integers()
        here, distance = self.label(), self.rng.choice(_ALIASES)
        self.emit(f"la x28, {here}", f"li x29, {distance}", "xor x28, x28, x29")
        self.emit(self.rng.choice(("jr x28", "jr x28", "jalr x28")), f"{here}:")
        return None

    def address_space(self) -> None:
        """The other address space, or the same under another number; nothing is forgotten."""
        if self.mode not in PAGED:
            return self.memory()
        number, root = self.rng.choice(((5, ROOTS[0]), (6, ROOTS[1]), (7, ROOTS[0])))
        self.emit(f"li x28, {8 << 60 | number << 44 | root >> 12:#x}")
        self.emit(f"li x25, {SERVICES['space']}", "ecall")
        return None

    def page_table(self) -> None:
        """Another page table entry for a page of data or an alias of code."""
        rng = self.rng
        if self.mode not in PAGED:
            return self.memory()
        page = rng.choice((*range(0x20, 0x28), *range(0x60, 0x68), *range(0x50, 0x58), 0x30))
        if page in range(0x50, 0x58):
            target = 0x8001_0000 + (page & 7) * 0x1000
        else:
            target = 0x8002_0000 + rng.randrange(8) * 0x1000
        rights = rng.choice((0x7, 0xF, 0x3, 0xC7, 0x43, 0x9, 0x0, 0x5))
        entry = target >> 12 << 10 | rights | (16 if self.mode == "user" else 0)
        self.emit(f"li x28, {rng.choice(LEAVES) + 8 * page:#x}", f"li x29, {entry:#x}")
        self.emit(f"li x17, {0x4000_0000 + page * 0x1000:#x}")
        self.emit(f"li x25, {SERVICES[rng.choice(('edit', 'edit', 'edit-one'))]}", "ecall")
        return None

    # --- the system -----------------------------------------------------------------------------

    def control(self) -> None:
        """Control registers: counters, flags, interrupts enabled and raised; many trap."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.45:
            self.emit(f"csrr {self.free()}, {rng.choice(_CSRS_TO_READ)}")
        elif kind < 0.6:
            name = rng.choice(("fflags", "frm", "fcsr", "sscratch", "mscratch", "scause", "stval"))
            verb = rng.choice(("csrrw", "csrrs", "csrrc"))
            self.emit(f"{verb} {self.free()}, {name}, {self.any()}")
        elif kind < 0.75:
            names = ("sstatus", "mstatus") if self.mode != "user" else ("fflags",)
            verb = rng.choice(("csrsi", "csrci", "csrsi"))
            self.emit(f"{verb} {rng.choice(names)}, {rng.choice((2, 8, 10))}")
        elif kind < 0.9:
            name = rng.choice(("sip", "sie", "mip", "mie"))
            verb = rng.choice(("csrsi", "csrsi", "csrci"))
            self.emit(f"{verb} {name}, {rng.choice((2, 2, 8, 10))}")
        else:
            bits = rng.choice((1 << 13, 1 << 14, 1 << 18, 1 << 19, 3 << 18))
            name = "mstatus" if self.mode == "machine" else "sstatus"
            self.emit(f"li x29, {bits}", f"{rng.choice(('csrs', 'csrs', 'csrc'))} {name}, x29")

    def exception(self) -> None:
        """What always traps, and what waits."""
        kinds = (
            "ecall",
            "ebreak",
            "c.ebreak",
            ".word 0xffffffff",
            ".half 0",
            "wfi",
            "sret",
            "mret",
        )
        weights = (5, 3, 3, 3, 3, 1, 0.3, 0.3)
        self.emit(self.rng.choices(kinds, weights)[0])

    def fences(self) -> None:
        """Fences of every kind."""
        kinds = ("fence", "fence.i", "fence.i", "pause", "sfence.vma", "sfence.vma x10, x0")
        self.emit(self.rng.choice(kinds))

    def device(self) -> None:
        """Accesses of a device, and of nothing at all."""
        self.emit(f"li x28, {self.rng.choice(('DEVICE', 'DEVICE', 'NOWHERE'))}")
        self.emit(self.rng.choice((f"lw {self.free()}, 4(x28)", "sw x0, 8(x28)", "ld x6, 1(x28)")))

    def wild(self) -> None:
        """A jump to nowhere."""
        self.emit("li x28, NOWHERE", self.rng.choice(("jr x28", "jalr x28")))

    def function(self, name: str) -> None:
        """A function: leaf or not, and one of the ways to return."""
        rng = self.rng
        self.part, self.level = "function", self.functions.index(name) + 1
        if rng.random() < 0.3:
            self.emit(".page")
            self.emit(*["c.nop"] * rng.randrange(8))
        self.emit(f"{name}:")
        leaf = rng.random() < 0.4 or self.links[name] != "x1"
        if leaf:
            self.integers()
            self.memory()
        else:
            deep = self.label()  # functions that go on in each other may push more than they pop
            self.emit("li x28, DATA+0x800", f"bgeu x2, x28, {deep}", "li x2, DATA+0x4000")
            self.emit(f"{deep}:", "addi x2, x2, -32", "sd x1, 8(x2)")
            self.body(5, 2)
            self.emit("ld x1, 8(x2)", "addi x2, x2, 32")
        kind = rng.random()
        if self.odd and kind < 0.5:
            self.emit(f"addi x1, x1, {rng.choice((2, 4))}")
        elif kind < 0.1:
            self.emit("ori x1, x1, 1")  # which a jump takes away again
        elif kind < 0.16 and len(self.functions) > 1:
            self.emit(f"la x1, {rng.choice(self.functions)}")
        if rng.random() < 0.1:
            self.emit(f"j {rng.choice(self.functions)}")
        else:
            link = self.links[name]
            self.emit(rng.choice((f"jr {link}", f"c.jr {link}")))


Piece = Callable[[Writer], None]
_SHARES: dict[Piece, float] = {
    Writer.integers: 26, Writer.floats: 9, Writer.memory: 14, Writer.atomics: 4,
    Writer.computed_address: 6, Writer.choice: 8, Writer.loop: 9, Writer.stride: 3,
    Writer.irreducible: 3, Writer.jump_table: 3, Writer.call: 8, Writer.recursion: 2,
    Writer.coroutines: 1, Writer.overlap: 3, Writer.self_modifying: 2, Writer.control: 3,
    Writer.exception: 1.5, Writer.fences: 1, Writer.device: 1, Writer.wild: 0.2, Writer.alias: 5,
    Writer.page_table: 2, Writer.address_space: 1,
}  # fmt: skip
_ALL, _WEIGHTS = tuple(_SHARES), tuple(_SHARES.values())
_SIMPLE: tuple[Piece, ...] = (
    Writer.integers, Writer.floats, Writer.memory, Writer.computed_address, Writer.call,
)  # fmt: skip
_SIMPLE_WEIGHTS = (5, 2, 3, 1, 1)


def program(rng: random.Random, size: int = 14, mode: str | None = None) -> Program:
    """A program of up to `size` pieces in the main part, which may hold others."""
    mode = mode or rng.choice(MODES)
    writer = Writer(rng, mode, rng.randint(1, 4))
    writer.emit(
        "main:", "li x2, DATA+0x4000", f"li x10, DATA+{rng.choice((0x2FF0, 0x1008, 0x6000))}"
    )
    writer.emit(f"li x11, DATA2+{rng.choice((0x3000, 0xFF8, 0x2100, 0x5800))}", "li x24, 6")
    writer.body(size, size // 2)
    writer.emit("jal x0, main")
    for name in writer.functions:
        writer.function(name)
    exceptions = sum(1 << c for c in _EXCEPTIONS if rng.random() < 0.5)
    interrupts = sum(1 << i for i in (1, 5, 9) if rng.random() < 0.6)
    delegates = mode != "machine" and rng.random() < 0.7
    return Program(
        lines=tuple(writer.lines),
        mode=mode,
        offset=rng.choice((0, 0xE00, 0xF80, 0xFF0, 0xFFE)),
        x=(0, *(operands.integer(rng) for _ in range(31))),
        f=tuple(operands.floating(rng) for _ in range(32)),
        seed=rng.randbytes(64),
        delegated=(exceptions, interrupts) if delegates else (0, 0),
        vectored=rng.random() < 0.4,
        guarded=rng.random() < 0.2,
    )  # fmt: skip
