"""Inner loops that are guarded once for many turns, and do what every turn by itself would do."""

from __future__ import annotations

import pytest

from emu.cpu.native.translate import loops
from emu.cpu.native.translate.loops import Loop, inner_loops
from emu.cpu.native.translate.region import discover
from tests.cpu.agreement.program import BASE, DATA, SIZE
from tests.cpu.native.translate.guest import AT, Pair, image, program, split

TURNS = 4


@pytest.fixture(autouse=True)
def few_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guards that look ahead so little that short runs pass them often."""
    monkeypatch.setattr(loops, "TURNS", TURNS)


def loops_of(text: str) -> list[Loop]:
    region = discover(image(split(text)), (AT,), {})
    assert region is not None
    return inner_loops(region)


def test_a_guard_looks_at_all_that_its_turns_and_one_more_can_reach() -> None:
    text = "top: ; ld x5, 8(x10) ; sd x5, -16(x10) ; lb x6, 3(x11) ; addi x10, x10, 24 ; j top"
    (loop,) = loops_of(text)
    assert loop.reach == {10: (-16, 16 + 24 * TURNS), 11: (3, 4)}
    assert (loop.head, loop.shortest, loop.chunk) == (AT, 5, 5 * TURNS)
    assert loop.sure == {(AT, 0), (AT + 4, 0), (AT + 8, 0)}


def test_steps_down_and_in_several_additions_count_as_their_sum() -> None:
    text = "top: ; addi x10, x10, -16 ; ld x5, 0(x10) ; addi x10, x10, 8 ; sw x5, 4(x10) ; j top"
    (loop,) = loops_of(text)
    assert loop.reach == {10: (-16 - 8 * TURNS, 0)}


def test_a_register_that_is_loaded_or_that_differs_from_way_to_way_is_not_relied_on() -> None:
    assert loops_of("top: ; ld x10, 0(x10) ; j top") == []
    text = "top: ; ld x5, 0(x10) ; addi x10, x10, 8 ; beqz x5, top ; addi x10, x10, 8 ; j top"
    assert loops_of(text) == []
    text = "top: ; ld x5, 0(x10) ; beqz x5, over ; addi x10, x10, 8 ; over: ; j top"
    assert loops_of(text) == []


def test_the_shortest_way_around_says_how_often_the_guard_is_asked() -> None:
    text = "top: ; ld x5, 0(x10) ; beqz x5, over ; addi x6, x6, 1 ; addi x7, x7, 1 ; over: ; j top"
    (loop,) = loops_of(text)
    assert loop.shortest == 3


def test_only_the_inner_one_of_two_loops_has_a_guard() -> None:
    text = """
    outer: ; ld x7, 0(x11)
    top: ; ld x5, 0(x10) ; addi x10, x10, 8 ; bnez x5, top ; addi x11, x11, 8 ; j outer
    """
    assert [loop.head for loop in loops_of(text)] == [AT + 4]


COPY = """
main: ; {} ; li x18, 25
top: ; ld x5, 0(x28) ; addi x6, x6, 1 ; sd x6, 8(x28) ; {} ; addi x28, x28, {}
    addi x18, x18, -1 ; bnez x18, top ; j main
"""


@pytest.mark.parametrize("step", [8, 1, -8, 40, 0, 2000])
@pytest.mark.parametrize(
    "inside", ["nop", "andi x29, x6, 3 ; bnez x29, odd ; mul x7, x6, x5 ; odd:"]
)
def test_a_run_may_end_in_any_turn(step: int, inside: str) -> None:
    pair = Pair(program(*split(COPY.format("mv x28, x10", inside, step))))
    pair.warm()
    for budget in [*range(1, 120, 3), 199, 200]:
        pair.start()
        pair.go(budget)
    assert pair.share(600) > 0.7


@pytest.mark.parametrize("step", [8, 1, 16, 24])
def test_the_end_of_memory_is_met_in_the_turn_that_reaches_it(step: int) -> None:
    """Accesses trap from then on; the handler goes on behind each."""
    pair = Pair(program(*split(COPY.format("mv x28, x12", "nop", step))))
    pair.warm()
    for before in range(4, 64 + 8 * step, 5):
        pair.start()
        pair.set(12, BASE + SIZE - before)
        pair.go(150)


@pytest.mark.parametrize("step", [-8, -16, -24])
def test_so_is_its_begin(step: int) -> None:
    loads = COPY.replace("sd x6, 8(x28)", "lw x7, 8(x28)")
    pair = Pair(program(*split("sd x5, 0(x10) ;" + loads.format("mv x28, x12", "nop", step))))
    pair.warm()
    for behind in range(0, 64 - 8 * step, 5):
        pair.start()
        pair.set(12, BASE + behind)
        pair.go(150)


def test_a_store_to_the_code_of_the_loop_itself_is_seen_after_the_fence() -> None:
    """Memory in the window is all of RAM, code too."""
    text = """
    main: ; la x28, top ; li x18, 20
    top: ; lw x5, 0(x28) ; sw x5, 0(x28) ; addi x28, x28, 4 ; addi x18, x18, -1 ; bnez x18, top
        la x28, top ; lui x12, 0x100 ; lw x29, 8(x28) ; xor x29, x29, x12 ; sw x29, 8(x28)
        fence.i ; j main
    """
    pair = Pair(program(*split(text)))
    for _ in range(20):
        pair.go(190)


def test_interrupts_come_between_any_two_instructions() -> None:
    pair = Pair(program(*split(COPY.format(f"li x28, {DATA:#x}", "nop", 8))))
    pair.warm()
    for before in range(2, 60):
        pair.start()
        pair.go(before)
        pair.go(60, lines=1 << 7)
