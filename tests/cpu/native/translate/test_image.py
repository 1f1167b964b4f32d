"""The guest's code as translations see it."""

from __future__ import annotations

import pytest

from emu.cpu.native.translate.image import Image, Page, is_translatable
from emu.cpu.state import PAGE_SIZE
from emu.isa.assemble import assemble_line
from emu.isa.decode import decode
from tests.cpu.native.translate.guest import AT, image

ADD = int.from_bytes(assemble_line("addi x5, x5, 1"), "little")


def test_an_instruction_is_seen_only_where_it_has_run() -> None:
    code = image(["addi x5, x5, 1", "c.addi x8, 1", "addi x5, x5, 1"], cold=[AT + 4])
    found = [code.instruction(AT + at) for at in (0, 2, 4, 6, 10)]
    assert [f and f.raw for f in found] == [ADD, None, None, ADD, None]
    assert [code.length(AT + at) for at in (0, 2, 4, 6)] == [4, None, None, 4]


def test_an_instruction_across_two_pages_is_seen_when_both_are_there() -> None:
    at = AT + PAGE_SIZE - 2
    code = image(["addi x5, x5, 1"], at)
    found = code.instruction(at)
    assert found is not None
    assert (found.raw, code.bytes_at(at, 4)) == (ADD, ADD.to_bytes(4, "little"))
    assert Image({AT: code.pages[AT]}).instruction(at) is None


def test_bytes_may_cross_pages() -> None:
    pages = {AT + n * PAGE_SIZE: Page(bytes([n]) * PAGE_SIZE, b"") for n in range(3)}
    assert Image(pages).bytes_at(AT + PAGE_SIZE - 1, PAGE_SIZE + 2) == (
        b"\0" + b"\1" * PAGE_SIZE + b"\2"
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("addi x5, x5, 1", True),
        ("amoadd.w x5, x6, (x10)", True),
        ("lr.d x5, (x10)", True),
        ("fence", True),
        ("fadd.d f1, f2, f3, rne", True),
        ("fadd.d f1, f2, f3, dyn", True),  # translations are entered only while frm says so
        ("fadd.d f1, f2, f3, rtz", False),
        ("fcvt.w.d x5, f1, rtz", True),
        ("fcvt.w.d x5, f1, rne", False),
        ("csrrs x5, mcycle, x0", False),
        ("ecall", False),
        ("c.ebreak", False),
        ("mret", False),
        ("fence.i", False),
        ("sfence.vma", False),
        ("wfi", False),
    ],
)
def test_what_concerns_the_hart_as_a_whole_is_left_out(line: str, expected: bool) -> None:
    found = decode(int.from_bytes(assemble_line(line), "little"))
    assert found is not None
    assert is_translatable(found) is expected


def test_the_end_of_the_address_space_is_no_code() -> None:
    last = 2**64 - PAGE_SIZE
    jump = assemble_line("c.j -2") * (PAGE_SIZE // 2)
    code = Image({last: Page(jump, b"\1" * (PAGE_SIZE // 2))})
    assert code.instruction(2**64 - 4) is not None
    assert code.instruction(2**64 - 2) is None
