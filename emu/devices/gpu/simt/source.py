"""The reading of the instruction graph for lanes: a body becomes a loop over the lanes of a warp.

Expressions are those of the hart's reference engine (`emu.cpu.pysource`); what differs are the
steps that touch a lane's registers, memory and pc. `X`, `F` and `PC` are lists by work-item of the
workgroup. The source of `lw` reads:

    def instruction(lanes, pc, rd, rs1, imm):
        for lane in lanes:
            x, f = X[lane], F[lane]
            v0 = x[rs1]
            v1 = load32(lane, ((v0 + imm) & 0xffffffffffffffff))
            if rd: x[rd] = ...

An instruction with a `system` step is about its warp: it may need the operands of every lane
before it has a result for any. Its source is a generator for one lane, which yields the operands
and is sent the result; `emu.devices.gpu.simt.collective` drives the lanes' generators together.

There is no reading of `reserve` and `reserved`: lanes have no reservations, so the instructions
that use them are illegal (`is_read`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from types import CodeType

from emu.cpu.pysource import STEPS as HART_STEPS
from emu.cpu.pysource import Writer
from emu.isa import TABLE, Instruction
from emu.isa.graph import Node


def _load(w: Writer, node: Node) -> None:
    address, kind = w.text(node.args[0]), node.args[1]
    function = "load_amo" if kind == "amo" else "load"
    w.name(node, f"{function}{node.width}(lane, {address})")


def _store(w: Writer, node: Node) -> None:
    address, value, when = node.args
    assert isinstance(value, Node)
    call = f"store{value.width}(lane, {w.text(address)}, {w.text(value)})"
    w.lines.append(call if when is None else f"if {w.text(when)}: {call}")


def _trap_if(w: Writer, node: Node) -> None:
    condition, cause, tval = (w.text(a) for a in node.args)
    w.lines.append(f"if {condition}: raise trap({cause}, {tval}, lane)")


def _write_f(w: Writer, node: Node) -> None:
    w.lines.append(f"f[{w.text(node.args[0])}] = {w.text(node.args[1])}")


def _nothing(w: Writer, node: Node) -> None:
    """The floating-point unit of a lane is always on."""


def _system(w: Writer, node: Node) -> None:
    _, *operands = node.args
    w.name(node, f"yield ({', '.join(map(w.text, operands))},)")


def _jump(w: Writer, node: Node) -> None:
    w.lines.append(f"PC[lane] = {w.text(node.args[0])}")


def _branch(w: Writer, node: Node) -> None:
    condition, target = node.args
    behind = f"pc + {w.length} & 0xffffffffffffffff"
    w.lines.append(f"PC[lane] = {w.text(target)} if {w.text(condition)} else {behind}")


STEPS: dict[str, Callable[[Writer, Node], None]] = {
    "read_x": HART_STEPS["read_x"],
    "read_f": HART_STEPS["read_f"],
    "write_x": HART_STEPS["write_x"],
    "write_f": _write_f,
    "load": _load,
    "store": _store,
    "trap_if": _trap_if,
    "fp_check": _nothing,
    "fp": HART_STEPS["fp"],
    "system": _system,
    "jump": _jump,
    "branch": _branch,
}

_ABSENT = {"reserve", "reserved", "read_word", "write_word"}

if (STEPS.keys() | _ABSENT) != HART_STEPS.keys():
    raise ImportError(f"lanes have no reading for {HART_STEPS.keys() - STEPS.keys() - _ABSENT}")


@dataclass(frozen=True)
class Source:
    """An instruction's function: `code` defines `instruction`, which takes `slots` after pc."""

    code: CodeType
    slots: tuple[str, ...]
    system: str
    """The system operation it calls; with one, it is a generator for a single lane."""
    parts: bool
    """Whether lanes may be elsewhere than behind it afterwards, or others active."""


def is_read(insn: Instruction) -> bool:
    """Whether lanes may have this instruction, as far as its steps go."""
    return all(step.op in STEPS for step in insn.steps)


@cache
def source(mnemonic: str) -> Source:
    """The code of an instruction for which `is_read` holds."""
    insn = TABLE[mnemonic]
    text, slots = _text(insn)
    system = [str(step.args[0]) for step in insn.steps if step.op == "system"]
    parts = any(step.op in ("jump", "branch") for step in insn.steps) or "lane" in system
    return Source(compile(text, f"<{mnemonic}>", "exec"), slots, "".join(system), parts)


def _text(insn: Instruction) -> tuple[str, tuple[str, ...]]:
    writer = Writer(insn.steps, insn.length)
    for step in insn.steps:
        STEPS[step.op](writer, step)
    slots = ", ".join(["pc", *writer.parameters])
    body = ["x, f = X[lane], F[lane]", *writer.lines]
    if any(step.op == "system" for step in insn.steps):
        head, indent = f"def instruction(lane, {slots}):", "    "
    else:
        head, indent = f"def instruction(lanes, {slots}):\n    for lane in lanes:", "        "
    return "\n".join([head, *(indent + line for line in body)]) + "\n", writer.parameters
