"""The tensor unit's machine code: one module, compiled once, loaded when a program uses tensors."""

from __future__ import annotations

from functools import cache
from typing import Any

from emu.cpu.jit import Code, compile_cached, source_key


@cache
def unit_code() -> Code:
    """The code, the same for every hart."""
    sources = source_key(
        "emu.cpu.tensor.unit", "emu.cpu.state", "emu.cpu.native.layout", "emu.cpu.native.tensor",
        "emu.cpu.tensor.descriptor", "emu.cpu.tensor.faults", "emu.cpu.tensor.plan", "emu.cpu.jit",
        "emu.isa.xaitensor",
    )  # fmt: skip
    return compile_cached(f"tensor-unit {sources}", _build)


def _build() -> Any:
    from llvmlite import ir

    from emu.cpu.tensor.unit.descriptors import write_descriptors
    from emu.cpu.tensor.unit.issue import write_issue
    from emu.cpu.tensor.unit.teamwork import write_teamwork

    module = ir.Module("tensor_unit")
    write_teamwork(module)
    write_descriptors(module)
    write_issue(module)
    return module
