"""Hostile guests by the thousand: `python -m tests.safety.campaign SECONDS` looks for one that
crashes, hangs or confuses the host.

Trials run in a child process, so that even a host crash is only a finding. A trial is a function of
a seeded random generator; a finding names its kind and seed, and `--child KIND SEED 1` repeats it.
Guest RAM lies between pages that nobody may touch: an access beyond it is a crash, not luck.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import itertools
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
BASE, SIZE = 0x8000_0000, 1 << 22
_GUARD = 1 << 24
_TRIAL_SECONDS, _WAITING_SECONDS = 20, 200
"""What a trial may take, of the processor's time and of the wall's."""
_PROT_NONE = 0


@dataclass(frozen=True)
class Finding:
    """A trial that went wrong, and what the child said."""

    kind: str
    seed: int
    what: str


def guarded_memory():
    """RAM of `SIZE` bytes at `BASE` between forbidden pages."""
    from emu.memory import Memory

    memory = Memory(BASE - _GUARD, SIZE + 2 * _GUARD)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    protect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start in (memory.host_address, memory.host_address + _GUARD + SIZE):
        if protect(start, _GUARD, _PROT_NONE):
            raise OSError(ctypes.get_errno(), "mprotect")
    memory.host_address += _GUARD
    memory.bytes = memory.bytes[_GUARD : _GUARD + SIZE]
    memory.base, memory.size, memory.end = BASE, SIZE, BASE + SIZE
    return memory


# --- numbers that programs get wrong ------------------------------------------------------------


def extent(rng: random.Random) -> int:
    """A dimension: mostly small, sometimes absurd."""
    small = [0, 1, 1, 2, 3, 3, 5, 8, 17, 33]
    absurd = [1 << 10, 1 << 16, (1 << 16) + 1, 1 << 22, 1 << 31, (1 << 32) - 1]
    return rng.choice(small if rng.random() < 0.85 else absurd)


def word(rng: random.Random) -> int:
    """64 bits with a taste for edges."""
    edges = [0, 1, 4, 8, BASE, BASE + SIZE, BASE + SIZE - 4, 0x1000, 0x1000_0000, 0x200_0000]
    if rng.random() < 0.6:
        return (rng.choice(edges) + rng.randint(-9, 9)) % (1 << 64)
    return rng.getrandbits(rng.choice([8, 16, 31, 32, 39, 56, 63, 64]))


# --- tensor instructions ------------------------------------------------------------------------

_CUSTOM_1 = 0x2B
_CODES = (1, 2, 3, 5, 6, 7, 9, 10, 11, 16)


def _strides(rng: random.Random, dims: list[int]) -> list[int]:
    style, step, strides = rng.random(), 1, []
    for extent_ in reversed(dims):
        strides.append(step)
        step *= max(extent_, 1)
    strides.reverse()
    if style < 0.5:
        return [min(s, (1 << 63) - 1) for s in strides]
    wild = [0, 1, -1, 2, -7, 4096, 1 << 20, 1 << 40, 1 << 60, 1 << 61, (1 << 63) - 1, -(1 << 63)]
    chance = 0.8 if style < 0.75 else 0.2
    kept = [0 if style < 0.65 and rng.random() < 0.7 else s for s in strides]
    return [
        max(-(1 << 63), min(s, (1 << 63) - 1)) if rng.random() < chance else rng.choice(wild)
        for s in kept
    ]


def descriptor(rng: random.Random, dims: list[int], code: int) -> bytes:
    """The memory form of a descriptor with wild strides and, sometimes, a wild base."""
    rank = len(dims)
    base = BASE + rng.randrange(1 << 16, SIZE) if rng.random() < 0.9 else word(rng)
    pad = [0] * (8 - rank)
    dims, strides = dims + pad, _strides(rng, dims) + pad
    return struct.pack("<QBB6x8I8q16x", base, code, rank, *dims, *strides)


def attributes(rng: random.Random, spatial: int) -> bytes:
    """An attribute block; window fields from 0 to the end of their range."""

    def four(values: list[int]) -> list[int]:
        return [rng.choice(values) if rng.random() < 0.5 else values[0] for _ in range(4)]

    top = (1 << 32) - 1
    half = (1 << 31) - 1
    return struct.pack(
        "<BB6xIIiIff4I4I4I4i4iI12x",
        rng.choice([0, 0, 0, 1, 2, 3, 4, 5, 6]), rng.choice([0, 0, 4, 17]),
        rng.choice([0, 1, 1, 2, 3, 1 << 16, top]), rng.choice([0, 1, 2, 3]),
        rng.choice([0, -1, 1, 2, -9, half, -(1 << 31)]), rng.choice([0, spatial, 3]),
        rng.choice([0.0, 1.0, float("nan"), float("inf"), -3e38]), rng.choice([0.0, 6.0, -1.0]),
        *four([2, 1, 3, 0, top]), *four([1, 2, 0, top]), *four([1, 2, 0, half, top]),
        *four([0, 1, 2, half, -1]), *four([0, 1, 2, half, -(1 << 31)]),
        rng.choice([0, 1, 2, 3, 0x80, top]),
    )  # fmt: skip


def _shapes(rng: random.Random, mnemonic: str, spatial: int) -> list[list[int]]:
    """Dims of td, ts1, ts2 and a bias, which often fit the instruction."""
    if mnemonic == "tmatmul":
        batch = [extent(rng) for _ in range(rng.choice([0, 0, 1, 2]))]
        m, k, n = (extent(rng) for _ in range(3))
        return [[*batch, m, n], [*batch, m, k], [k, n] if rng.random() < 0.5 else [*batch, k, n],
                [n]]  # fmt: skip
    if mnemonic in ("tconv", "tmaxpool", "tavgpool"):
        images, outputs, inputs = (extent(rng) for _ in range(3))
        taps = [rng.choice([1, 2, 3, 0, 1 << 31]) for _ in range(spatial)]
        sizes = [max(extent(rng), 1) for _ in range(spatial)]
        result = [max(s - t, -1) + 1 & 0xFFFF_FFFF for s, t in zip(sizes, taps, strict=True)]
        channels = outputs if mnemonic == "tconv" else inputs
        return [[images, channels, *result], [images, inputs, *sizes], [outputs, inputs, *taps],
                [outputs]]  # fmt: skip
    dims = [extent(rng) for _ in range(rng.choice([0, 1, 1, 2, 2, 3, 8]))]
    result = dims
    if mnemonic in REDUCTIONS:
        result = dims[: len(dims) - 1] if rng.random() < 0.5 else []
    return [result, dims, dims if rng.random() < 0.7 else dims[1:], dims]


REDUCTIONS = ("tsum", "tmean", "tprod", "tredmax", "tredmin", "targmax", "targmin")


class _Operands(dict[str, str]):
    """What stands for each field of an instruction's syntax; formats ignore the suffix `:t`."""

    def __init__(self, rng: random.Random) -> None:
        super().__init__(td=_T("tr0"), ts1=_T("tr1"), ts2=_T("tr2"), field=str(rng.randrange(32)))

    def __missing__(self, field: str) -> str:
        return "x14"


