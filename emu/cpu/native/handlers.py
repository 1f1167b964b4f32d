"""The handlers as machine code: compiled once, kept in the cache, entered in a state's table.

Well compiled code is what nearly every run finds. The first one ever need not wait for it: it
begins with code made in haste, which takes a third of the time to make and executes at two thirds
of the speed, until the background process has made the other (`improve`). That process also makes
the first where it was asked to in time (`emu.cpu.early`).

Those of tensor instructions are code of their own, which is got when a hart first uses its tensor
unit: they are a third of all, and most programs that a machine is started for never need them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Collection
from functools import cache
from typing import Any

from emu.cpu.early import GOOD, HASTY, LEVELS, interpreter_key, kept_interpreter, key, take
from emu.cpu.jit import Code, compile_cached, compiled, load
from emu.cpu.native.layout import Handler
from emu.cpu.native.records import is_tensor, number_handlers
from emu.cpu.state import Exit, State

Run = Callable[[ctypes.c_void_p], None]
"""Executes instructions, given the address of a state."""

_loaded: dict[str, Code] = {}
"""The interpreter's code that this process has: "good", "hasty", or both."""


def interpreter_code(*, in_haste: bool = False) -> Code:
    """The interpreter's code, the same for every hart: well compiled, unless that would have to be
    done now and is wanted `in_haste`."""
    if not is_good():
        stored = kept_interpreter(GOOD)
        if stored is None and in_haste:
            if "hasty" not in _loaded:
                _loaded["hasty"] = load(take() or compiled_interpreter(HASTY))
            return _loaded["hasty"]
        _loaded["good"] = load(stored or compiled_interpreter(GOOD))
    return _loaded["good"]


def is_good() -> bool:
    """Whether this process has well compiled code."""
    return "good" in _loaded


def compiled_interpreter(kind: bytes) -> bytes:
    """The interpreter's code, compiled in haste or well, which takes up to a second if it is not
    kept."""

    def build() -> Any:
        from emu.cpu.native import interpreter  # only here: a warm start needs no LLVM

        return interpreter.build()

    opt, passes = LEVELS[kind]
    return compiled(interpreter_key(kind), build, opt=opt, passes=passes)


@cache
def tensor_code() -> Code:
    """The code of the tensor instructions' handlers."""

    def build() -> Any:
        from emu.cpu.native import interpreter

        return interpreter.build_tensors()

    code = interpreter_code(in_haste=True)
    ends = ["enter", *(f"exit_{why.name.lower()}" for why in Exit)]
    symbols = {name: code.address(name) for name in ends}
    opt, passes = LEVELS[GOOD]
    return compile_cached(key("tensor-handlers"), build, opt=opt, passes=passes, symbols=symbols)


def install(state: State, *, in_haste: bool = False) -> Run:
    """Enter all handlers in the state's table, those of tensor instructions as SLOW; gives the
    function that executes instructions."""
    code = interpreter_code(in_haste=in_haste)
    _enter(state, code, _numbers())
    return _run(code)


def improve(state: State, good: bytes) -> Run:
    """Enter the `good` code where there was code made in haste, which goes on to exist:
    other harts may execute it."""
    if not is_good():
        _loaded["good"] = load(good)
    tensors = {n for instruction, n in number_handlers().items() if is_tensor(instruction)}
    _enter(state, _loaded["good"], _numbers(), besides=tensors)
    return _run(_loaded["good"])


def install_tensors(state: State) -> None:
    """Enter the handlers of tensor instructions in the state's table."""
    numbers = [n for instruction, n in number_handlers().items() if is_tensor(instruction)]
    _enter(state, tensor_code(), numbers)


def _run(code: Code) -> Run:
    """The function of the interpreter's code that executes instructions."""
    return ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("run"))


def _numbers() -> list[int]:
    """The numbers of the handlers in the interpreter's constant `handlers`."""
    return [*Handler, *(n for n in number_handlers().values() if n != Handler.SLOW)]


def _enter(state: State, code: Code, numbers: list[int], besides: Collection[int] = ()) -> None:
    """Enter the addresses of a module's constant `handlers` under these numbers, in order, except
    for some."""
    addresses = (ctypes.c_uint64 * len(numbers)).from_address(code.address("handlers"))
    for number, address in zip(numbers, addresses, strict=True):
        if number not in besides:
            state.handlers[number] = address
