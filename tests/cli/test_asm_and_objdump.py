"""`aios asm` and `aios objdump`, as a user runs them, with GNU objdump as the oracle."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from toolchain.cli import main

Tool = Callable[[str], str]

PROGRAM = """# one loop
        .globl _start
_start: la      a0, table       # where
        li      a1, 0x12345678
1:      addi    a1, a1, -1
        bnez    a1, 1b
        call    leaf
        c.addi  a0, 4
        tld     tr1, (a0)
leaf:   ret
        .data
table:  .dword  leaf
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source file in the current directory, assembled to `program.o` and `program.elf`."""
    monkeypatch.chdir(tmp_path)
    Path("program.s").write_text(PROGRAM)
    assert main(["asm", "program.s"]) == 0
    assert main(["asm", "program.s", "--link"]) == 0
    return tmp_path


def listing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(["objdump", *arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("file", ["program.o", "program.elf"])
def test_addresses_words_and_labels_are_those_of_gnu_objdump(
    program: Path, tool: Tool, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    command = [tool("riscv64-unknown-elf-objdump"), "-d", file]
    theirs = subprocess.run(command, cwd=program, capture_output=True, text=True).stdout
    pattern = re.compile(r"^ *([0-9a-f]+)(?: (<\w+>):|:\t([0-9a-f]+))", re.M)
    assert pattern.findall(listing(capsys, file)) == pattern.findall(theirs)


def test_branch_targets_carry_their_symbols(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "bne     a1, zero, 0x80000010 <_start+0x10>" in listing(capsys, "program.elf")


@pytest.mark.parametrize("file", ["program.o", "program.elf"])
def test_source_and_lines_stand_above_their_code(
    program: Path, capsys: pytest.CaptureFixture[str], file: str
) -> None:
    text = listing(capsys, "-S", "-l", file).splitlines()
    at = text.index("program.s:6")
    assert text[at + 1].split() == ["bnez", "a1,", "1b"]
    assert text[at + 2].split()[2:5] == ["bne", "a1,", "zero,"]


def test_relocations_are_shown_where_they_act(
    program: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = listing(capsys, "-r", "program.o")
    assert "0: R_RISCV_PCREL_HI20\ttable" in text
    assert "R_RISCV_CALL_PLT\tleaf" in text


def test_one_function_alone(program: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = listing(capsys, "--disassemble", "leaf", "program.elf")
    assert "<leaf>:" in text
    assert "<_start>:" not in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["objdump", "none.elf"], "aios: error: The file none.elf cannot be read: "),
        (["objdump", "program.s"], "aios: error: program.s is not an ELF file."),
        (
            ["objdump", "--disassemble", "f", "program.o"],
            "aios: error: The file program.o has no symbol 'f'.",
        ),
        (["asm", "none.s"], "aios: error: The source none.s cannot be read: "),
        (["asm", "program.o"], "aios: error: The source program.o is not text in UTF-8."),
        (["asm", "wrong.s"], "wrong.s:1:1: error: 'nope' is not an instruction"),
        (["asm", "--link", "lost.s"], "The symbol 'lost', which lost.s uses, is not defined"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(
    program: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    Path("wrong.s").write_text("nope a0\n")
    Path("lost.s").write_text(".globl _start\n_start: call lost\n")
    assert main(arguments) == 2
    assert expected in capsys.readouterr().err