class _T(str):
    """A tensor register; the syntax writes it `{td:t}`."""

    def __format__(self, spec: str) -> str:
        return str(self)


def tensor_trial(rng: random.Random) -> None:
    """One tensor instruction over absurd descriptors, executed by both engines."""
    from emu.bus import Bus
    from emu.cpu.hart import Hart
    from emu.cpu.native import NativeEngine
    from emu.cpu.reference import ReferenceEngine
    from emu.isa import TABLE
    from emu.isa.assemble import assemble_line

    names = [n for n, insn in TABLE.items() if insn.encoding.match & 0x7F == _CUSTOM_1]
    mnemonic = rng.choice([*names, *["tmatmul", "tconv", "tmaxpool", "tsoftmax", "tgather"] * 8])
    spatial = rng.choice([1, 2, 3])
    shapes = _shapes(rng, mnemonic, spatial)
    code = rng.choice(_CODES)
    codes = [code if rng.random() < 0.95 else rng.choice([*_CODES, 0, 99]) for _ in range(4)]
    if mnemonic in ("targmax", "targmin"):
        codes[0] = 7
    if mnemonic == "tgather":
        codes[2] = rng.choice([6, 7])
    memory = guarded_memory()
    hart = Hart(Bus(memory), memory)
    lines = [f"tld tr{i}, (x{10 + i})" for i in range(4)]
    lines.append(TABLE[mnemonic].syntax.format_map(_Operands(rng)))
    program = b"".join(assemble_line(line) for line in lines)
    for i, (dims, own) in enumerate(zip(shapes, codes, strict=True)):
        memory.view(BASE + 0x2000 + 128 * i, 128)[:] = descriptor(rng, dims[:8], own)
    memory.view(BASE + 0x3000, 128)[:] = attributes(rng, spatial)
    memory.view(BASE, len(program))[:] = program
    memory.view(BASE + 0x1000, 4)[:] = assemble_line("j 0")
    x = [0] * 32
    x[10:14] = [BASE + 0x2000 + 128 * i for i in range(4)]
    x[14] = rng.choice([0, BASE + 0x3000, BASE + 0x3000, BASE + 0x3001, word(rng)])
    for engine in (NativeEngine(hart), ReferenceEngine(hart)):
        hart.reset(BASE)
        hart.csr_write(0x305, BASE + 0x1000)
        hart.csr_write(0x300, 3 << 15)
        for number, value in enumerate(x[1:], 1):
            hart.state.x[number] = value
        for _ in range(3):
            engine.run(3)


