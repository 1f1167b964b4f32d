"""The host's roofs, measured: what no program on one core of it can exceed.

    fma().rate()                floating-point operations a second, f32
    dots().rate()               integer operations a second: products of bytes, summed in i32
    triad(1 << 22).rate()       bytes a second: a[i] = b[i] + s * c[i], arrays of 4 MiB each
    reads(1 << 22).rate()       bytes a second: one array of 4 MiB summed

Each is a `Roof`: a loop of LLVM assembly over whole vector registers, compiled for this host and
kept in the cache. A loop for arithmetic touches no memory and has enough independent accumulators
to hide the latency of its instruction (8 of them reach 0.84 of the peak of a core of 2024, 12
nearly all of it). A loop for memory does next to no arithmetic.

**What is counted.** A multiplication and an addition are two operations. The triad counts what the
program names, 3 elements for each index, as STREAM does: stores are plain ones, and that the host
reads a line of `a` before it writes it is not counted. A ratio to a roof means something only if
both were measured at nearly the same time: hosts change their clock, and share it.
"""

from __future__ import annotations

import ctypes
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from llvmlite import binding
from numpy.typing import NDArray

from emu.cpu.jit import compile_cached, source_key
from emu.cpu.tensor.emit import target

_UNROLL = 8
"""Vectors that one iteration handles of each array."""
_ARITHMETIC_RUN = 5e-4
"""Seconds a run without memory takes: many runs fit between two interruptions."""


@dataclass(frozen=True)
class _Step:
    """What a loop does for each accumulator or vector: lines of LLVM assembly where # stands for
    its number. %a# is the accumulator and %n# what it becomes, %p0_# to %p2_# are the places in up
    to three arrays, %x and %y hold the first 64 bytes of the arrays 0 and 1 from before the loop.
    """

    lines: Sequence[str]
    work: float
    """Operations or bytes of one step."""
    accumulator: str = ""
    """Type of the accumulators; none if empty."""
    operand: str = ""
    """Type of %x and %y; none if empty."""


