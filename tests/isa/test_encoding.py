"""The table's encodings: no overlaps, a decoder that agrees with the patterns, declarations that
are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.isa import TABLE, declare, docs
from emu.isa.decode import decode, find
from emu.isa.graph import Node, Trace

_OPCODES = st.sampled_from(sorted({i.encoding.match & 0x7F for i in TABLE.values()}))
WORDS = st.builds(lambda w, op: w & ~0x7F | op, st.integers(0, (1 << 32) - 1), _OPCODES)


@given(WORDS)
def test_decoder_finds_the_one_instruction_that_matches(word: int) -> None:
    assert [find(word)] == ([i for i in TABLE.values() if i.matches(word)] or [None])


def test_every_instruction_decodes_to_itself() -> None:
    for insn in TABLE.values():
        word = insn.encoding.match | sum(f.mask for f in insn.encoding.fields)
        assert find(word) is insn


def test_compressed_immediates_are_unscrambled() -> None:
    jump = decode(0xBFFD)  # c.j .-2
    assert jump is not None
    assert (jump.insn.mnemonic, jump.imm, jump.length) == ("c.j", -2, 2)


@pytest.mark.parametrize("word", [0x0000, 0xFFFFFFFF, 0x00000057, 0x2001, 0x8002])
def test_reserved_words_are_illegal(word: int) -> None:
    assert decode(word) is None


def _body(m: Trace, rd: Node) -> None:
    """Nothing."""


def test_overlapping_encodings_are_refused() -> None:
    with pytest.raises(ValueError, match="'again' and 'lui' overlap"):
        declare.insn("imm[31:12] rd 0110111", "again {rd}, {imm:u}")(_body)


def test_a_second_declaration_is_refused() -> None:
    with pytest.raises(ValueError, match="'lui' is declared twice"):
        declare.insn("imm[31:12] rd 1110111", "lui {rd}, {imm:u}")(_body)


def test_a_slot_without_a_field_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has no field for \['rd'\]"):
        declare.insn("00000000000000000000000000001011", "nothing")(_body)


def test_a_trap_after_a_write_is_refused() -> None:
    def body(m: Trace, rd: Node) -> None:
        m.x[rd] = m.pc
        m.trap_if(rd.eq(0), 2)

    with pytest.raises(ValueError, match="'trap_if' may trap, but 'write_x' has already written"):
        declare.insn("00000000000000000000 rd 0001011", "late {rd}")(body)


def test_every_instruction_says_what_it_does() -> None:
    assert [i.mnemonic for i in TABLE.values() if not re.fullmatch(r"\S.+\.", i.doc)] == []


def test_committed_documentation_is_current() -> None:
    path = Path(__file__).parents[2] / "docs" / "isa.md"
    assert path.read_text() == docs.render(), "run: python -m emu.isa.docs > docs/isa.md"
