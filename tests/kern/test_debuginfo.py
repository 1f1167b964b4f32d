"""What debuggers and binutils make of a compiled program's DWARF."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.kern.compile import compile
from toolchain.kern.diagnostics import Source
from toolchain.link import link

TEXT = """\
struct Point {
    x: int
    name: str
    next: ptr[Point]
}

enum Mode { FAST, SLOW = 5 }

points: array[Point, 4]
mode: Mode

export fn visit(p: Point, times: int) -> int {
    total = 0
    for i in 0..times {
        step = p.x * i
        total += step
    }
    return total
}

export fn kern_panic(text: str) {
    while true { wfi() }
}

fn run() {
    mode = SLOW
    points[1] = Point{x: 3, name: "second"}
    points[0].x = visit(points[1], 10)
}

run()
"""


@pytest.fixture(scope="module", params=[0, 2], ids=["O0", "O2"])
def program(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("debug") / "program.elf"
    source = Source("program.kern", "program", TEXT)
    path.write_bytes(
        link([compile([source], root="program", opt=request.param)], entry="kern_main")
    )
    (path.parent / "program.kern").write_text(TEXT)
    return path


def output(*command: str, folder: Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "arning" not in done.stderr, done.stderr
    return done.stdout


def test_readelf_accepts_the_debug_information(program: Path, tool: Callable[[str], str]) -> None:
    readelf = tool("riscv64-unknown-elf-readelf")
    info = output(readelf, "--debug-dump=info", str(program), folder=program.parent)
    for name in ("visit", "Point", "SLOW", "times", "points"):
        assert name in info
    lines = output(readelf, "--debug-dump=decodedline", str(program), folder=program.parent)
    rows = [line.split() for line in lines.splitlines() if line.startswith("program.kern ")]
    assert {"18", "31"} <= {row[1] for row in rows}


def gdb(program: Path, tool: Callable[[str], str], *commands: str) -> str:
    arguments = [word for command in commands for word in ("-ex", command)]
    return output(tool("gdb-multiarch"), "-nx", "-batch", *arguments, str(program),
                  folder=program.parent)  # fmt: skip


def test_gdb_knows_types_with_their_layout(program: Path, tool: Callable[[str], str]) -> None:
    text = gdb(program, tool, "ptype /o struct Point", "print sizeof(struct Point)", "whatis mode")
    assert "x;" in text
    assert "struct Point *next;" in text
    assert "= 32" in text
    assert "type = Mode" in text or "type = enum Mode" in text


def test_gdb_finds_the_line_of_a_function(program: Path, tool: Callable[[str], str]) -> None:
    assert 'Line 31 of "program.kern"' in gdb(program, tool, "info line kern_main")


def test_unoptimised_programs_keep_every_local(tool: Callable[[str], str], tmp_path: Path) -> None:
    source = Source("program.kern", "program", TEXT)
    path = tmp_path / "program.elf"
    path.write_bytes(link([compile([source], root="program", opt=0)], entry="kern_main"))
    (tmp_path / "program.kern").write_text(TEXT)
    scope = gdb(path, tool, "info scope program.kern:15")
    for name in ("p", "times", "total", "step"):
        assert f"Symbol {name} is " in scope
    assert "optimized out" not in scope
