"""Console input that comes by interrupt while the guest sleeps; and a real terminal."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SLEEPER = """
typedef volatile unsigned u32;
typedef volatile unsigned long u64;
typedef volatile unsigned char u8;
#define UART ((u8 *)0x10000000)
#define PLIC(at) (*(u32 *)(0xc000000 + (at)))
#define MTIMECMP (*(u64 *)0x2004000)
#define MTIME (*(u64 *)0x200bff8)
int main(void) {
    UART[1] = 1;
    PLIC(40) = 1;
    PLIC(0x2000) = 1 << 10;
    MTIMECMP = TICK ? MTIME + TICK : -1ul;
    asm volatile("csrw mie, %0" : : "r"(1 << 11 | 1 << 7));
    for (;;) {
        asm volatile("wfi");
        if (TICK && MTIME >= MTIMECMP) MTIMECMP += TICK;
        if (!PLIC(0x200004)) continue;
        int c = UART[0];
        if (c == 4) *(u32 *)0x100000 = 0x5555;
        UART[0] = c ^ 0x20;
        PLIC(0x200004) = 10;
    }
}
asm(".section .text.init\\n .globl _start\\n _start: li sp, 0x80010000\\n call main\\n");
"""


@pytest.fixture
def build(tool, tmp_path):
    """The sleeper, with a timer tick of so many ticks of mtime (0: none)."""

    def make(tick: int) -> Path:
        (tmp_path / "p.c").write_text(SLEEPER)
        flags = "-march=rv64gc_zicsr -mabi=lp64d -mcmodel=medany -nostdlib -O2 -o p.elf"
        link = f"-Wl,-n -Wl,-Ttext=0x80000000 -DTICK={tick}ul"
        gcc = tool("riscv64-unknown-elf-gcc")
        command = [gcc, *flags.split(), *link.split(), "p.c"]
        subprocess.run(command, cwd=tmp_path, check=True)
        return tmp_path / "p.elf"

    return make


def test_a_sleeping_guest_is_woken_by_each_byte(build, make_machine) -> None:
    machine = make_machine(build(0).read_bytes(), b"hello")
    assert machine.run(100_000).code == 0
    assert machine.console.text == "HELLO"


def test_a_ticking_guest_gets_its_input_when_only_ticks_have_happened(build, make_machine) -> None:
    """Ticks come every 10 ms; a byte of a pipe waits until 100 ms were quiet."""
    machine = make_machine(build(100_000).read_bytes(), b"hi")
    assert machine.run(100_000).code == 0
    assert machine.console.text == "HI"
    assert 0.2 <= machine.clock.now_ps / 1e12 <= 0.5


def read_until(descriptor: int, wanted: bytes) -> bytes:
    """What the terminal shows, up to `wanted`."""
    seen, deadline = b"", time.monotonic() + 30
    while wanted not in seen and time.monotonic() < deadline:
        if select.select([descriptor], [], [], 0.1)[0]:
            seen += os.read(descriptor, 4096)
    return seen


@pytest.mark.parametrize("tick", [0, 1 << 60], ids=["no timer", "a timer in 3000 years"])
def test_a_terminal_is_raw_and_left_with_control_a_x(build, tick) -> None:
    command = "import sys; from toolchain.cli import main; sys.exit(main())"
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", command, "run", "--kernel", build(tick), "--engine", "reference"],
        stdin=far,
        stdout=far,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    try:
        os.write(near, b"q")
        assert b"Q" in read_until(near, b"Q")
        os.write(near, b"\x01\x01")
        assert b"!" in read_until(near, b"!")
        os.write(near, b"\x01x")
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        os.close(near)
        os.close(far)
