"""Sharing the work of a step: the same result however many threads there are, and clean ends."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from emu.cpu.tensor import threads
from emu.cpu.tensor.emit import F32, I64, Block, Emitter
from emu.cpu.tensor.faults import Operand, TensorFault
from emu.cpu.tensor.kernels import THREADS_MAX, kernel
from emu.cpu.tensor.plan import REGIONS, Place, Plan, planning
from emu.errors import AiosError

COUNT = 10_007
_BLOCK = Block("to source count")


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    before = threads.count()
    yield
    threads.set_count(before)


def _write_roots(e: Emitter) -> None:
    """The square roots of this part's elements; which part it was is kept behind them."""
    b, count = e.b, e.word("count")
    first = b.udiv(b.mul(count, e.part), e.parts)
    last = b.udiv(b.mul(count, b.add(e.part, e.const(I64, 1))), e.parts)
    with e.loop(first, last) as loop:
        at = b.shl(loop.index, e.const(I64, 2))
        value = e.load(e.offset(e.pointer("source"), at), F32)
        e.store(e.intrinsic("llvm.sqrt", F32, value), e.offset(e.pointer("to"), at))
    e.store(e.part, e.offset(e.pointer("to"), b.shl(b.add(count, e.part), e.const(I64, 3))))


def _roots(steps: int = 1, is_large: bool = True) -> Plan:
    """Each step takes the roots of what the one before has left."""
    run = kernel("test roots", _BLOCK, _write_roots, parallel=True)
    with planning() as plan:
        for i in range(steps):
            run(to=Place(0), source=Place(0 if i else 1), count=COUNT)
    plan.is_large = is_large
    return plan


def _run(plan: Plan) -> tuple[np.ndarray[tuple[int], np.dtype[np.float32]], list[int]]:
    """The results and the parts that were done."""
    source = np.random.default_rng(5).random(COUNT, np.float32)
    target = np.full(2 * COUNT + 2 * THREADS_MAX, -1, np.float32)
    bases = [0] * REGIONS
    bases[:2] = target.ctypes.data, source.ctypes.data
    plan.run(bases)
    parts = target[2 * COUNT :].view(np.int64)
    return target[:COUNT].copy(), [int(p) for p in parts if 0 <= p < THREADS_MAX]


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_results_do_not_depend_on_the_number_of_threads(count: int) -> None:
    threads.set_count(1)
    alone, parts = _run(_roots(5))
    assert parts == [0]
    threads.set_count(count)
    for _ in range(20):
        together, parts = _run(_roots(5))
        assert together.tobytes() == alone.tobytes()
        assert parts == [*range(count)]


def test_a_plan_made_for_one_thread_uses_those_that_come_later() -> None:
    threads.set_count(1)
    plan = _roots()
    for count in (1, 2, 1, 3):
        threads.set_count(count)
        assert _run(plan)[1] == [*range(count)]


def test_a_small_plan_stays_with_one_thread() -> None:
    threads.set_count(2)
    assert _run(_roots(is_large=False))[1] == [0]


def test_many_steps_in_quick_succession_all_end() -> None:
    threads.set_count(4)
    expected = np.random.default_rng(5).random(COUNT, np.float32)
    for _ in range(60):
        expected = np.sqrt(expected)
    for _ in range(10):
        np.testing.assert_array_equal(_run(_roots(60))[0], expected)


def test_a_check_that_fails_names_its_operand() -> None:
    def write(e: Emitter) -> None:
        e.fail_if(e.b.icmp_signed(">", e.word("count"), e.const(I64, 3)))

    for count, fails in ((3, False), (4, True)):
        with planning() as plan:
            kernel("test check", _BLOCK, write).check(Operand.SECOND, count=count)
        if fails:
            with pytest.raises(TensorFault, match="INDEX of operand SECOND"):
                plan.run([0] * REGIONS)
        else:
            plan.run([0] * REGIONS)


@pytest.mark.parametrize("number", [0, 9, -1])
def test_a_number_that_cannot_be_is_refused(number: int) -> None:
    with pytest.raises(ValueError, match="no number of threads"):
        threads.set_count(number)


@pytest.mark.parametrize("text", ["", "0", "9", "two", "-1"])
def test_a_setting_without_meaning_is_an_error_in_a_sentence(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(threads.VARIABLE, text)
    with pytest.raises(AiosError, match=r"it should be a number from 1 to 8\.$"):
        threads._usual()


def _in_a_process(program: str) -> str:
    environment = {**os.environ, threads.VARIABLE: "3"}
    head = "import os, sys; from tests.tensor.test_threads import _roots, _run, threads;"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", head + program],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_process_with_threads_ends() -> None:
    assert _in_a_process("print(_run(_roots())[1])") == "[0, 1, 2]\n"
    program = "_run(_roots()); threads.set_count(1); print(_run(_roots())[1])"
    assert _in_a_process(program) == "[0]\n"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_has_threads_of_its_own() -> None:
    program = """
_run(_roots())
child = os.fork()
parts = _run(_roots())[1]
if not child:
    sys.exit(parts != [0, 1, 2])
assert os.waitpid(child, 0)[1] == 0
print(parts)
"""
    assert _in_a_process(program) == "[0, 1, 2]\n"
