"""A hart with a little RAM, and programs in assembly for it."""

from __future__ import annotations

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.reference import ReferenceEngine
from emu.isa.assemble import assemble_line
from emu.isa.csrs import BY_NAME
from emu.isa.registers import NUMBERS
from emu.memory import Memory

BASE = 0x8000_0000
SIZE = 0x40_0000
HANDLER = BASE + 0x1000
"""Where traps go unless a test says otherwise."""


class Board:
    """RAM, a hart, and the reference engine; `x` by register name, CSRs by name."""

    def __init__(self) -> None:
        self.memory = Memory(BASE, SIZE)
        self.hart = Hart(Bus(self.memory), self.memory)
        self.engine = ReferenceEngine(self.hart)
        self.hart.reset(BASE)
        self["mtvec"] = HANDLER

    def program(self, text: str, at: int = BASE) -> None:
        """Assemble lines (or `;`-separated instructions) at an address and go there."""
        pc = at
        for line in text.replace(";", "\n").splitlines():
            if line.strip():
                code = assemble_line(line, pc)
                self.memory.view(pc, len(code))[:] = code
                pc += len(code)
        self.hart.fence_i()
        self.hart.state.pc = at

    def run(self, text: str, steps: int | None = None) -> Board:
        """Put a program at the start of RAM and execute it, `steps` instructions or one a line."""
        self.program(text)
        lines = [line for line in text.replace(";", "\n").splitlines() if line.strip()]
        for _ in range(steps if steps is not None else len(lines)):
            self.engine.step()
        return self

    def word(self, address: int, value: int) -> None:
        """Store a doubleword in RAM."""
        self.memory.write(address, 8, value)

    def x(self, name: str) -> int:
        """An integer register."""
        return self.hart.state.x[NUMBERS["x"][name]]

    def set(self, **registers: int) -> Board:
        """Set integer registers."""
        for name, value in registers.items():
            self.hart.state.x[NUMBERS["x"][name]] = value & (1 << 64) - 1
        return self

    def __getitem__(self, csr: str) -> int:
        return self.hart.csr_read(BY_NAME[csr].number)

    def __setitem__(self, csr: str, value: int) -> None:
        self.hart.csr_write(BY_NAME[csr].number, value)

    def open_memory(self) -> None:
        """Let the lower modes reach all memory: one PMP entry for everything."""
        self["pmpaddr0"] = (1 << 54) - 1
        self["pmpcfg0"] = 0x1F

    def enter(self, priv: int) -> None:
        """Continue in another mode."""
        self.hart.state.priv = priv
        self.hart.regime_changed()
