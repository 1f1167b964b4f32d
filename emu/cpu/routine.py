"""Routines: what the hart does by itself (taking a trap, accessing a CSR, choosing a translation
regime), traced once into the graph of `emu.isa.graph` and executed by every engine from there.

A body is ordinary Python over abstract values, as an instruction's is: it reads and writes words of
the state (`m.state["mepc"]`), gets parameters and returns a value, some values or none. Nothing in
it branches: what depends on something is a `select`. `python` executes it on a state block; the
native reading is `emu.cpu.native.control`.

A formula may use a parameter by name without being handed it. So counters and `time` use `retired`,
the number of instructions before this one, and every routine that may read them has it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from emu.cpu.pysource import ARITHMETIC, STEPS, Writer
from emu.isa.graph import Node, Trace

Body = Callable[..., "Node | tuple[Node, ...] | None"]


class Routine:
    """A traced body; tracing and compiling happen at the first use."""

    def __init__(self, body: Body, *parameters: str) -> None:
        self.name = getattr(body, "__name__", "routine").strip("_")
        self.parameters = parameters
        self._body = body

    @cached_property
    def _traced(self) -> tuple[tuple[Node, ...], tuple[Node, ...]]:
        trace = Trace()
        answer = self._body(trace, *(Node("slot", (name,), 64) for name in self.parameters))
        answers = () if answer is None else answer if isinstance(answer, tuple) else (answer,)
        return trace.finish(), answers

    @property
    def steps(self) -> tuple[Node, ...]:
        """What it does, in order."""
        return self._traced[0]

    @property
    def answers(self) -> tuple[Node, ...]:
        """What it gives."""
        return self._traced[1]

    @cached_property
    def python(self) -> Callable[..., Any]:
        """The routine as a function of a state's words and the parameters; 1-bit answers are
        booleans or 0 and 1."""
        writer = Writer(self.steps + self.answers)
        for step in self.steps:
            STEPS[step.op](writer, step)
        answers = ", ".join(writer.text(a) for a in self.answers)
        body = [*writer.lines, f"return {answers}"]
        head = f"def routine({', '.join(['w', *self.parameters])}):"
        text = "\n    ".join([head, *body])
        names: dict[str, Any] = dict(ARITHMETIC)
        exec(compile(text, f"<{self.name}>", "exec"), names)
        function: Callable[..., Any] = names["routine"]
        return function