# --- programs -----------------------------------------------------------------------------------

_CSRS = (
    0x300, 0x301, 0x302, 0x303, 0x304, 0x305, 0x306, 0x320, 0x340, 0x341, 0x342, 0x343, 0x344,
    0x3A0, 0x3A2, *range(0x3B0, 0x3C0), 0x100, 0x104, 0x105, 0x106, 0x140, 0x141, 0x142, 0x143,
    0x144, 0x180, 0x001, 0x002, 0x003, 0x5C0, 0x5C1, 0xB00, 0xB02, 0xC00, 0xC01, 0xF14, 0x30A,
)  # fmt: skip


def _instruction(rng: random.Random, table: list) -> int:
    """A valid encoding with random operands, a CSR access, or any 32 bits."""
    choice = rng.random()
    if choice < 0.15:
        csr = rng.choice(_CSRS) if rng.random() < 0.95 else rng.getrandbits(12)
        return csr << 20 | rng.getrandbits(5) << 15 | rng.choice([1, 2, 3, 5, 6, 7]) << 12 | (
            rng.getrandbits(5) << 7 | 0x73)  # fmt: skip
    if choice < 0.2:
        return rng.getrandbits(32)
    insn = rng.choice(table)
    return (insn.encoding.match | rng.getrandbits(32) & ~insn.encoding.mask) & 0xFFFF_FFFF


def program_trial(rng: random.Random) -> None:
    """A random program from M-mode on a whole machine: devices, any CSR, pages of code."""
    from emu import board
    from emu.console import MemoryConsole
    from emu.isa import TABLE
    from emu.machine import Machine

    table = list(TABLE.values())
    image = bytearray()
    while len(image) < 2048:
        code = _instruction(rng, table)
        image += code.to_bytes(4, "little")[: 4 if code & 3 == 3 else 2]
    machine = Machine(
        board.load("edge"), bios=bytes(image), console=MemoryConsole(b"x" * 20),
        engine=rng.choice(["native", "native", "reference"]),
    )  # fmt: skip
    memory, hart = machine.memory, machine.hart
    ends = [memory.base, memory.end, memory.end - 4096, memory.base + 0x1000]
    devices = [r.base for r in machine.bus.regions]
    for _ in range(4):
        hart.reset(rng.choice([BASE, BASE, BASE, BASE + 2, memory.end - 2, word(rng)]))
        hart.csr_write(0x305, BASE + 4 * rng.randrange(500) + rng.choice([0, 1]))
        hart.csr_write(0x300, rng.getrandbits(64) if rng.random() < 0.5 else 3 << 13 | 3 << 15)
        for number in range(1, 32):
            near = rng.choice(ends) if rng.random() < 0.6 else rng.choice(devices)
            near += rng.choice([0, 0, 8, -8, -1, -3, 0x10, 0x100, 4094])
            hart.state.x[number] = (near if rng.random() < 0.8 else word(rng)) % (1 << 64)
        for k in range(0, 64, 8):  # page tables, some of which make sense
            entry = (BASE >> 12) + rng.choice([0, 1, 512, 1 << 18]) << 10 | rng.getrandbits(8)
            memory.write(BASE + 0x1000 + k, 8, rng.choice([entry, word(rng)]))
        before = hart.instret
        machine.run(max_instructions=3000)
        assert hart.instret - before < 1 << 64
    machine.close()


