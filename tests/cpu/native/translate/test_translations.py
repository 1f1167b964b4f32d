"""Translated programs do what the reference engine does, at whatever instruction one looks."""

from __future__ import annotations

import struct

import pytest

from emu.cpu.hart import Hart
from emu.cpu.state import PAGE_SIZE
from emu.isa.assemble import assemble_line
from tests.cpu.agreement.program import CODE, DATA, WINDOW
from tests.cpu.agreement.world import LEAVES
from tests.cpu.native.translate.guest import Pair, program, split

LOOP = """
main: ; li x18, 40
top: ; addi x5, x5, 3 ; xor x6, x6, x5 ; sd x6, 0(x10) ; ld x7, 8(x10) ; andi x29, x5, 4
    beqz x29, even ; jal x1, f
even: ; addi x18, x18, -1 ; bnez x18, top ; j main
f: ; mul x8, x5, x6 ; add x9, x9, x8 ; ret
"""

STORES = """
main: ; li x18, 40
top: ; addi x5, x5, 1 ; {} ; addi x6, x6, 1 ; addi x18, x18, -1 ; bnez x18, top ; j main
"""


def test_a_run_ends_at_every_instruction_of_a_region() -> None:
    pair = Pair(program(*split(LOOP)))
    pair.warm()
    assert pair.share(400) > 0.8
    for budget in range(1, 60):
        pair.start()
        pair.go(budget)
    for _ in range(30):
        pair.go(7)


@pytest.mark.parametrize(
    "trap",
    ["ld x7, 1(x28)", "lr.d x7, (x29)", "amoadd.w x7, x5, (x29)", "sd x5, 0(x30)", "ecall",
     ".half 0", "csrrw x7, 0x123, x5", "ld x7, 0(x28)"],
)  # fmt: skip
def test_a_trap_in_the_middle_of_a_region_leaves_what_was_done_before_it(trap: str) -> None:
    text = STORES.format(f"andi x4, x5, 7 ; bnez x4, over ; {trap} ; over:")
    text = text.replace("main: ;", "main: ; li x28, NOWHERE ; addi x29, x10, 1 ;")
    text = text.replace("addi x5", "li x30, NOWHERE ; addi x5")  # which is the handler's
    pair = Pair(program(*split(text)))
    pair.warm()
    for budget in (1, 2, 3, 5, 8, 13, 200):
        pair.go(budget)
    assert pair.share(200) > 0.3


def test_an_interrupt_is_taken_between_any_two_instructions_of_a_region() -> None:
    pair = Pair(program(*split(LOOP)))
    pair.warm()
    for before in range(30):
        pair.start()
        pair.go(before)
        pair.go(20, lines=1 << 7)


def test_a_device_is_accessed_once_an_instruction() -> None:
    text = STORES.format("lw x7, 0(x28) ; sw x5, 4(x28)").replace("main:", "main: ; li x28, DEVICE")
    pair = Pair(program(*split(text)))
    pair.warm()
    for budget in (1, 2, 3, 100):
        pair.go(budget)


def test_memory_is_reached_over_the_ends_of_pages_and_of_ram() -> None:
    walk = (
        "add x28, x10, x5 ; slli x29, x5, 6 ; add x28, x28, x29 ; sd x5, -4(x28) ; ld x7, -6(x28)"
    )
    pair = Pair(program(*split(STORES.format(walk))))
    pair.warm()
    assert pair.share(800) > 0.7
    last = "li x28, 0x80080000 ; sub x28, x28, x18 ; sb x5, 0(x28) ; lhu x7, 0(x28)"
    pair = Pair(program(*split(STORES.format(last))))
    pair.warm()
    assert pair.share(400) > 0.5


# --- code that changes ------------------------------------------------------------------------

PATCH = """
main: ; li x18, 60
top: ; addi x5, x5, 1 ; xor x6, x6, x5 ; addi x18, x18, -1 ; bnez x18, top
    la x28, top ; lw x29, 0(x28) ; lui x12, 0x100 ; add x29, x29, x12 ; sw x29, 0(x28) ; fence.i
    j main
"""


