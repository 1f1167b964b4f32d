"""`emit`: the passes of this package, one after the other."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from llvmlite import binding

from emu.errors import AiosError
from toolchain.elf import ObjectFile
from toolchain.kern.backend import optimise, target_machine
from toolchain.kern.lanes import order
from toolchain.kern.lanes.finish import finish
from toolchain.kern.lanes.stand_ins import StandIns

FEATURES = "+m,+a,+f,+d,+zba,+zbb,+zbs,+zacas,+zimop"
"""What lanes execute, and the stand-ins' Zimop. Nothing is compressed: all is decoded by words."""

_OPTIONS = {
    "disable-block-placement": ("true", "false"),
    "disable-early-taildup": ("true", "false"),
    "disable-tail-duplicate": ("true", "false"),
    "enable-tail-merge": ("false", "true"),
    "riscv-fpimm-cost": ("9", "2"),
    "riscv-disable-using-constant-pool-for-large-ints": ("true", "false"),
}
"""LLVM's options while it makes lanes' code, and as they are otherwise: blocks stay in order, and
constants are made in registers rather than loaded by every lane."""
_UNFOLDED = {**_OPTIONS, "disable-branch-fold": ("true", "false")}
"""The same without the pass that drops jumps to what follows, for it may also move a block."""

_LEVEL = 2
"""Lanes' code is always optimised, for only then has all been inlined."""
_NAME = re.compile(r'^define [^@]*@(?:"([^"]+)"|([\w.$-]+))\(', re.M)
_KERNEL = re.compile(r'^@"?([^"\n]+)\.kernel"? = .*\n', re.M)
_ENTRY = re.compile(r"\{\n(?:[^\n]*:[^\n]*\n)?")
_STACKMAP = "  call void (i64, i32, ...) @llvm.experimental.stackmap(i64 0, i32 0){}\n"
_STACKMAP_DECLARATION = "declare void @llvm.experimental.stackmap(i64, i32, ...)\n"
_LOCATION = re.compile(r", !dbg !\d+")


def emit(llvm: str) -> Iterator[ObjectFile]:
    """The finished object of each kernel in an LLVM module of gpu functions."""
    machine = target_machine(_LEVEL, FEATURES)
    module = binding.parse_assembly(llvm)
    module.verify()
    optimise(module, machine, _LEVEL, unroll=False)
    pieces = list(order.functions(str(module)))
    rest = "".join(text for is_function, text in pieces if not is_function)
    for is_function, text in pieces:
        if is_function:
            yield _kernel(machine, text, rest + _STACKMAP_DECLARATION)


def _kernel(machine: Any, function: str, rest: str) -> ObjectFile:
    """The object of one kernel; `rest` is what stands beside functions in its module."""
    found = _NAME.search(function)
    assert found is not None, function
    name = found[1] or found[2]
    stand_ins = StandIns()
    text = stand_ins.write(_with_stackmap(order.in_order(function)))
    others = _KERNEL.sub(lambda m: m[0] if m[1] == name else "", rest)
    for options in (_OPTIONS, _UNFOLDED):
        module = binding.parse_assembly(others + text)
        module.verify()
        with _set(options):
            made = finish(bytes(machine.emit_object(module)), name, stand_ins)
        if made is not None:
            return made
    raise AiosError(
        f"The gpu function '{name}' has loops that lanes might not leave together; write them "
        "with fewer ways out."
    )


def _with_stackmap(function: str) -> str:
    """A function that begins with an empty stackmap, so that LLVM tells its frame's size."""
    entry = _ENTRY.search(function)
    assert entry is not None
    location = _LOCATION.search(function, entry.end())
    call = _STACKMAP.format(location[0] if location else "")
    return function[: entry.end()] + call + function[entry.end() :]


@contextmanager
def _set(options: Mapping[str, tuple[str, str]]) -> Iterator[None]:
    """LLVM's options are those of the process, so they are put back."""
    for option, (value, _) in options.items():
        binding.set_option("kern", f"--{option}={value}")
    try:
        yield
    finally:
        for option, (_, value) in options.items():
            binding.set_option("kern", f"--{option}={value}")
