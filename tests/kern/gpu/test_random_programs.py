"""Random gpu functions whose lanes part and meet, against Python running each lane by itself.

A program is written twice from the same choices: in Kern, and as a generator in Python that yields
at each barrier. The barriers stand behind loops and branches that lanes take differently: if the
lanes of a warp did not meet there, the dispatch would be a fault; and what another lane left in
group memory before the barrier is read after it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from tests.kern.gpu.bench import KernelBench

_ITEMS = 64
_MASK = (1 << 64) - 1
Lane = Callable[[int, list[int], list[int]], Iterator[None]]


def wrapped(value: int) -> int:
    """An int of 64 bits."""
    return ((value & _MASK) ^ (1 << 63)) - (1 << 63)


@dataclass
class _Writer:
    """Both texts so far. The variables are a, b and me."""

    rng: random.Random
    kern: list[str] = field(default_factory=list)
    python: list[str] = field(default_factory=list)
    depth: int = 1
    loops: int = 0

    def put(self, kern: str, python: str) -> None:
        self.kern.append("    " * self.depth + kern)
        self.python.append("    " * self.depth + python)

    def value(self) -> str:
        a, b = (self.rng.choice(["a", "b", "me", str(self.rng.randrange(100))]) for _ in range(2))
        return f"({a} {self.rng.choice('+-*^&')} {b})"

    def condition(self) -> str:
        bits = self.rng.choice([1, 3, 5, 7, 24])
        return f"({self.value()} & {bits}) {self.rng.choice(['==', '!=', '<', '>'])} {bits >> 1}"

    def block(self, statements: int) -> None:
        self.depth += 1
        for _ in range(statements):
            self.statement()
        self.depth -= 1

    def statement(self) -> None:
        kinds = [self.assign, self.assign, self.choose]
        if self.depth < 5:
            kinds += [self.branch, self.branch, self.loop]
        if self.loops and self.depth > 2:
            kinds.append(self.leave)
        self.rng.choice(kinds)()

    def assign(self) -> None:
        name, value = self.rng.choice("ab"), self.value()
        self.put(f"{name} = {value}", f"{name} = wrapped{value}")

    def choose(self) -> None:
        name, x, y, c = self.rng.choice("ab"), self.value(), self.value(), self.condition()
        self.put(f"{name} = select({c}, {x}, {y})", f"{name} = wrapped{x} if {c} else wrapped{y}")

    def branch(self) -> None:
        condition = self.condition()
        self.put(f"if {condition} {{", f"if {condition}:")
        self.block(self.rng.randrange(1, 4))
        if self.rng.random() < 0.6:
            self.put("} else {", "else:")
            self.block(self.rng.randrange(1, 4))
        self.kern.append("    " * self.depth + "}")

    def loop(self) -> None:
        count = f"({self.value()} & {self.rng.choice([1, 3, 7])})"
        name = f"i{len(self.kern)}"
        self.put(f"for {name} in 0..{count} {{", f"for {name} in range({count}):")
        self.loops += 1
        self.block(self.rng.randrange(1, 5))
        self.loops -= 1
        self.kern.append("    " * self.depth + "}")

    def leave(self) -> None:
        word, condition = self.rng.choice(["break", "continue"]), self.condition()
        self.put(f"if {condition} {{ {word} }}", f"if {condition}: {word}")

    def meet(self) -> None:
        """Leaves a in group memory and takes what a neighbour left there."""
        self.put("kept[me] = a", "kept[me] = a")
        self.put("barrier()", "yield")
        other = self.rng.randrange(1, _ITEMS)
        self.put(f"b ^= kept[me ^ {other}]", f"b ^= kept[me ^ {other}]")
        self.put("barrier()", "yield")


def _program(seed: int) -> tuple[str, Lane]:
    writer = _Writer(random.Random(seed))
    for _ in range(4):
        for _ in range(3):
            writer.statement()
        writer.meet()
    kern = "gpu fn k(out: ptr[int]) {\n    local kept: array[int, 64]\n    me = local_id(0)\n"
    kern += "    a = me * 3\n    b = 5 - me\n" + "\n".join(writer.kern)
    python = "def lane(me, kept, out):\n    a = me * 3\n    b = 5 - me\n" + "\n".join(writer.python)
    names: dict[str, Lane] = {}
    exec(python + "\n    out[me] = wrapped(a ^ b)\n", {"wrapped": wrapped}, names)
    return kern + "\n    out[me] = a ^ b\n}", names["lane"]


@pytest.mark.parametrize("seed", range(5))
def test_lanes_compute_what_each_would_alone_and_meet_at_barriers(seed: int) -> None:
    kern, lane = _program(seed)
    kept, want = [0] * _ITEMS, [0] * _ITEMS
    lanes = [lane(me, kept, want) for me in range(_ITEMS)]
    for _ in range(9):
        for each in lanes:
            next(each, None)
    (got,) = KernelBench("m", kern).run("k", (_ITEMS,), (_ITEMS,), np.zeros(_ITEMS, np.int64))
    np.testing.assert_array_equal(got, want)
