"""The language as programs see it: every file in `programs/` is a set of Kern `test` blocks.

Each file is compiled at two levels and run once on our machine and, when it is installed, on QEMU;
every test block is then a check here. `panics.kern` is the other way round: each of its tests is
named after the message that it must fail with.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from emu.errors import AiosError
from toolchain.cli.test import run_on_machine
from toolchain.kern import testing
from toolchain.kern.compile import read_source

PROGRAMS = sorted((Path(__file__).parent / "programs").glob("*.kern"))
PASSING = [path for path in PROGRAMS if path.stem != "panics"]


@cache
def image(path: Path, opt: int) -> testing.TestImage:
    return testing.build([read_source(path)], opt=opt)


def on_qemu(qemu: str, folder: Path) -> testing.Runner:
    def run(executable: bytes) -> str:
        path = folder / "tests.elf"
        path.write_bytes(executable)
        command = [qemu, "-M", "virt", "-bios", "none", "-nographic", "-kernel", str(path)]
        done = subprocess.run(command, capture_output=True, timeout=60, check=True)
        return done.stdout.decode("utf-8")

    return run


def failures(results: list[testing.TestResult]) -> list[str]:
    assert results
    return [f"{r.name}: {r.message}" for r in results if not r.passed]


@pytest.mark.parametrize("opt", [0, 2])
@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_program_behaves_on_the_machine(path: Path, opt: int) -> None:
    assert failures(testing.run(image(path, opt), run_on_machine)) == []


@pytest.mark.parametrize("path", PASSING, ids=lambda path: path.stem)
def test_program_behaves_on_qemu(path: Path, tool: Callable[[str], str], tmp_path: Path) -> None:
    runner = on_qemu(tool("qemu-system-riscv64"), tmp_path)
    assert failures(testing.run(image(path, 2), runner)) == []


@pytest.mark.parametrize("opt", [0, 2])
def test_failing_checks_say_where_and_what(opt: int) -> None:
    path = next(path for path in PROGRAMS if path.stem == "panics")
    for result in testing.run(image(path, opt), run_on_machine):
        assert not result.passed, result.name
        assert result.name in result.message
        if "trap" in result.name:
            assert f"({path.name}:{result.line})" in result.message
        else:
            file, line, _ = result.message.split(":", 2)
            assert file == str(path)
            assert result.line <= int(line) <= result.line + 2


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "noise.kern"
    path.write_bytes(b"fn f() {}\n\xff")
    with pytest.raises(AiosError, match=r"noise\.kern: byte 10 is not UTF-8 text\."):
        read_source(path)
