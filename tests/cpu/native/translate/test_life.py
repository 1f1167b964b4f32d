"""From a request to the end: translations that come late, too many of them, and what survives."""

from __future__ import annotations

import time
from functools import partial

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.cpu import native
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine, engine
from emu.cpu.native.records import first_region
from emu.cpu.native.translate import translator
from emu.cpu.native.translate.translation import Translation
from emu.isa.assemble import assemble_line
from emu.machine import Machine
from tests.cpu.agreement.program import BASE, assemble
from tests.cpu.native.translate.guest import AT, Pair, program, split

LOOP = """
main: ; li x18, 40
top: ; addi x5, x5, 3 ; xor x6, x6, x5 ; sd x6, 0(x10) ; ld x7, 8(x10) ; andi x29, x5, 4
    beqz x29, even ; jal x1, f
even: ; addi x18, x18, -1 ; bnez x18, top ; j main
f: ; mul x8, x5, x6 ; add x9, x9, x8 ; ret
"""


def _background(hart: Hart) -> NativeEngine:
    return NativeEngine(hart, translate="background")


def test_a_translation_that_comes_at_any_time_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(engine, "FIRST_SLICE", 50)
    pair = Pair(program(*split(LOOP)), _background)
    end = time.monotonic() + 60
    while not pair.seen.hart.state.translated:
        pair.go(333)
        assert time.monotonic() < end
    for budget in range(300, 340):
        pair.go(budget)


def test_an_engine_may_go_while_its_request_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "FIRST_SLICE", 50)
    for _ in range(3):
        pair = Pair(program(*split(LOOP)), _background)
        pair.go(400)
        del pair
    again = Pair(program(*split(LOOP)), _background)
    again.go(400)


@pytest.mark.parametrize(
    ("limit", "most"), [("HANDLERS", first_region() + 6), ("MOST_BYTES", 4096)]
)
def test_when_there_are_too_many_all_are_forgotten_and_made_anew(
    monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    monkeypatch.setattr(translator, limit, most)
    loops = [
        f"li x18, 150 ; l{n}: ; addi x5, x5, {n} ; xor x6, x6, x5 ; csrr x7, mscratch ;"
        f" addi x7, x7, {n} ; addi x18, x18, -1 ; bnez x18, l{n}"
        for n in range(8)
    ]
    pair = Pair(program("main:", *loops, "j main"))
    for _ in range(40):
        pair.go(500)
    assert pair.seen.hart.state.translated > 1000


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine that translates at once, in a loop over an instruction at 0x80000004."""
    eager = partial(native.NativeEngine, translate="eager")
    monkeypatch.setattr(native, "NativeEngine", eager)
    text = "main: ; li x18, 300 ; top: ; addi x5, x5, 1 ; addi x18, x18, -1 ; bnez x18, top"
    code = assemble(tuple(split(text + " ; fence.i ; j main")), AT, {}, 4096)
    return Machine(board.load("edge"), bios=code, console=MemoryConsole())


def test_a_snapshot_goes_on_the_same_way_with_translations_open(machine: Machine) -> None:
    with machine:
        machine.run(max_instructions=5_000)
        assert machine.hart.state.translated > 1000
        saved = machine.snapshot()
        machine.run(max_instructions=3_333)
        expected = list(machine.hart.state.x), machine.hart.state.pc, machine.hart.instret
        for _ in range(2):
            machine.restore(saved)
            machine.run(max_instructions=3_333)
            assert expected == (
                list(machine.hart.state.x), machine.hart.state.pc, machine.hart.instret,
            )  # fmt: skip


def test_code_changed_since_a_snapshot_is_what_it_was_when_that_is_restored(
    machine: Machine,
) -> None:
    def counted() -> int:
        machine.run(max_instructions=901)  # from one fence to the next
        before = machine.hart.state.x[5]
        machine.run(max_instructions=903)
        return machine.hart.state.x[5] - before

    with machine:
        machine.run(max_instructions=5_000)
        saved = machine.snapshot()
        assert counted() == 300
        machine.memory.view(AT + 4, 4)[:] = assemble_line("addi x5, x5, 7")
        counted()
        assert counted() == 2100
        machine.restore(saved)
        assert counted() == 300


def test_code_on_ever_new_pages_leaves_no_trace_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(translator, "MOST_WARM", 3)
    steps = [f"li x18, 60 ; l{n}: ; addi x18, x18, -1 ; csrr x7, cycle ; bnez x18, l{n} ; .page"
             for n in range(6)]  # fmt: skip
    pair = Pair(program("main:", *steps, "j main"))
    for _ in range(30):
        pair.go(400)


def test_ways_in_that_are_still_there_are_not_written_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written: list[int] = []
    fill = translator.fill_record

    def note(record: int, word: int, handler: int) -> None:
        written.append(handler)
        fill(record, word, handler)

    monkeypatch.setattr(translator, "fill_record", note)
    often = "main: ; li x18, 30 ; a: ; addi x5, x5, 1 ; addi x18, x18, -1 ; bnez x18, a ; fence.i"
    once = "bnez x9, main ; li x18, 900 ; b: ; addi x18, x18, -1 ; bnez x18, b ; li x9, 1 ; j main"
    pair = Pair(program(*split(often), *split(once)))
    pair.go(20_000)
    assert written
    written.clear()
    pair.go(20_000)
    assert not written


def test_a_region_made_without_a_window_is_made_anew_when_there_is_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    starts: list[int] = []
    install = translator.Translator._install

    def note(self: translator.Translator, translation: Translation) -> None:
        starts.append(translation.window_start)
        install(self, translation)

    monkeypatch.setattr(translator.Translator, "_install", note)
    with monkeypatch.context() as closed:
        closed.setattr(NativeEngine, "_open_window", lambda self, vaddr: None)
        pair = Pair(program(*split(LOOP)))
        pair.go(2000)
        assert set(starts) == {0}
    pair.both(Hart.flush_translations)  # a store must miss to be noticed
    pair.go(4000)
    assert starts[-1] == BASE
    assert pair.share(1000) > 0.8