# --- kernels ------------------------------------------------------------------------------------


def _lane_instruction(rng: random.Random, table: list, lanes: list) -> int:
    """A valid encoding for lanes: jumps are short, CSRs mostly such as lanes have."""
    from emu.isa.csrs import LANE_CSRS

    choice = rng.random()
    if choice < 0.02:
        return rng.getrandbits(32)
    if choice < 0.1:
        csr = rng.choice([*LANE_CSRS] * 8 + [0xC00, 0x003, 0xCC5])
        return csr << 20 | 2 << 12 | rng.getrandbits(5) << 7 | 0x73
    insn = rng.choice(lanes if choice < 0.35 else table)
    word = (insn.encoding.match | rng.getrandbits(32) & ~insn.encoding.mask) & 0xFFFF_FFFF
    immediate = insn.encoding.field("imm") or insn.encoding.field("uimm")
    moves = any(step.op in ("jump", "branch") for step in insn.steps)
    if immediate and (moves or rng.random() < 0.7):
        near = (-16, -8, 4, 8, 12, 20) if moves else (0, 8, 16, 24, -8)
        steps = [n for n in near if immediate.fits(n)]
        word = word & ~immediate.mask | immediate.insert(rng.choice(steps or [0]))
    return word


def _kernel(rng: random.Random) -> bytes:
    """Registers near the ends of every memory, or the lane's number; then what comes."""
    from emu.devices.gpu.dispatch import GROUP_BASE, PRIVATE_BASE
    from emu.isa import TABLE
    from emu.isa.assemble import assemble_line

    lanes = [i for i in TABLE.values() if i.extension == "xlane"]
    table = [i for i in TABLE.values() if i.extension not in ("privileged", "xaitensor", "xlane")]
    table += rng.sample([i for i in TABLE.values() if i.extension == "xaitensor"], 4)
    ends = [BASE, BASE + SIZE, GROUP_BASE, GROUP_BASE + 256, PRIVATE_BASE, PRIVATE_BASE + 64, 0]
    inside = [BASE + 0x8000, BASE + 0x8000, GROUP_BASE + 128, PRIVATE_BASE + 32]
    lines = []
    for number in range(3, 32):
        near = rng.choice(ends) + rng.choice([0, 4, 8, -8, -1, 64, -2000])
        kinds = [*[rng.choice(inside)] * 7, near, rng.randrange(40), word(rng)]
        value = rng.choice(kinds) % (1 << 64)
        lines.append(f"li x{number}, {value}")
        if rng.random() < 0.3:
            lines.append(f"csrr x3, lane_id; slli x3, x3, 3; add x{number}, x{number}, x3")
    code = b"".join(assemble_line(part) for line in lines for part in line.split("; "))
    for _ in range(rng.randrange(5, 80)):
        one = _lane_instruction(rng, table, lanes)
        code += one.to_bytes(4, "little")[: 4 if one & 3 == 3 else 2]
    return code


