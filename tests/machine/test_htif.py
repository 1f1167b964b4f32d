"""The mailbox of programs for Spike: what they print, read and end with."""

from __future__ import annotations

import struct
import subprocess

import pytest

from emu import loader
from emu.errors import AiosError

PROGRAM = """
    .option norelax
    .globl _start, tohost, fromhost, xtohost
    .text
_start:
    la s0, tohost
    la s1, fromhost
    la t0, line                  # system call 64: write(1, line, 6)
    la t1, arguments
    sd t0, 16(t1)
    sd t1, 0(s0)
    jal wait
    li t0, 0x0101000000000021    # the console's write: '!'
    sd t0, 0(s0)
1:  ld t0, 0(s0)                 # no answer comes: the command is taken
    bnez t0, 1b
    li t0, 1                     # the console's read, stored in halves
    slli t0, t0, 24
    sw zero, 0(s0)
    sw t0, 4(s0)
    jal wait
    andi a0, a0, 0xff
    slli a0, a0, 1
    ori a0, a0, 1
2:  sw a0, 0(s0)                 # ends with the character as the exit code, as riscv-tests do
    sw zero, 4(s0)
    j 2b
wait:
    ld a0, 0(s1)
    beqz a0, wait
    sd zero, 0(s1)
    ret
    .data
    .balign 8
arguments: .dword 64, 1, 0, 6, 0, 0, 0, 0
line: .ascii "hello\\n"
    .balign 8
xtohost: .dword 0
    .section .tohost, "aw"
    .balign 64
tohost: .dword 0
    .balign 64
fromhost: .dword 0
"""


@pytest.fixture
def program(tool, tmp_path) -> bytes:
    (tmp_path / "p.S").write_text(PROGRAM)
    gcc = [tool("riscv64-unknown-elf-gcc"), "-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany"]
    flags = [*gcc, "-nostdlib", "-static", "-Wl,-n", "-Wl,-Ttext=0x80000000"]
    subprocess.run([*flags, "p.S", "-o", "p.elf"], cwd=tmp_path, check=True, capture_output=True)
    return (tmp_path / "p.elf").read_bytes()


@pytest.mark.parametrize("engine", ["reference", "native"])
def test_a_program_prints_reads_and_ends_by_it(make_machine, program, engine) -> None:
    machine = make_machine(program, b"\x2a", engine=engine)
    status = machine.run(100_000)
    assert (status.code, status.by_guest, status.telling) == (0x2A, True, True)
    assert machine.console.text == "hello\n!"


def test_engines_end_after_the_same_instruction(make_machine, program) -> None:
    counts = set()
    for engine in ("reference", "native"):
        machine = make_machine(program, b"\x2a", engine=engine)
        machine.run(100_000)
        counts.add((machine.hart.instret, machine.clock.now_ps))
    assert len(counts) == 1


def test_an_elf_without_the_symbols_has_no_mailbox(make_machine, elf) -> None:
    assert "htif" not in make_machine(elf(b"\x13\0\0\0")).devices


def test_a_damaged_symbol_table_has_no_symbols(make_machine, program) -> None:
    """Whatever byte of the section headers is wrong, the program can still be loaded."""
    shoff = struct.unpack_from("<Q", program, 40)[0]
    memory = make_machine(program).memory
    for at in range(shoff, len(program), 3):
        damaged = program[:at] + bytes([program[at] ^ 0xFF]) + program[at + 1 :]
        try:
            loader.elf(damaged, memory, "k")
        except AiosError:
            pytest.fail(f"refused for byte {at} of the section headers")
