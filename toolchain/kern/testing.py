"""Running the `test` blocks of Kern programs on the machine.

The tests are linked with a small machine-mode program (`runtime/testing.s`) that calls one after
the other and reports on the UART; a test that panics or traps fails and the next one starts. So
one run of the machine does all the tests of a program.

Tests that launch gpu functions need the driver. Unless the files bring one, the whole kernel is
linked with them: it boots, and each test is a guarded call (`runtime/hosted.kern`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from emu.errors import AiosError
from toolchain.kern.compile import analyse, emit, read_source
from toolchain.kern.diagnostics import Source

_PC = re.compile(r"at pc (?:0x)?([0-9a-f]+)")

_RUNTIME = Path(__file__).parent / "runtime"
_LAUNCH = re.compile(r"^[^#\n]*\blaunch\s+[A-Za-z_]", re.M)

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

    hosted = _need_kernel(sources)
    kind = "hosted" if hosted else "bare"
    kernel, assembly = _kernel(sources) if hosted else ([], [_RUNTIME / "testing.s"])
    program = analyse([*kernel, *sources], root="main" if hosted else "", tests=kind)
    wanted = {source.file for source in sources}
    program = replace(program, tests=tuple(t for t in program.tests if t.place.file in wanted))
    tests = tuple((t.name, t.place.file, t.place.line) for t in program.tests)
    if not tests:
        raise AiosError(f"{', '.join(sorted(wanted))}: there is no test in these files.")
    runtime = [assemble(path.read_text(encoding="utf-8"), path.name) for path in assembly]
    code = emit(program, opt=opt, tests=kind)
    return TestImage(link([*runtime, code, *objects]), tests)


def _need_kernel(sources: Sequence[Source]) -> bool:
    """Whether a file launches gpu functions and none is the driver."""
    modules = {source.module for source in sources}
    return "gpu" not in modules and any(_LAUNCH.search(source.text) for source in sources)


def _kernel(sources: Sequence[Source]) -> tuple[list[Source], list[Path]]:
    """The kernel's modules, those apart that are being tested, and its assembly."""
    from toolchain.image import kernel_files

    given = {source.module for source in sources}
    files = kernel_files()
    modules = [read_source(path) for path in files if path.suffix == ".kern"]
    assembly = [path for path in files if path.suffix == ".s"]
    return [m for m in modules if m.module not in given], [*assembly, _RUNTIME / "hosted.s"]


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
