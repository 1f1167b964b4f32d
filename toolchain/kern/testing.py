"""Running the `test` blocks of Kern programs on the machine.

The tests are linked with a small machine-mode program (`runtime/testing.s`) that calls one after
the other and reports on the UART; a test that panics or traps fails and the next one starts. So
one run of the machine does all the tests of a program.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from emu.errors import AiosError
from toolchain.kern.compile import analyse, emit
from toolchain.kern.diagnostics import Source

_PC = re.compile(r"at pc ([0-9a-f]+)")

_RUNTIME = Path(__file__).parent / "runtime" / "testing.s"

Runner = Callable[[bytes], str]
"""Runs an executable to its end and gives what it wrote to the UART."""


@dataclass(frozen=True)
class TestResult:
    """How one test ended. `message` is why it failed, `output` what it printed."""

    __test__ = False  # it is no test class of pytest

    name: str
    file: str
    line: int
    passed: bool
    message: str
    output: str


@dataclass(frozen=True)
class TestImage:
    """An executable that runs tests, and the tests in their order: (name, file, line)."""

    __test__ = False

    executable: bytes
    tests: tuple[tuple[str, str, int], ...]


def build(sources: Sequence[Source], objects: Sequence[bytes] = (), *, opt: int = 2) -> TestImage:
    """The test program of the given modules; `objects` are linked in (assembly they call).

    Raises KernErrors for a wrong program, AiosError when it has no tests.
    """
    from toolchain.asm import assemble
    from toolchain.link import link

    program = analyse(sources, root="", tests=True)
    wanted = {source.file for source in sources}
    tests = tuple((t.name, t.place.file, t.place.line) for t in program.tests)
    if not any(file in wanted for _, file, _ in tests):
        raise AiosError(f"{', '.join(sorted(wanted))}: there is no test in these files.")
    runtime = assemble(_RUNTIME.read_text(encoding="utf-8"), "testing.s")
    code = emit(program, opt=opt, tests=True)
    return TestImage(link([runtime, code, *objects]), tests)


def run(image: TestImage, runner: Runner) -> list[TestResult]:
    """Runs the tests; those that an early end of the machine left out have failed."""
    results: list[TestResult] = []
    output = ""
    for piece in runner(image.executable).replace("\r\n", "\n").split("\n"):
        before, mark, report = piece.partition("\x01")
        output += before if mark else before + "\n"
        if mark:
            outcome, number, message = report.split(" ", 2)
            name, file, line = image.tests[int(number)]
            passed = outcome == "passed"
            message = _PC.sub(lambda match: _place_of(image.executable, match), message)
            results.append(TestResult(name, file, line, passed, message, output))
            output = ""
    for name, file, line in image.tests[len(results) :]:
        message = "the machine stopped before this test ended"
        results.append(TestResult(name, file, line, False, message, output))
    return results


def _place_of(executable: bytes, match: re.Match[str]) -> str:
    """ "at pc 80001270" with the source line of that address, when it has one."""
    from elftools.elf.elffile import ELFFile

    pc = int(match[1], 16)
    dwarf = ELFFile(io.BytesIO(executable)).get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program = dwarf.line_program_for_CU(unit)
        if program is None:
            continue
        states = [entry.state for entry in program.get_entries() if entry.state]
        for state, following in pairwise(states):
            if state.address <= pc < following.address and not state.end_sequence:
                file = program["file_entry"][state.file - 1].name.decode()
                return f"{match[0]} ({file}:{state.line})"
    return match[0]
