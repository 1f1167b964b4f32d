"""Limits end a run within translations, too: with one hart or several, awake or asleep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.cpu import native
from emu.machine import CODE_LIMIT, Machine
from tests.cpu.agreement.program import assemble
from toolchain.time_limit import TimeIsOver, TimeLimit

_LIMIT_S = 0.3
_LOOPS = {
    "jumps to itself": "main: ; j main",
    "computes": "main: ; addi x5, x5, 1 ; xor x6, x6, x5 ; bnez x5, main ; j main",
    "loads and stores": "main: ; la x8, main ; sd x5, 1024(x8) ; ld x6, 1024(x8) ; j main",
    "calls": "main: ; jal x1, f ; j main ; f: ; addi x5, x5, 1 ; ret",
    "jumps by a register": "main: ; la x8, main ; addi x5, x5, 1 ; jr x8",
    "reads the time": "main: ; csrr x6, time ; addi x5, x5, 1 ; j main",
    "traps": "la x5, main ; csrw mtvec, x5 ; .align ; main: ; addi x6, x6, 1 ; ecall",
    "fences": "main: ; li x7, 400 ; top: ; addi x7, x7, -1 ; bnez x7, top ; fence.i ; j main",
    "sleeps": "main: ; li x7, 900 ; top: ; addi x7, x7, -1 ; bnez x7, top ; wfi ; j main",
}
_LIMITS = (3_000, 50_000, 50_001, 61_234)
Make = Callable[[str, int], Machine]


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch) -> Iterator[Make]:
    """Makes machines with a guest and so many harts that translate at once."""
    eager = partial(native.NativeEngine, translate="eager")
    monkeypatch.setattr(native, "NativeEngine", eager)
    machines = []

    def start(name: str, harts: int) -> Machine:
        lines = tuple(line.strip() for line in _LOOPS[name].split(";"))
        edge = board.load("edge")
        edge = replace(edge, cpu=replace(edge.cpu, harts=harts))
        code = assemble(lines, 0x8000_0000, {}, 4096)
        machines.append(Machine(edge, bios=code, console=MemoryConsole()))
        return machines[-1]

    yield start
    for machine in machines:
        machine.close()


def _run_for_a_while(machine: Machine) -> None:
    """As `aios run --timeout` does it."""
    with TimeLimit(_LIMIT_S) as limit, suppress(TimeIsOver):
        limit.start(machine)
        machine.run()


@pytest.mark.parametrize("harts", [1, 3])
@pytest.mark.parametrize("name", [name for name in _LOOPS if name != "sleeps"])
def test_a_number_of_instructions_ends_a_run_of_translations(
    make: Make, name: str, harts: int
) -> None:
    machine = make(name, harts)
    for limit in _LIMITS:
        assert machine.run(max_instructions=limit).code == CODE_LIMIT
    retired = sum(hart.instret for hart in machine.harts)
    if name == "traps":  # every second instruction, an ECALL, does not retire
        assert 0 <= retired - sum(_LIMITS) // 2 <= 10 * harts
        return
    assert retired == sum(_LIMITS)
    if name != "reads the time":  # too little between two readings
        assert sum(hart.state.translated for hart in machine.harts) > 1000 * harts


def test_harts_that_sleep_for_ever_after_translations_end_the_run_by_a_timeout(make: Make) -> None:
    machine = make("sleeps", 2)
    _run_for_a_while(machine)
    assert [hart.waiting for hart in machine.harts] == [True, True]


@pytest.mark.parametrize("harts", [1, 3])
@pytest.mark.parametrize("name", ["jumps to itself", "loads and stores", "fences"])
def test_a_timeout_ends_a_run_of_translations(make: Make, name: str, harts: int) -> None:
    machine = make(name, harts)
    machine.run(max_instructions=20_000)
    start = time.monotonic()
    _run_for_a_while(machine)
    assert time.monotonic() - start < _LIMIT_S + 20
