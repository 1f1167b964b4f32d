"""A small program and AIos itself under the debugger, driven as a script drives it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from emu import board
from emu.machine import Machine
from toolchain.asm import assemble
from toolchain.debug.console import ScriptConsole
from toolchain.debug.dwarf import read_program
from toolchain.debug.repl import Repl
from toolchain.debug.session import Session
from toolchain.image import default_image
from toolchain.kern.compile import compile, read_source
from toolchain.link import link

HERE = Path(__file__).parent
SOURCE = HERE / "program.kern"


def line_of(name: str) -> int:
    """The line of program.kern that is marked `here: name`."""
    lines = SOURCE.read_text().splitlines()
    return next(i for i, text in enumerate(lines, 1) if text.endswith(f"here: {name}"))


@dataclass
class Debugger:
    """A session whose output is kept; `do` gives what commands print."""

    session: Session
    repl: Repl
    output: io.StringIO

    def do(self, *commands: str) -> str:
        """Carry out command lines; what they and the guest wrote."""
        start = len(self.output.getvalue())
        for line in commands:
            self.repl.execute(line)
        return self.output.getvalue()[start:]


Open = Callable[..., Debugger]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """program.kern as an executable, unoptimised."""
    path = tmp_path_factory.mktemp("debug") / "program.elf"
    start = assemble((HERE / "start.s").read_text(), str(HERE / "start.s"))
    path.write_bytes(link([start, compile([read_source(SOURCE)], root="program", opt=0)]))
    return path


@pytest.fixture(scope="session")
def aios() -> Path:
    """AIos as `aios debug` builds it."""
    return default_image(opt=0)


@pytest.fixture
def open_debugger() -> Iterator[Open]:
    """Opens debuggers that stand at their program's first instruction."""
    machines: list[Machine] = []

    def start(path: Path, harts: int = 1) -> Debugger:
        output = io.StringIO()
        edge = board.load("edge")
        edge = replace(edge, cpu=replace(edge.cpu, harts=harts))
        machine = Machine(edge, kernel=path.read_bytes(), console=ScriptConsole(output))
        machines.append(machine)
        session = Session(
            machine,
            read_program(path.read_bytes(), str(path)),
            lambda text: print(text, file=output),
        )
        debugger = Debugger(session, Repl(session), output)
        debugger.repl.start()
        return debugger

    yield start
    for machine in machines:
        machine.close()


@pytest.fixture
def debugger(open_debugger: Open, program: Path) -> Debugger:
    """The small program at its first instruction."""
    return open_debugger(program)
