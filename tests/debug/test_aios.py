"""AIos under the debugger, and the debugger beside gdb on the same image."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.debug.conftest import Debugger, Open, line_of
from toolchain.debug.commands import table

ROOT = Path(__file__).resolve().parents[2]


def test_a_script_in_a_pipe_steps_through_the_boot(aios: Path) -> None:
    script = "b main.boot\nc\nbt\nn\ns\ninfo locals\np main.epoch_counter\nd\nc\nq\n"
    code = "import sys; from toolchain.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "debug", "--kernel", str(aios)],
        input=script, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "main.boot () at main.kern" in done.stdout
    assert "mem_manager.init (" in done.stdout
    assert "supervisor_start+" in done.stdout
    assert "AIos>" in done.stdout
    assert "The guest ended the run with code 0." in done.stdout


def test_translated_addresses_are_read(open_debugger: Open, aios: Path) -> None:
    debugger = open_debugger(aios)
    debugger.do("b hal.init", "c")
    assert debugger.do("p expected[0]") == '"GPU0"\n'
    assert debugger.do("p platform.ram.base == 0x80000000") == "true\n"
    assert "is not mapped" in debugger.do("x 0")


def gdb(tool: Callable[[str], str], image: Path, *commands: str) -> str:
    arguments = [word for command in commands for word in ("-ex", command)]
    done = subprocess.run(
        [tool("gdb-multiarch"), "-nx", "-batch", *arguments, str(image)],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("name", ["main.boot", "main.make_memory", "uart.init", "shell.poll"])
def test_functions_start_where_gdb_says(
    open_debugger: Open, aios: Path, tool: Callable[[str], str], name: str
) -> None:
    theirs = re.search(
        r"Line (\d+) .*starts at address (0x\w+)", gdb(tool, aios, f"info line {name}")
    )
    assert theirs is not None
    session = open_debugger(aios).session
    function = session.function(name)
    assert function.low == int(theirs[2], 0)
    place = session.program.lines.place_at(function.low)
    assert place is not None
    assert place.line == int(theirs[1])


def test_lines_and_symbols_are_those_of_gdb(
    debugger: Debugger, program: Path, tool: Callable[[str], str]
) -> None:
    for name in ("loop", "add", "return", "recursion", "call", "end"):
        line = line_of(name)
        theirs = re.search(r"address (0x\w+)", gdb(tool, program, f"info line program.kern:{line}"))
        assert theirs is not None
        assert f"{theirs[1]} <" in debugger.do(f"info line program.kern:{line}")
    at = debugger.session.function("program.area").low + 6
    theirs_at = gdb(tool, program, f"info symbol {at:#x}")  # it takes Kern's names for D's
    assert theirs_at.replace("[", ".").replace("]", "").startswith("program.area + 6 in section")
    assert debugger.do(f"info symbol {at:#x}") == f"{at:#x} is program.area + 6\n"


def test_types_have_the_sizes_and_offsets_of_gdb(
    debugger: Debugger, program: Path, tool: Callable[[str], str]
) -> None:
    text = debugger.do("ptype Point")
    offsets = dict(re.findall(r"(\d+) (\w+):", text))
    theirs = gdb(
        tool, program, *(f"print (long)&((struct Point*)0)->{n}" for n in offsets.values())
    )
    assert [int(t) for t in re.findall(r"= (\d+)", theirs)] == [int(o) for o in offsets]


def test_the_documented_table_is_the_commands() -> None:
    assert table() in (ROOT / "docs" / "debugger.md").read_text(encoding="utf-8")
