"""Instructions: encodings as the paper has them, and text that comes back as it went in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.devices.tpu.declare import SIZE, Style, Unit, declare, decode, encode
from emu.devices.tpu.errors import ProgramError
from emu.devices.tpu.isa import TABLE
from emu.devices.tpu.text import assemble, assemble_line, disassemble, disassemble_line
from emu.errors import AiosError


@st.composite
def instructions(draw: st.DrawFn) -> bytes:
    declaration = draw(st.sampled_from(list(TABLE.values())))
    values = {}
    for slot in declaration.operands:
        most = len(slot.field.names) - 1 if slot.field.style is Style.CHOICE else slot.limit
        values[slot.field.name] = draw(st.integers(0, most))
    return encode(declaration.mnemonic, **values)


@given(st.lists(instructions(), max_size=8))
def test_disassembled_program_assembles_to_the_same_bytes(program: list[bytes]) -> None:
    code = b"".join(program)
    assert assemble(disassemble(code)) == code


@given(st.binary(min_size=SIZE, max_size=SIZE))
def test_any_bytes_are_an_instruction_or_an_error(code: bytes) -> None:
    try:
        instruction = decode(code)
    except ProgramError:
        assert disassemble_line(code) == f".bytes {code.hex()}"
    else:
        assert encode(instruction.declaration.mnemonic, **instruction.values) == code


def test_matrix_multiply_has_the_fields_of_the_paper() -> None:
    """12 bytes, 3 of them buffer address, 2 accumulator address, 4 length (section 2)."""
    code = assemble_line("matmul a513, u66051, 67305985, i8")
    assert len(code) == 12
    assert code[1:4] == bytes([3, 2, 1])
    assert code[4:6] == bytes([1, 2])
    assert code[6:10] == bytes([1, 2, 3, 4])


def test_convolve_has_two_dimensions_in_the_place_of_the_length() -> None:
    code = assemble_line("convolve a0, u0, 19, 21, i8")
    assert code[6:10] == bytes([19, 0, 21, 0])


def test_program_is_read_with_comments_and_blank_lines() -> None:
    text = "# nothing\n\nnop\nsync matrix|activation  # both\nset shift, 0x7\n"
    assert disassemble(assemble(text)) == "nop\nsync matrix|activation\nset shift, 0x7"


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("multiply a0", "'multiply' is not an instruction of the TPU."),
        ("matmul a0, u0", "takes 4 operands \\(accumulator, buffer, length, format\\), not 2"),
        ("matmul u0, a0, 1, i8", "'u0' is not a and a row of the accumulators."),
        ("matmul a0, u0, 1, f64", "'f64' is no format: i8, u8, i16, bf16."),
        (
            "matmul a65536, u0, 1, i8",
            "65536 does not fit 'matmul', whose accumulator is 0 to 65535",
        ),
        ("matmul a0, u0, 1, i8, next, next", "has no 'next', or has it already"),
        ("sync cpu", "'cpu' is none of input, weights, matrix, activation, output."),
        ("interrupt seven", "'seven' is not a number."),
    ],
)
def test_mistake_is_one_sentence_with_its_line(line: str, sentence: str) -> None:
    with pytest.raises(AiosError, match=f"Line 2: .*{sentence}"):
        assemble(f"nop\n{line}")


@pytest.mark.parametrize(
    ("syntax", "opcode", "layout", "sentence"),
    [
        ("add length", 0x70, "length", "has 40 bits, not 96"),
        ("add length", 0x70, "0:24 value", "do not have the same fields"),
        ("add", 0x10, "0:88", "'add', opcode 0x10, is declared twice"),
        ("nop", 0x71, "0:88", "'nop', opcode 0x71, is declared twice"),
    ],
)
def test_wrong_declaration_raises_where_it_is_made(
    syntax: str, opcode: int, layout: str, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        declare(syntax, opcode, Unit.CONTROL, "", layout=layout)
