"""The lane instructions' encodings, GNU as being the judge of Vortex's pictures, and what they are
on a hart."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emu.cpu.native import NativeEngine
from emu.isa import TABLE
from emu.isa.assemble import assemble_line
from emu.isa.causes import Cause
from emu.isa.disassemble import disassemble
from tests.cpu.machines import BASE, Board

INTRINSICS = {
    "tmc a1": ".insn r 0x0b, 0, 0, x0, a1, x0",
    "wspawn a1, a2": ".insn r 0x0b, 1, 0, x0, a1, a2",
    "split a0, a1": ".insn r 0x0b, 2, 0, a0, a1, x0",
    "split.n a0, a1": ".insn r 0x0b, 2, 0, a0, a1, x1",
    "join a1": ".insn r 0x0b, 3, 0, x0, a1, x0",
    "bar a1, a2": ".insn r 0x0b, 4, 0, x0, a1, a2",
    "pred a1, a2": ".insn r 0x0b, 5, 0, x0, a1, a2",
    "pred.n a1, a2": ".insn r 0x0b, 5, 0, x1, a1, a2",
    "vote.all a0, a1": ".insn r 0x0b, 0, 1, a0, a1, x0",
    "vote.any a0, a1": ".insn r 0x0b, 1, 1, a0, a1, x0",
    "vote.uni a0, a1": ".insn r 0x0b, 2, 1, a0, a1, x0",
    "vote.ballot a0, a1": ".insn r 0x0b, 3, 1, a0, a1, x0",
    "shfl.up a0, a1, a2": ".insn r 0x0b, 4, 1, a0, a1, a2",
    "shfl.down a0, a1, a2": ".insn r 0x0b, 5, 1, a0, a1, a2",
    "shfl.bfly a0, a1, a2": ".insn r 0x0b, 6, 1, a0, a1, a2",
    "shfl.idx a0, a1, a2": ".insn r 0x0b, 7, 1, a0, a1, a2",
    "amocas.w a0, a2, (a1)": ".insn r 0x2f, 2, 0x14, a0, a1, a2",
    "amocas.d a0, a2, (a1)": ".insn r 0x2f, 3, 0x14, a0, a1, a2",
}
"""Our spelling, and the words of Vortex's intrinsics as their operands are documented (of Zacas, as
the specification has them)."""


def test_every_lane_instruction_is_listed_here() -> None:
    ours = {text.split()[0] for text in INTRINSICS}
    assert ours == {m for m, i in TABLE.items() if i.extension == "xlane"}


def test_encodings_are_those_of_vortex(tool: Callable[[str], str], tmp_path: Path) -> None:
    source, elf, binary = (tmp_path / name for name in ("a.s", "a.o", "a.bin"))
    source.write_text("\n".join(INTRINSICS.values()) + "\n")
    subprocess.run([tool("riscv64-unknown-elf-as"), "-o", elf, source], check=True)
    objcopy = [tool("riscv64-unknown-elf-objcopy"), "-O", "binary", "-j", ".text", elf, binary]
    subprocess.run(objcopy, check=True)
    assert b"".join(map(assemble_line, INTRINSICS)).hex() == binary.read_bytes().hex()


def test_csrs_of_lanes_have_names() -> None:
    assert disassemble(int.from_bytes(assemble_line("csrr a0, 0xcc0"), "little")) == (
        "csrrs a0, lane_id, zero"
    )
    assert assemble_line("csrr a0, grid_size_z") == assemble_line("csrr a0, 0xfcd")


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("text", [*INTRINSICS, "csrr a0, lane_id", "csrr a0, grid_size_x"])
def test_a_hart_has_none_of_them(text: str, native: bool) -> None:
    board = Board()
    board.program(text)
    if native:
        NativeEngine(board.hart).run(1)
    else:
        board.engine.step()
    word = int.from_bytes(assemble_line(text), "little")
    assert (board["mcause"], board["mepc"], board["mtval"]) == (Cause.ILLEGAL, BASE, word)
