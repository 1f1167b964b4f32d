"""The interpreter's code: made in haste by a first run, and well for all others."""

from __future__ import annotations

import importlib
import sys
import time
import weakref
from pathlib import Path

import pytest

from emu.bus import Bus
from emu.cpu import background, early
from emu.cpu.early import GOOD
from emu.cpu.hart import Hart
from emu.cpu.jit import Code
from emu.cpu.native import NativeEngine, handlers
from emu.isa.assemble import assemble_line
from emu.memory import Memory

RAM = 0x8000_0000
LOOP = ("addi x5, x5, 1", "xor x6, x6, x5", "jal x0, -8")


@pytest.fixture
def first_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Code]:
    """No code at all, loaded or kept, and no process that keeps it elsewhere; gives what comes to
    be loaded."""
    monkeypatch.setattr(background, "_services", weakref.WeakValueDictionary())
    loaded: dict[str, Code] = {}
    monkeypatch.setattr(handlers, "_loaded", loaded)
    monkeypatch.setattr(early, "_begun", [])
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path))
    return loaded


def test_a_first_run_goes_over_to_the_good_code_when_that_is_there(
    first_run: dict[str, Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Memory(RAM, 1 << 20)
    hart = Hart(Bus(memory), memory)
    hart.reset(RAM)
    code = b"".join(map(assemble_line, LOOP))
    memory.view(RAM, len(code))[:] = code
    engine = NativeEngine(hart)
    assert [*first_run] == ["hasty"]
    hasty = hart.state.handlers[0]
    assert engine.run(300) == "budget"
    assert hart.state.x[5] == 100
    end = time.monotonic() + 60
    done = 300
    while "good" not in first_run and time.monotonic() < end:
        time.sleep(0.05)
        done += 60_000
        assert engine.run(60_000) == "budget"
    assert hart.state.handlers[0] != hasty
    assert engine.run(300) == "budget"
    assert hart.state.x[5] == (done + 300) // 3
    assert hart.state.instret == done + 300


def test_a_run_that_finds_good_code_takes_that(first_run: dict[str, Code]) -> None:
    handlers.compiled_interpreter(GOOD)
    handlers.interpreter_code(in_haste=True)
    assert [*first_run] == ["good"]


def test_code_that_was_asked_for_early_is_not_made_here(
    first_run: dict[str, Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    early.begin()

    def refuse(kind: bytes) -> bytes:
        raise AssertionError("it is being made elsewhere")

    monkeypatch.setattr(handlers, "compiled_interpreter", refuse)
    assert handlers.interpreter_code(in_haste=True) is first_run["hasty"]
    assert early.kept_interpreter(early.HASTY) is not None
    monkeypatch.setattr(early, "_begun", [])
    early.begin()  # now it is kept
    assert early.take() is None


def test_without_processes_it_is_made_here(
    first_run: dict[str, Code], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    early.begin()
    assert handlers.interpreter_code(in_haste=True) is first_run["hasty"]


def test_kept_code_depends_on_every_routine_that_it_has() -> None:
    """The interpreter has the routines as functions: an edited one must not find the old code."""
    importlib.import_module("emu.cpu.native.interpreter")  # which imports them all
    with_routines = {
        name
        for name, module in sys.modules.items()
        if name.startswith("emu.cpu.") and hasattr(module, "Routine")
    }
    assert {"emu.cpu.traps", "emu.cpu.csr"} <= with_routines
    missing = {n for n in with_routines if not n.startswith(tuple(early.SOURCES))}
    assert not missing
