"""One debugging session: the machine, the program in it, breakpoints, and where the user looks.

Commands work on a `Session`; moving the machine is in `control`. After every move `stopped` makes
what was derived from the registers (frames) anew and selects the innermost frame.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from emu.cpu.hart import Hart
from emu.isa.csrs import BY_NAME
from emu.isa.registers import NUMBERS
from emu.machine import ExitStatus, Machine
from toolchain.debug import types
from toolchain.debug.console import DebugTerminal
from toolchain.debug.dwarf import Function, Program, Variable
from toolchain.debug.errors import DebugError
from toolchain.debug.frames import Frame, Unwinder
from toolchain.debug.location import locate
from toolchain.debug.memory import GuestMemory
from toolchain.debug.sources import Sources
from toolchain.debug.values import Formatter, Value, integer


@dataclass
class Breakpoint:
    """The machine stops in front of `address`; a `temporary` one goes when it was hit."""

    number: int
    address: int
    temporary: bool = False
    hits: int = 0


class Session:
    """What all commands work on. `say` prints a line for the user."""

    def __init__(
        self,
        machine: Machine,
        program: Program,
        say: Callable[[str], None],
        folders: tuple[Path, ...] = (),
    ) -> None:
        self.machine, self.program, self.say = machine, program, say
        self.hart: Hart = machine.hart
        """The hart that the user looks at and steps."""
        self.memory = GuestMemory(machine, lambda: self.hart)
        self.unwinder = Unwinder(program, self.memory)
        self.sources = Sources(folders)
        self.breakpoints: dict[int, Breakpoint] = {}
        self.displays: dict[int, str] = {}
        self.ended: ExitStatus | None = None
        self.interrupted = False
        self.listed: tuple[str, int] | None = None
        """Where `list` goes on: a file and a line."""
        self.leaving = False
        self.examine_next = 0
        """Where `x` goes on."""
        self._numbers = 0
        self._frames: list[Frame] = []
        self.selected = 0
        self._names = dict(reversed(program.symbols))

    # ── Where the machine is ─────────────────────────────────────────────────────────────────

    @property
    def pc(self) -> int:
        """The address of the next instruction."""
        return self.hart.state.pc

    def innermost(self) -> Frame:
        """The frame of the code at pc."""
        state = self.hart.state
        return self.unwinder.innermost(state.pc, state.x)

    @property
    def frames(self) -> list[Frame]:
        """All calls in progress."""
        if not self._frames:
            state = self.hart.state
            self._frames = self.unwinder.frames(state.pc, state.x)
        return self._frames

    @property
    def frame(self) -> Frame:
        """The frame that names and registers refer to."""
        return self.frames[self.selected]

    def stopped(self) -> None:
        """The machine has moved: forget what was derived from its state."""
        self._frames, self.selected = [], 0
        self.listed = None

    def select_hart(self, hart: Hart) -> None:
        """Look at another hart."""
        self.hart = hart
        self.stopped()

    def changed(self) -> None:
        """A register or memory was set: the frames may be others, the user's place stays."""
        self._frames = []
        self.selected = min(self.selected, len(self.frames) - 1)

    def interrupt(self) -> None:
        """Ctrl-C: stop the guest soon, even if it waits for a key."""
        self.interrupted = True
        self.machine.stop(ExitStatus(0, "Interrupted."))
        if isinstance(self.machine.console, DebugTerminal):
            self.machine.console.interrupted = True

    def alive(self) -> None:
        """DebugError when the run is over."""
        if self.ended is not None:
            raise DebugError("The run has ended; leave with 'quit'.")

    # ── Breakpoints ──────────────────────────────────────────────────────────────────────────

    def add_breakpoint(self, address: int, *, temporary: bool = False) -> Breakpoint:
        """A new breakpoint; the first instruction of one line may have several."""
        self._numbers += 1
        made = Breakpoint(self._numbers, address, temporary)
        self.breakpoints[made.number] = made
        return made

    def hits(self) -> list[Breakpoint]:
        """The breakpoints at pc, counted as hit; temporary ones are removed."""
        here = [b for b in self.breakpoints.values() if b.address == self.pc]
        for breakpoint_ in here:
            breakpoint_.hits += 1
            if breakpoint_.temporary:
                del self.breakpoints[breakpoint_.number]
        return here

    # ── Names ────────────────────────────────────────────────────────────────────────────────

    def name_of(self, address: int) -> str | None:
        """The function or symbol exactly at `address`."""
        function = self.unwinder.function_at(address)
        if function is not None and function.low == address:
            return function.name
        return self._names.get(address)

    def describe(self, address: int) -> str:
        """An address with the function it is in: `0x80000010 <_start+16>`."""
        function = self.unwinder.function_at(address)
        if function is None:
            return f"{address:#x}"
        offset = address - function.low
        return f"{address:#x} <{function.name}{f'+{offset}' if offset else ''}>"

    def functions_named(self, name: str) -> list[Function]:
        """The functions called `name`: qualified, exported, or bare. An instance of a generic
        function, `f(array[str, 3])`, is called `f` as well."""
        functions = self.program.functions
        exact = [f for f in functions if name in (f.name, f.plain_name, f"{f.module}.{f.name}")]
        return exact or [f for f in functions if f.plain_name.rpartition(".")[2] == name]

    def function(self, name: str) -> Function:
        """The one function called `name`; DebugError when there is none or several."""
        found = self.functions_named(name)
        if not found:
            raise DebugError(f"There is no function '{name}'.")
        if len(found) > 1:
            names = ", ".join(sorted(f.name for f in found)[:6])
            raise DebugError(f"There are several functions '{name}': {names}.")
        return found[0]

    def body(self, function: Function) -> int:
        """Where to stop in `function`, so that its arguments can be printed."""
        if function.block is None:
            return function.low
        parameters = bool(function.parameters)
        return self.program.lines.body(function.low, function.high, parameters=parameters)

    def variable(self, name: str) -> Value | None:
        """The variable called `name` that the selected frame sees, or None."""
        for variable in self.locals():
            if variable.name == name:
                return locate(variable, self.frame, self.memory)
        found = self._global(name)
        return locate(found, self.frame, self.memory) if found else None

    def locals(self) -> list[Variable]:
        """The variables of the selected frame, innermost first."""
        frame = self.frame
        block = frame.function.block if frame.function else None
        return block.visible(frame.lookup_pc) if block else []

    def _global(self, name: str) -> Variable | None:
        module, _, bare = name.rpartition(".")
        found = [v for v in self.program.variables if v.name == bare]
        if module:
            return next((v for v in found if v.module == module), None)
        here = self.frame.function.module if self.frame.function else ""
        own = [v for v in found if v.module == here]
        if not own and len(found) > 1:
            modules = ", ".join(f"{v.module}.{name}" for v in found[:6])
            raise DebugError(f"There are several variables '{name}': {modules}.")
        return next(iter(own or found), None)

    # ── Registers ────────────────────────────────────────────────────────────────────────────

    def register(self, name: str) -> Value:
        """A register of the selected frame ($sp, $pc), of the FPU, or a CSR."""
        state = self.hart.state
        if name == "pc":
            return Value(types.ADDRESS, None, integer(self.frame.pc).data, name)
        if name in NUMBERS["x"]:
            raw = self.frame.x[NUMBERS["x"][name]]
            return Value(types.INT, None, integer(raw).data, name)
        if name in NUMBERS["f"]:
            return Value(types.F64, None, integer(state.f[NUMBERS["f"][name]]).data, name)
        if name in BY_NAME:
            raw = self.hart.csr_read(BY_NAME[name].number)
            return Value(types.U64, None, integer(raw, types.U64).data, name)
        raise DebugError(f"There is no register '{name}'.")

    def set_register(self, name: str, data: bytes) -> None:
        """Give a register of the selected hart a value (8 bytes)."""
        hart, raw = self.hart, int.from_bytes(data, "little")
        if self.selected:
            raise DebugError("Registers can be set in frame 0 only.")
        if name == "pc":
            hart.state.pc = raw & ~1
        elif name in NUMBERS["x"]:
            if NUMBERS["x"][name]:
                hart.state.x[NUMBERS["x"][name]] = raw
        elif name in NUMBERS["f"]:
            hart.state.f[NUMBERS["f"][name]] = raw
        else:
            hart.csr_write(BY_NAME[name].number, raw)
        self.changed()

    def formatter(self, radix: str = "") -> Formatter:
        """What writes values."""
        return Formatter(self.memory, self.name_of, radix)
