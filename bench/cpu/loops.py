"""How fast the interpreter executes assembled loops, without translations, and how soon it starts.

Millions of guest instructions a second (MIPS), the best of a few runs. Then, how long the engine
takes to start from a warm cache, in milliseconds.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable

from bench.report import Report
from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.isa.assemble import assemble_line
from emu.memory import Memory

RAM = 0x8000_0000

LOOPS = {
    "integer loop": ("addi x5, x5, 1", "xor x6, x6, x5", "slli x7, x6, 3", "add x8, x8, x7",
                     "sltu x9, x8, x6", "bne x5, x0, -20"),
    "load and store loop": ("auipc x10, 16", "ld x5, 0(x10)", "addi x5, x5, 1", "sd x5, 0(x10)",
                            "lw x6, 4(x10)", "bne x10, x0, -16"),
    "CSR loop": ("csrrs x5, mscratch, x0", "jal x0, -4"),
}  # fmt: skip


def make_engine() -> NativeEngine:
    """An engine on a hart with 16 MiB of RAM and nothing else."""
    memory = Memory(RAM, 16 << 20)
    hart = Hart(Bus(memory), memory)
    hart.reset(RAM)
    return NativeEngine(hart, translate="off")


def load_loop(lines: tuple[str, ...]) -> NativeEngine:
    """An engine about to execute an assembled loop."""
    engine = make_engine()
    code = b"".join(assemble_line(line) for line in lines)
    engine.hart.memory.view(RAM, len(code))[:] = code
    return engine


def mips(engine: NativeEngine, seconds: float = 0.3, runs: int = 4) -> float:
    """Millions of instructions a second, the best of `runs`, each about `seconds` long."""
    budget, best = 20_000, 0.0
    for _ in range(30):
        start = time.perf_counter()
        outcome = engine.run(budget)
        elapsed = time.perf_counter() - start
        if outcome != "budget" or engine.hart.csr.mcause:
            raise RuntimeError(f"the program ended with '{outcome}' at {engine.hart.state.pc:#x}")
        if elapsed < seconds:
            budget = int(budget * min(10, 1.5 * seconds / elapsed))
            continue
        best = max(best, budget / elapsed / 1e6)
        runs -= 1
        if not runs:
            break
    return best


def start_milliseconds() -> float:
    """From an interpreter just started to the first guest instruction executed."""
    program = (
        "import time; t = time.perf_counter(); from bench.cpu.loops import make_engine;"
        "make_engine().run(1); print(1e3 * (time.perf_counter() - t))"
    )
    runs = [subprocess.check_output([sys.executable, "-c", program]) for _ in range(5)]
    return min(float(run) for run in runs)


def measure() -> Report:
    """All figures; the summary has the slowest loop and the warm start."""
    todo: dict[str, Callable[[], NativeEngine]] = {
        name: lambda lines=lines: load_loop(lines)  # type: ignore[misc]
        for name, lines in LOOPS.items()
    }
    report = Report()
    for name, make in todo.items():
        report.add(name, mips(make()), "MIPS")
    least = min(row.value for row in report.rows)
    start = start_milliseconds()
    report.add("warm start", start, "ms")
    report.summary = {"least_loop_mips": least, "start_ms": start}
    return report
