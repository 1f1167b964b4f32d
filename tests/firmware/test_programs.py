"""C programs, compiled by gcc with picolibc, on AIos and on QEMU: the same output and exit code.

`programs/` holds them; `board.c` there is what they need of the machine. The output is long and
QEMU's is the expectation, so a program prints whatever could differ.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine

PROGRAMS = Path(__file__).parent / "programs"
INPUT = b"hello\nworld of C\n\nend\n"
LIMIT = 30_000_000  # instructions; none of the programs needs a third of it

_CODE, _DATA = 0x8000_0000, 0x8040_0000
_PLACES = {"flash": _CODE, "flash_size": 4 << 20, "ram": _DATA, "ram_size": 4 << 20}

Build = Callable[..., Path]


@pytest.fixture
def build(tool: Callable[[str], str], tmp_path: Path) -> Build:
    """Compile a program of `programs/` for the bare machine; gives the ELF file."""
    gcc = tool("riscv64-unknown-elf-gcc")
    if not Path("/usr/lib/picolibc/riscv64-unknown-elf").exists():
        pytest.skip("picolibc is not installed")

    def compile_(name: str, *options: str) -> Path:
        image = tmp_path / f"{name}.elf"
        library = ["--specs=picolibc.specs", "--crt0=hosted", "-Tpicolibc.ld"]
        places = [f"-Wl,--defsym=__{what}={value:#x}" for what, value in _PLACES.items()]
        target = ["-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany"]
        sources = [PROGRAMS / f"{name}.c", PROGRAMS / "board.c"]
        command = [gcc, *library, *places, *target, "-Wall", "-Werror", *options, *sources]
        subprocess.run([*command, "-lm", "-o", image], check=True)
        return image

    return compile_


def on_qemu(qemu: str, image: Path) -> tuple[str, int]:
    """What the program prints there, and its exit code."""
    run = subprocess.run(
        [qemu, "-M", "virt", "-cpu", "rv64", "-bios", "none", "-nographic", "-kernel", image],
        input=INPUT,
        capture_output=True,
        timeout=30,
        check=False,
    )
    return run.stdout.decode(), run.returncode


def on_aios(image: Path, engine: str = "native") -> tuple[str, int]:
    """The same on the machine of this repository."""
    console = MemoryConsole(INPUT)
    loaded = board.load("edge")
    kernel = image.read_bytes()
    with Machine(loaded, kernel=kernel, console=console, engine=engine) as machine:
        status = machine.run(LIMIT)
    assert status.by_guest, status.reason
    return console.text, status.code


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("integers", ("-O2",)),
        ("integers", ("-O3", "-march=rv64gc_zba_zbb_zbs")),
        ("floating", ("-O2",)),
        ("library", ("-O1",)),
        ("library", ("-Os", "-msave-restore")),
        ("traps", ("-O2",)),
    ],
    ids=lambda value: value if isinstance(value, str) else "".join(value),
)
def test_program_prints_what_it_prints_on_qemu(
    name: str, options: tuple[str, ...], build: Build, tool: Callable[[str], str]
) -> None:
    image = build(name, *options)
    assert on_aios(image) == on_qemu(tool("qemu-system-riscv64"), image)


def test_reference_engine_runs_machine_mode_c_as_qemu_does(
    build: Build, tool: Callable[[str], str]
) -> None:
    image = build("traps", "-O1")
    assert on_aios(image, "reference") == on_qemu(tool("qemu-system-riscv64"), image)
