"""The assembly under the kernel: C programs on top try each part, on QEMU and on our machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine

HERE = Path(__file__).parent
ASM = HERE.parents[1] / "asm"
HARTS = 4
NOT_SUPPORTED, INVALID_PARAM, ALREADY_AVAILABLE = 2**64 - 2, 2**64 - 3, 2**64 - 6

Tool = Callable[[str], str]
Run = Callable[[str], tuple[str, int]]


def build(tool: Tool, program: str, folder: Path) -> Path:
    """The image of a C program on the firmware, by GNU as and gcc."""
    image = folder / f"{program}.elf"
    gcc = [tool("riscv64-unknown-elf-gcc"), "-O1", "-ffreestanding", "-nostdlib"]
    target = ["-march=rv64imafdc_zicsr_zifencei", "-mabi=lp64d", "-mcmodel=medany"]
    assembly = sorted(ASM.glob("*.s"), key=lambda file: file.stem != "start")  # which comes first
    sources = [*assembly, HERE / f"{program}.c"]
    command = [*gcc, *target, "-T", HERE / "image.ld", "-o", image, *sources]
    subprocess.run(command, check=True, capture_output=True)
    return image


@pytest.fixture(params=["qemu", "native", "reference"])
def run(request, tool: Tool, tmp_path: Path) -> Run:
    """Runs a program on one of the machines with `HARTS` harts: what it says, and its exit code."""

    def on_qemu(program: str) -> tuple[str, int]:
        image = build(tool, program, tmp_path)
        qemu = [tool("qemu-system-riscv64"), "-M", "virt", "-smp", str(HARTS), "-m", "256M"]
        done = subprocess.run(
            [*qemu, "-bios", "none", "-kernel", image, "-nographic"],
            capture_output=True,
            text=True,
            timeout=60,
            stdin=subprocess.DEVNULL,
        )
        return done.stdout, done.returncode

    def on_ours(program: str) -> tuple[str, int]:
        edge = board.load("edge")
        edge = replace(edge, cpu=replace(edge.cpu, harts=HARTS))
        kernel, console = build(tool, program, tmp_path).read_bytes(), MemoryConsole(b"")
        with Machine(edge, kernel=kernel, console=console, engine=request.param) as machine:
            status = machine.run()
        assert status.by_guest
        return console.text, status.code

    return on_qemu if request.param == "qemu" else on_ours


def told(output: str) -> list[tuple[str, int]]:
    """The lines `name value` as pairs."""
    return [
        (name, int(value, 16))
        for name, value in (line.rsplit(" ", 1) for line in output.splitlines() if " " in line)
    ]


def test_traps_guards_timer_and_shutdown(run: Run) -> None:
    output, code = run("firmware")
    assert told(output) == [
        ("hart", 0),
        ("tree", 0xEDFE0DD0),
        ("cause", 3),
        ("s11", 0x1234),
        ("kept", 1),
        ("argument", 42),
        ("cause", 2),
        ("guarded", 77),
        ("nested", 6),
        ("armed inside", 1),
        ("armed outside", 0),
        ("timer", 0),
        ("slept", 1),
        ("unknown service", NOT_SUPPORTED),
    ]
    assert code == 0


STARTED, STOPPED = 0, 1
BASE = [
    ("hart", 0),
    ("version", 2 << 24),
    *[("probe", known) for known in (1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0)],
    ("vendor", 0),
    ("no such function", NOT_SUPPORTED),
    ("no such extension", NOT_SUPPORTED),
]
STATES = [
    *[("status", state) for state in (STARTED, STOPPED, STOPPED, STOPPED, INVALID_PARAM)],
    ("start a started one", ALREADY_AVAILABLE),
    ("start nobody", INVALID_PARAM),
    *[("start", 0)] * 3,
    *[("opaque", 0x10 * hart) for hart in (1, 2, 3)],
    ("status", STARTED),
    ("start again", 0),
    ("opaque", 0x80),
    *[("wake", 0), ("suspended", 0)],
    *[("wake", 0), ("resumed with", 0x50)],
    ("suspend how", INVALID_PARAM),
    ("no such function", NOT_SUPPORTED),
]
INTERRUPTS = [
    ("send ipi", 0),
    *[("pending after", 0)] * 3,
    *[("ipi to all", 0), ("here", 0)],
    *[("timer", 1)] * 4,
    ("timer function", NOT_SUPPORTED),
]
FENCES = [
    *[("code", 5), ("remote fence.i", 0), ("code", 6)],
    *[("page", 0xA), ("remote sfence.vma", 0), ("page", 0xB)],
    ("remote sfence.vma asid", 0),
    ("hypervisor fence", NOT_SUPPORTED),
    *[("fence of no hart", INVALID_PARAM), ("masks of no meaning", INVALID_PARAM)],
]
CONSOLE = [
    ("write", len("written\n")),
    *[(f"write {what}", INVALID_PARAM) for what in ("nowhere", "too much", "far away")],
    ("read", 0),
    *[("!byte", 0), ("?legacy putchar", 0), ("legacy getchar", 2**64 - 1)],
]


def test_the_sbi_is_as_its_specification_says(run: Run) -> None:
    output, code = run("sbi")
    assert "\nwritten\n" in output
    end = [("reset how", INVALID_PARAM)]
    assert told(output) == BASE + STATES + INTERRUPTS + FENCES + CONSOLE + end
    assert code == 1  # a shutdown because of a failure