def lanes_trial(rng: random.Random) -> None:
    """A random kernel on lanes: it ends, and touches nothing but its memory. A lane alone, which
    races with nobody, leaves the same on both engines."""
    from emu.devices.gpu.dispatch import Dispatch, FaultCode, KernelObject
    from emu.devices.gpu.lift import LiftedEngine
    from emu.devices.gpu.simt import ReferenceEngine

    code = _kernel(rng)
    entry = rng.choice([BASE, BASE + SIZE - len(code), BASE + 0x1000])
    kernel = KernelObject(entry, len(code), group_size=256, private_size=64)
    alone = rng.random() < 0.6
    workgroup = (1, 1, 1) if alone else (rng.randrange(1, 70), rng.choice([1, 1, 2]), 1)
    grid = (1, 1, 1) if alone else (rng.randrange(1, 150), rng.randrange(1, 4), 1)
    ends = []
    for engine in (ReferenceEngine(4), LiftedEngine(4)):
        memory = guarded_memory()
        memory.view(entry, len(code))[:] = code
        regions = [(BASE, SIZE, memory.host_address)]
        outcome = engine.run(Dispatch(kernel, BASE, grid, workgroup), regions, 1500)
        assert outcome.counts.warp_instructions <= 1500
        ends.append((outcome, bytes(memory.bytes)))
    fault = ends[0][0].fault
    if alone and (fault is None or fault.code is not FaultCode.WATCHDOG):
        assert ends[0][0] == ends[1][0]
        assert ends[0][1] == ends[1][1]


def cpu_trial(rng: random.Random) -> int:
    """A program of loops, calls and page tables, with all spoilt: `tests.safety.programs`."""
    from tests.safety.programs import program_trial as hostile_trial

    return hostile_trial(rng, guarded_memory())


TRIALS: dict[str, Callable[[random.Random], int | None]] = {
    "cpu": cpu_trial,
    "tensor": tensor_trial,
    "program": program_trial,
    "lanes": lanes_trial,
}


# --- the campaign -------------------------------------------------------------------------------


def child(kind: str, first: int, count: int, instructions: int | None = None) -> None:
    """Run trials in this process, until `instructions` have been executed; each seed is printed
    before its trial."""
    faulthandler.enable()
    executed = 0
    for seed in range(first, first + count):
        print(seed, flush=True)
        signal.alarm(_WAITING_SECONDS)
        signal.setitimer(signal.ITIMER_PROF, _TRIAL_SECONDS)
        executed += TRIALS[kind](random.Random(f"{kind} {seed}")) or 0
        if instructions is not None and executed >= instructions:
            break
    signal.alarm(0)
    signal.setitimer(signal.ITIMER_PROF, 0)


def batch(kind: str, first: int, count: int, instructions: int | None = None) -> Iterator[Finding]:
    """Trials of `count` seeds from `first` on, or of as many as it takes to execute that many
    `instructions`, in child processes; those that went wrong."""
    end = first + count
    while first < end:
        command = [sys.executable, "-m", "tests.safety.campaign"]
        if instructions is not None:
            command += ["--instructions", str(instructions)]
        done = subprocess.run(
            [*command, "--child", kind, str(first), str(end - first)],
            cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            return
        seed = int(done.stdout.split()[-1]) if done.stdout.split() else first
        yield Finding(kind, seed, f"exit {done.returncode}: {done.stderr.strip()[-1500:]}")
        first = seed + 1


def main() -> int:
    """Look for as long as was asked; the exit code is 1 when there were findings."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seconds", type=float, nargs="?", default=60)
    parser.add_argument("--child", nargs=3, metavar=("KIND", "SEED", "COUNT"))
    parser.add_argument("--instructions", type=int, help="after which a child ends")
    parser.add_argument("--seed", type=int, default=0, help="the first seed (default: %(default)s)")
    args = parser.parse_args()
    if args.child:
        kind, seed, count = args.child
        child(kind, int(seed), int(count), args.instructions)
        return 0
    end, findings = time.monotonic() + args.seconds, 0
    for first in itertools.count(args.seed, 200):
        for kind in TRIALS:
            if time.monotonic() > end:
                print(f"{first - args.seed} seeds of each kind, {findings} findings.")
                return bool(findings)
            for finding in batch(kind, first, 200):
                findings += 1
                print(f"--- {finding.kind} {finding.seed}: {finding.what}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