def test_code_that_a_program_changed_is_executed_after_its_fence() -> None:
    pair = Pair(program(*split(PATCH)))
    pair.warm()
    assert pair.seen.hart.state.translated > 0
    for _ in range(12):
        pair.go(101)


def test_code_changed_back_and_forth_keeps_its_translations() -> None:
    text = PATCH.replace("add x29, x29, x12", "xor x29, x29, x12")
    pair = Pair(program(*split(text)))
    pair.go(6000)
    assert pair.share(1000) > 0.4  # each change takes them out until the next look


TURNS = """
main: ; li x18, 300
top: ; addi x5, x5, 1 ; addi x18, x18, -1 ; bnez x18, top
    {} ; j main
"""
FENCE = 16  # behind the start


def test_code_that_a_device_writes_is_executed_after_the_fence() -> None:
    pair = Pair(program(*split(TURNS.format("fence.i"))))
    pair.warm()
    assert pair.share(1200) > 0.6
    for n in range(2, 6):
        pair.until(pair.code.start + FENCE)
        pair.put(pair.code.start + 4, assemble_line(f"addi x5, x5, {n}"))
        pair.go(1200)


def test_a_fence_in_every_turn_of_a_loop() -> None:
    pair = Pair(program(*split(STORES.format("fence.i ; addi x7, x7, 1 ; fence.i"))))
    pair.warm()
    pair.go(500)


# --- pages ------------------------------------------------------------------------------------


def test_another_page_at_the_address_of_a_region_is_executed_from_the_fence_on() -> None:
    """`sfence.vma` alone: no code has changed."""
    pair = Pair(program(*split(TURNS.format("sfence.vma")), mode="supervisor"))
    pair.put(CODE + 0x3000, pair.code.code())
    pair.put(CODE + 0x3004, assemble_line("addi x5, x5, 9"))
    pair.warm()
    assert pair.share(1200) > 0.6
    for page in (CODE + 0x3000, CODE, CODE + 0x3000):
        pair.until(pair.code.start + FENCE)
        pair.put(LEAVES[0] + 0x80, struct.pack("<Q", page >> 12 << 10 | 0xCB))
        pair.go(1200)


def test_one_page_at_two_addresses_has_translations_at_both() -> None:
    text = """
    main: ; li x18, 30
    top: ; auipc x7, 0 ; add x5, x5, x7 ; addi x18, x18, -1 ; bnez x18, top
        auipc x28, 0 ; li x29, 0x40000 ; xor x28, x28, x29 ; addi x28, x28, 18 ; jr x28
        c.nop ; c.nop ; c.nop ; j main
    """
    pair = Pair(program(*split(text), mode="supervisor"))
    for _ in range(12):
        pair.go(170)
    assert pair.share(600) > 0.3


STRADDLE = """
main: ; li x18, 30 ; c.nop
top: ; addi x5, x5, 1
    addi x6, x6, 2
    addi x18, x18, -1 ; bnez x18, top ; {} ; j main
"""


@pytest.mark.parametrize("mode", ["machine", "supervisor"])
@pytest.mark.parametrize("before", [8, 10, 12, 14, 16, 18])
def test_an_instruction_across_two_pages_is_part_of_a_region(mode: str, before: int) -> None:
    pair = Pair(program(*split(STRADDLE.format("nop")), mode=mode, offset=PAGE_SIZE - before))
    pair.warm()
    assert pair.share(300) > 0.8 or before == 8  # a head across pages is no way in
    for budget in (1, 2, 3, 4, 5, 6, 7):
        pair.go(budget)