class Roof:
    """A compiled loop and its memory. A run goes once over `arrays` of `size` bytes; if there are
    none, it just lasts a while."""

    def __init__(self, step: _Step, copies: int, arrays: int = 0, size: int = 0) -> None:
        stride = copies * target()[0]
        self._code = compile_cached(
            f"roof {step} {copies} {source_key('bench.roof')}", lambda: _loop(step, copies, stride)
        )
        prototype = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, ctypes.c_uint64)
        self._call = prototype(self._code.address("run"))
        self.memory = _aligned(arrays or 2, max(size, stride) // 4)
        """The arrays."""
        self._places = [self.memory[i % len(self.memory)].ctypes.data for i in range(3)]
        self._iterations = max(1, size // stride)
        if not arrays:
            self._iterations = 1000
            self._iterations = max(1, int(1000 * _ARITHMETIC_RUN / min(self.run(), self.run())))
        self.work = step.work * copies * self._iterations
        """Operations or bytes of one run."""

    def run(self, times: int = 1) -> float:
        """Run so often; the wall time of that, in seconds."""
        start = time.perf_counter()
        for _ in range(times):
            self._call(*self._places, self._iterations)
        return time.perf_counter() - start

    def rate(self, seconds: float = 0.02) -> float:
        """Operations or bytes a second: the best of the runs that fit into `seconds`."""
        best, end = self.run(), time.perf_counter() + seconds
        while time.perf_counter() < end:
            best = min(best, self.run())
        return self.work / best


@cache
def fma() -> Roof:
    """Fused multiply-adds of f32, in all registers but those for operands."""
    size, registers = target()
    kind = f"<{size // 4} x float>"
    call = f"%n# = call {kind} @llvm.fma.v{size // 4}f32({kind} %a#, {kind} %x, {kind} %y)"
    return Roof(_Step([call], size / 2, kind, kind), registers - 4)


@cache
def dots() -> Roof:
    """Products of bytes summed in i32, by the best instruction the host has for it."""
    size, registers = target()
    features = binding.get_host_cpu_features()
    if features.get("avx512vnni"):
        step = _dot_step(64, "@llvm.x86.avx512.vpdpbusd.512")
    elif features.get("avxvnni"):
        step = _dot_step(32, "@llvm.x86.avx512.vpdpbusd.256")
    elif features.get("dotprod"):
        step = _dot_step(16, "@llvm.aarch64.neon.udot.v4i32.v16i8")
    elif features.get("avx2"):
        step = _AVX2_DOT
    else:
        kind = f"<{size // 4} x i32>"
        lines = [f"%m# = mul {kind} %a#, %x", f"%n# = add {kind} %m#, %y"]
        step = _Step(lines, size / 2, kind, kind)
    return Roof(step, registers - 4)


def _dot_step(size: int, name: str) -> _Step:
    """An instruction that adds four products of bytes to each i32 lane of `size` bytes."""
    kind, operand = f"<{size // 4} x i32>", f"<{size} x i8>"
    call = f"%n# = call {kind} {name}({kind} %a#, {operand} %x, {operand} %y)"
    return _Step([call], size * 2, kind, operand)


_AVX2_DOT = _Step(
    [
        "%b# = bitcast <8 x i32> %a# to <32 x i8>",  # an operand that changes, or LLVM hoists it
        "%w# = call <16 x i16> @llvm.x86.avx2.pmadd.ub.sw(<32 x i8> %b#, <32 x i8> %x)",
        "%d# = call <8 x i32> @llvm.x86.avx2.pmadd.wd(<16 x i16> %w#, <16 x i16> splat (i16 1))",
        "%n# = add <8 x i32> %a#, %d#",
    ],
    64,
    "<8 x i32>",
    "<32 x i8>",
)
"""Without VNNI: bytes to sums of two in i16, those to sums of two in i32."""


@cache
def triad(size: int) -> Roof:
    """a[i] = b[i] + s * c[i] over f32 arrays of `size` bytes each."""
    width, _ = target()
    kind = f"<{width // 4} x float>"
    lines = [
        f"%b# = load {kind}, ptr %p1_#, align 4",
        f"%c# = load {kind}, ptr %p2_#, align 4",
        f"%m# = fmul {kind} %c#, splat (float 0.75)",
        f"%s# = fadd {kind} %b#, %m#",
        f"store {kind} %s#, ptr %p0_#, align 4",
    ]
    return Roof(_Step(lines, 3 * width), _UNROLL, 3, size)


@cache
def reads(size: int) -> Roof:
    """The sum of one f32 array of `size` bytes: what a vector times a large matrix comes to."""
    width, _ = target()
    kind = f"<{width // 4} x float>"
    lines = [f"%v# = load {kind}, ptr %p0_#, align 4", f"%n# = fadd {kind} %a#, %v#"]
    return Roof(_Step(lines, width, kind), _UNROLL, 1, size)


def _aligned(arrays: int, elements: int) -> NDArray[np.float32]:
    """Rows that begin with a cache line. They are filled, because untouched pages would all be the
    one page of zeros, which is always in cache."""
    line = 64 // 4
    memory = np.full(arrays * elements + line, 0.5, np.float32)
    start = -memory.ctypes.data // 4 % line
    return memory[start : start + arrays * elements].reshape(arrays, elements)


def _loop(step: _Step, copies: int, stride: int) -> str:
    """A module whose `run(p0, p1, p2, n)` executes `copies` of the step n times."""

    def each(*lines: str) -> list[str]:
        return [line.replace("#", str(i)) for i in range(copies) for line in lines]

    kind, operand = step.accumulator, step.operand
    width = stride // copies
    text = ["define void @run(ptr %p0, ptr %p1, ptr %p2, i64 %n) {", "entry:"]
    if operand:
        text += [f"%{v} = load {operand}, ptr %p{p}, align 4" for p, v in enumerate("xy")]
    text += ["br label %loop", "loop:", "%k = phi i64 [0, %entry], [%next, %loop]"]
    if kind:
        text += each(f"%a# = phi {kind} [zeroinitializer, %entry], [%n#, %loop]")
    text.append(f"%at = mul i64 %k, {stride}")
    for array in range(3):
        text.append(f"%q{array} = getelementptr i8, ptr %p{array}, i64 %at")
        text += [
            f"%p{array}_{i} = getelementptr i8, ptr %q{array}, i64 {i * width}"
            for i in range(copies)
        ]
    text += each(*step.lines)
    text += ["%next = add i64 %k, 1", "%more = icmp ult i64 %next, %n"]
    text += ["br i1 %more, label %loop, label %done", "done:"]
    if kind:  # or nobody needs them and LLVM leaves the loop out
        text += each(f"store volatile {kind} %n#, ptr %p0, align 4")
    return "\n".join([*text, "ret void", "}", *_declarations(step)])


def _declarations(step: _Step) -> list[str]:
    """A `declare` for every function that the step calls."""
    calls = [re.search(r"call (<.*?>) (@\S+?)\((.*)\)", line) for line in step.lines]
    return [
        f"declare {call[1]} {call[2]}({', '.join(re.findall(r'<[^>]*>', call[3]))})"
        for call in calls
        if call
    ]
