"""The same commands to gdb, which debugs the same image on QEMU through its stub."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debug.conftest import SOURCE, Debugger, line_of


def gdb_on_qemu(tool: Callable[[str], str], program: Path, *commands: str) -> str:
    """What gdb prints for `commands`, from the program's first instruction on."""
    qemu = (
        f"{tool('qemu-system-riscv64')} -M virt -bios none -kernel {program} -S"
        " -display none -serial null -monitor none -gdb stdio"
    )
    skip = "skip -gfile runtime/*"  # as our `step` does
    arguments = [
        w for c in (f"target remote | {qemu}", skip, *commands, "kill") for w in ("-ex", c)
    ]
    done = subprocess.run(
        [tool("gdb-multiarch"), "-nx", "-batch", *arguments, str(program)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout


def test_backtrace_names_the_same_calls(
    debugger: Debugger, program: Path, tool: Callable[[str], str]
) -> None:
    line = line_of("base")
    theirs = gdb_on_qemu(tool, program, f"b program.kern:{line} if n == 2", "continue", "bt")
    debugger.do(f"b program.kern:{line}", *["c"] * 4)
    ours = debugger.do("bt")
    frames = re.compile(r"^#(\d+) .*?([\w.]+)(?:\+\d+)? (\(.*\) )?at .*?(\w+\.\w+:\d+)$", re.M)

    def calls(text: str) -> list[tuple[str, str, str]]:
        return [(m[1], m[2], m[4]) for m in frames.finditer(text)]

    assert len(calls(ours)) == 7
    assert calls(ours) == calls(theirs)
    assert "(n=2)" in ours


def stops(text: str) -> list[int]:
    """The source lines that are shown at stops, without those of functions' heads: there gdb
    stops before parameters are stored, the debugger behind."""
    lines = SOURCE.read_text().splitlines()
    shown = [int(m[1]) for m in re.finditer(r"^(\d+)\t", text, re.M)]
    return [n for n in shown if not lines[n - 1].startswith(("fn ", "export fn"))]


@pytest.mark.parametrize("command", ["next", "step"])
def test_moves_stop_at_the_same_lines(
    debugger: Debugger, program: Path, tool: Callable[[str], str], command: str
) -> None:
    start = f"tbreak program.kern:{line_of('call')}"
    ours = stops(debugger.do(start, "c", *[command] * 40))
    theirs = stops(gdb_on_qemu(tool, program, start, "continue", *[command] * 44))
    count = min(len(ours), len(theirs))
    assert count > 3 if command == "next" else count > 30
    assert ours[:count] == theirs[:count]
