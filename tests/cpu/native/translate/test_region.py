"""Regions of random code: what is in them, where they are entered, and where control goes."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from emu.cpu.native.translate.image import Image
from emu.cpu.native.translate.region import LEAST, LIMIT, Region, discover
from emu.cpu.state import PAGE_SIZE
from tests.cpu.native.translate.guest import AT, image, instruction_at

_STRAIGHT = ("addi x5, x5, 1", "c.addi x8, 1", "ld x6, 0(x10)", "fadd.d f1, f2, f3, rne")
_LEFT_OUT = ("csrrs x5, mcycle, x0", "ecall", "fadd.d f1, f2, f3, rup", "wfi")


@dataclass(frozen=True)
class Code:
    """Lines at an address, those that have not run, where indirect jumps went, and a seed."""

    lines: tuple[str, ...]
    image: Image
    starts: tuple[int, ...]
    taken: dict[int, tuple[int, ...]]
    seed: int


@st.composite
def codes(draw: st.DrawFn) -> Code:
    """Code that may run over the end of a page, with jumps of every kind to any instruction."""
    count = draw(st.integers(1, 40))
    at = AT + draw(st.sampled_from((0, PAGE_SIZE - 26, PAGE_SIZE - 64)))
    lines: list[str] = []
    for n in range(count):
        label = f"L{draw(st.integers(0, count - 1))}"
        kinds = (
            draw(st.sampled_from(_STRAIGHT)), draw(st.sampled_from(_STRAIGHT)),
            f"beq x5, x6, {label}", f"jal x0, {label}", f"jal x1, {label}",
            "jalr x0, 0(x1)", "c.jr x7", "jalr x1, 0(x7)", draw(st.sampled_from(_LEFT_OUT)),
        )  # fmt: skip
        lines += [f"L{n}:", draw(st.sampled_from(kinds))]
    whole = image(lines, at)
    starts = _starts(whole, at, count)
    cold = draw(st.lists(st.sampled_from(starts), max_size=3))
    targets = st.lists(st.sampled_from(starts), max_size=3, unique=True).map(tuple)
    taken = {pc: draw(targets) for pc in starts}
    return Code(tuple(lines), image(lines, at, cold), starts, taken, draw(st.sampled_from(starts)))


def _starts(code: Image, at: int, count: int) -> tuple[int, ...]:
    starts = []
    for _ in range(count):
        starts.append(at)
        at += 4 if instruction_at(code, at) & 3 == 3 else 2
    return tuple(starts)


def found_in(code: Code, limit: int = LIMIT) -> Region | None:
    return discover(code.image, (code.seed,), code.taken, limit)


@given(codes())
def test_blocks_do_not_overlap_and_hold_the_instructions_that_stand_there(code: Code) -> None:
    region = found_in(code)
    if region is None:
        return
    addresses = [pc for block in region.blocks.values() for pc, _ in block.instructions]
    assert len(addresses) == len(set(addresses)) == region.size
    for start, block in region.blocks.items():
        pc = block.start
        assert pc == start
        for address, found in block.instructions:
            assert address == pc
            assert found.raw == instruction_at(code.image, pc)
            assert code.image.instruction(pc) is not None
            pc += found.insn.length
        assert pc == block.end


@given(codes())
def test_only_the_last_instruction_of_a_block_jumps_and_no_other_block_enters_it_inside(
    code: Code,
) -> None:
    region = found_in(code)
    if region is None:
        return
    inside = {pc for b in region.blocks.values() for pc, _ in b.instructions[1:]}
    for block in region.blocks.values():
        for _, found in block.instructions[:-1]:
            assert not any(s.op in ("jump", "branch") for s in found.insn.steps)
        assert block.flow.target not in inside
    assert not inside & {pc for known in region.targets.values() for pc in known}


@given(codes())
def test_every_block_is_reached_from_a_way_in(code: Code) -> None:
    region = found_in(code)
    if region is None:
        return
    assert region.entries
    assert set(region.entries) <= region.blocks.keys()
    successors, seen, left = region.successors, set[int](), list(region.entries)
    while left:
        start = left.pop()
        if start not in seen:
            seen.add(start)
            left += successors[start]
    assert seen == region.blocks.keys() == successors.keys()


@given(codes())
def test_successors_are_where_the_instructions_go(code: Code) -> None:
    region = found_in(code)
    if region is None:
        return
    for start, ways in region.successors.items():
        block = region.blocks[start]
        pc, last = block.instructions[-1]
        name, beyond = last.insn.mnemonic, pc + last.insn.length
        if name == "jalr" or name == "c.jr":
            known = region.targets[pc]
            assert ways == known
            assert set(code.taken[pc]) & region.blocks.keys() <= set(known)
            continue
        expected = {beyond}
        if name == "beq":
            expected = {beyond, pc + last.imm}
        elif name == "jal":
            expected = {pc + last.imm}
        assert set(ways) == expected & region.blocks.keys()


@given(codes())
def test_spans_are_exactly_the_bytes_of_the_instructions(code: Code) -> None:
    region = found_in(code)
    if region is None:
        return
    expected = {
        at
        for block in region.blocks.values()
        for pc, found in block.instructions
        for at in range(pc, pc + found.insn.length)
    }
    spans = region.spans()
    assert {at for start, end in spans for at in range(start, end)} == expected
    assert all(one[1] < two[0] for one, two in pairwise(spans))


@given(codes(), st.integers(1, 60))
def test_a_region_keeps_to_its_limit(code: Code, limit: int) -> None:
    region = found_in(code, limit)
    assert region is None or region.size <= limit


def test_straight_code_of_many_pages_keeps_to_the_limit() -> None:
    region = discover(image(["c.addi x8, 1"] * 10_000), (AT,), {})
    assert region is not None
    assert region.size <= LIMIT


def test_a_loop_is_a_region_entered_at_its_head() -> None:
    lines = ["addi x5, x0, 9", "top:", "addi x5, x5, -1", "bne x5, x0, top", "ecall"]
    region = discover(image(lines), (AT,), {})
    assert region is not None
    assert region.heads.keys() == {AT + 4}
    assert region.entries == (AT, AT + 4)
    inside = discover(image(lines), (AT + 8,), {})
    assert inside is not None
    assert inside.entries == (AT + 4,)


def test_a_little_straight_code_is_not_worth_a_region() -> None:
    assert discover(image(["addi x5, x5, 1"] * (LEAST - 1)), (AT,), {}) is None
    assert discover(image(["addi x5, x5, 1"] * LEAST), (AT,), {}) is not None


def test_what_has_not_run_is_not_in_a_region() -> None:
    lines = ["top:", "beq x5, x6, rare", "jal x0, top", "rare:", "addi x5, x5, 1", "jal x0, top"]
    region = discover(image(lines, cold=[AT + 8]), (AT,), {})
    assert region is not None
    assert region.blocks.keys() == {AT, AT + 4}


def test_a_function_returns_to_all_of_its_callers_in_the_region_and_to_no_other() -> None:
    lines = [
        "top:", "jal x1, f", "jal x1, f", "jal x1, g", "jal x0, top",
        "f:", "addi x5, x5, 1", "jalr x0, 0(x1)",
        "g:", "addi x6, x6, 1", "jalr x0, 0(x1)",
    ]  # fmt: skip
    region = discover(image(lines), (AT,), {})
    assert region is not None
    assert region.targets == {AT + 20: (AT + 4, AT + 8), AT + 28: (AT + 12,)}


def test_code_behind_an_instruction_left_out_is_a_way_in() -> None:
    long = ["addi x5, x5, 2"] * LEAST
    lines = ["top:", "addi x5, x5, 1", "csrrs x6, mcycle, x0", *long, "jal x0, top"]
    region = discover(image(lines), (AT,), {})
    assert region is not None
    assert region.entries == (AT + 8,)


def test_a_seed_that_has_not_run_or_is_no_code_gives_no_region() -> None:
    code = image(["jal x0, 0", "jal x0, 0"], cold=[AT])
    assert discover(code, (AT,), {}) is None
    assert discover(code, (AT + PAGE_SIZE,), {}) is None
    assert discover(code, (AT - 1 << 40,), {}) is None
    assert discover(code, (AT + 4, 0, 2**64 - 1), {}) is not None