@pytest.mark.parametrize("before", [10, 12, 14, 18])
def test_a_region_is_left_when_its_second_page_is_taken_away(before: int) -> None:
    pair = Pair(
        program(*split(STRADDLE.format("sfence.vma")), mode="supervisor", offset=PAGE_SIZE - before)
    )
    pair.warm()
    for page, rights in ((0, 0), (CODE + 0x1000, 0xCB), (DATA, 0xCB)):
        pair.put(LEAVES[0] + 8 * 0x11, struct.pack("<Q", page >> 12 << 10 | rights))
        pair.both(Hart.flush_translations)
        pair.go(50)


def test_a_page_is_marked_dirty_by_no_store_that_a_trap_kept_from_happening() -> None:
    """Though one look at the address was for the load, which happened, and for the store."""
    text = """
    main: ; li x18, 60
    top: ; addi x5, x5, 1 ; ld x6, 0(x28) ; ld x7, 0(x29) ; sd x7, 8(x28)
        addi x18, x18, -1 ; bnez x18, top ; j main
    """
    pair = Pair(program(*split(text), mode="supervisor"))
    pair.set(28, WINDOW + 0x2_1000)
    pair.set(29, WINDOW + 0x2_2000)
    pair.warm()
    assert pair.share(300) > 0.8
    pair.until(pair.code.start + 4)
    pair.set(28, WINDOW + 0x2_3000)
    pair.set(29, 0x7000_0000)
    pair.go(10)


def test_pages_that_change_places_under_a_loop_are_seen() -> None:
    text = """
    main: ; li x18, 200
    top: ; ld x5, 0(x10) ; add x6, x6, x5 ; sd x6, 8(x10) ; addi x18, x18, -1 ; bnez x18, top
        li x12, 0x1000 ; xor x13, x13, x12
        li x29, 0x20008000 ; srli x12, x13, 2 ; add x29, x29, x12 ; ori x29, x29, 0xc7
        li x28, {} ; li x25, 1 ; ecall ; j main
    """.replace("{}", f"{LEAVES[0] + 8 * 0x21:#x}")
    pair = Pair(program(*split(text), mode="supervisor"))
    pair.start(x=(*pair.code.x[:10], WINDOW + 0x2_1000, *pair.code.x[11:]))
    pair.warm()
    for _ in range(10):
        pair.go(197)
    assert pair.share(1200) > 0.4


# --- floating point ---------------------------------------------------------------------------


def test_flags_are_those_of_the_instructions_executed() -> None:
    text = STORES.format("fadd.d f1, f1, f2, dyn ; fdiv.d f3, f2, f4, dyn ; fmul.d f4, f4, f5, dyn")
    pair = Pair(program(*split(text)))
    pair.warm()
    assert pair.share(200) > 0.8
    pair.start()
    for _ in range(40):
        pair.both(lambda hart: setattr(hart.state, "fflags", 0))
        pair.go(1)
    pair.both(lambda hart: setattr(hart.state, "fflags", 0))
    pair.go(100)


def test_another_rounding_mode_is_used_from_the_next_instruction_on() -> None:
    turn = "fdiv.d f1, f2, f3, dyn ; fadd.s f4, f5, f6, dyn ; fcvt.w.d x7, f1, dyn ; csrw frm, x8"
    text = STORES.format(turn + " ; fdiv.d f7, f2, f3, dyn ; addi x8, x8, 1 ; andi x8, x8, 3")
    pair = Pair(program(*split(text)))
    for _ in range(40):
        pair.go(37)


def test_floating_point_that_is_turned_off_traps_within_a_region() -> None:
    text = STORES.format("fadd.d f1, f1, f2, dyn ; fsd f1, 0(x10)")
    switch = "li x29, 0x6000 ; andi x8, x6, 16 ; bnez x8, on ; csrc mstatus, x29 ; j to"
    switch += " ; on: ; csrs mstatus, x29 ; to:"
    text = text.replace("addi x6", f"{switch} ; addi x6")
    pair = Pair(program(*split(text)))
    for _ in range(30):
        pair.go(61)


# --- control flow -----------------------------------------------------------------------------


