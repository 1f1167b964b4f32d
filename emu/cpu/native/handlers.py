"""The handlers as machine code: compiled once, kept in the cache, entered in a state's table.

Those of tensor instructions are code of their own, which is got when a hart first uses its tensor
unit: they are a third of all, and most programs that a machine is started for never need them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

from emu.cpu.jit import Code, compile_cached, source_key
from emu.cpu.native.layout import Handler
from emu.cpu.native.records import is_tensor, number_handlers
from emu.cpu.state import Exit, State

_PASSES = ("simplify_cfg", "instruction_combine")
"""Handlers have neither loops nor calls: what LLVM's third level does besides takes as long as
making the machine code, and no program is measurably faster for it."""


@cache
def interpreter_code() -> Code:
    """The interpreter's code, the same for every hart."""
    return _compiled("interpreter", {})


@cache
def tensor_code() -> Code:
    """The code of the tensor instructions' handlers."""
    code = interpreter_code()
    ends = ["enter", *(f"exit_{why.name.lower()}" for why in Exit)]
    return _compiled("tensor-handlers", {name: code.address(name) for name in ends})


def install(state: State) -> Callable[[ctypes.c_void_p], None]:
    """Enter all handlers in the state's table, those of tensor instructions as SLOW; gives the
    function that executes instructions, given the address of the state."""
    code = interpreter_code()
    _enter(state, code, [*Handler, *(n for n in number_handlers().values() if n != Handler.SLOW)])
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("run"))


def install_tensors(state: State) -> None:
    """Enter the handlers of tensor instructions in the state's table."""
    numbers = [n for instruction, n in number_handlers().items() if is_tensor(instruction)]
    _enter(state, tensor_code(), numbers)


def _enter(state: State, code: Code, numbers: Iterable[int]) -> None:
    """Enter the addresses of a module's constant `handlers` under these numbers, in order."""
    numbers = [*numbers]
    addresses = (ctypes.c_uint64 * len(numbers)).from_address(code.address("handlers"))
    for number, address in zip(numbers, addresses, strict=True):
        state.handlers[number] = address


def _compiled(name: str, symbols: dict[str, int]) -> Code:
    def build() -> Any:
        # only here: a warm start needs no LLVM
        from emu.cpu.native import interpreter

        return interpreter.build_tensors() if symbols else interpreter.build()

    sources = source_key("emu.isa", "emu.cpu.native", "emu.cpu.state", "emu.cpu.jit")
    key = f"{name} {sources}"
    return compile_cached(key, build, opt=2, passes=_PASSES, symbols=symbols)