def test_calls_nested_and_recursive_with_a_return_address_that_is_changed() -> None:
    text = """
    main: ; li x2, DATA+0x4000 ; li x24, 9 ; jal x1, f ; j main
    f: ; addi x2, x2, -16 ; sd x1, 0(x2) ; addi x24, x24, -1 ; blez x24, end
        jal x1, f ; addi x5, x5, 1 ; jal x1, f ; jal x1, g ; c.addi x8, 1 ; c.addi x9, 1
    end: ; ld x1, 0(x2) ; addi x2, x2, 16 ; ret
    g: ; addi x6, x6, 1 ; andi x29, x6, 2 ; add x1, x1, x29 ; ret
    """
    pair = Pair(program(*split(text)))
    pair.warm()
    for budget in range(1, 40):
        pair.go(budget)
    assert pair.share(1000) > 0.7


def test_a_switch_learns_its_cases() -> None:
    text = """
    main: ; li x18, 60
    top: ; addi x5, x5, 5 ; andi x29, x5, 7 ; la x28, table ; sh3add x28, x29, x28 ; ld x28, 0(x28)
        jr x28
    one: ; addi x6, x6, 1 ; j next
    two: ; xor x6, x6, x5 ; j next
    three: ; slli x6, x6, 1
    next: ; addi x18, x18, -1 ; bnez x18, top ; j main
    .align
    table: ; .pc one ; .pc two ; .pc three ; .pc one ; .pc two ; .pc two ; .pc three ; .pc next
    """
    pair = Pair(program(*split(text)))
    pair.go(9000)
    assert pair.share(1000) > 0.8
    for budget in range(1, 30):
        pair.go(budget)


def test_a_jump_into_the_middle_of_an_instruction_goes_where_it_says() -> None:
    text = """
    main: ; li x18, 30
    top: ; la x28, over ; andi x29, x18, 2 ; add x28, x28, x29 ; jr x28
    over: ; .word 0x04050337
        addi x18, x18, -1 ; bnez x18, top ; j main
    """
    pair = Pair(program(*split(text)))
    pair.go(3000)
    for budget in range(1, 30):
        pair.go(budget)


def test_a_return_address_that_is_odd_makes_no_way_in_at_an_odd_address() -> None:
    """There the bytes are `addi x5, x5, -1` and a jump back to it; what executes is something
    else, or traps. A record at an odd address would lie over two others."""
    text = """
    main: ; la x1, even+1 ; li x18, 50
    top: ; addi x5, x5, 1 ; addi x18, x18, -1 ; bnez x18, top
        jr x1
    even: ; .half 0x9301 ; .half 0xf282 ; .word 0xdff06fff ; .word 0xff
        j main
    """
    pair = Pair(program(*split(text)))
    pair.go(5000)
    assert pair.share(400) > 0.4


# --- breakpoints ------------------------------------------------------------------------------


def test_a_breakpoint_within_a_region_stops_in_front_of_it_each_time() -> None:
    pair = Pair(program(*split(LOOP)))
    pair.warm()
    for at in range(0, 60, 4):
        pair.stop_at(pair.code.start + at)
        pair.go(100)
        pair.go(3)
        pair.go(100)
        pair.stop_at()
        pair.go(50)
    assert pair.share(400) > 0.8


def test_a_breakpoint_holds_although_its_page_is_hot_at_another_address() -> None:
    text = """
    main: ; li x18, 5
    top: ; addi x5, x5, 1 ; addi x18, x18, -1 ; bnez x18, top
        auipc x28, 0 ; li x29, 0x40000 ; xor x28, x28, x29 ; addi x28, x28, 18 ; jr x28
        c.nop ; c.nop ; c.nop ; j main
    """
    pair = Pair(program(*split(text), mode="supervisor"))
    pair.go(2000)
    pair.stop_at(pair.code.start + 4)
    for _ in range(40):
        assert pair.go(300) == "breakpoint"
