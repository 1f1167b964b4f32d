"""`info`: what there is. Each subject is one function of `_SUBJECTS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from emu.isa.csrs import BY_NAME
from emu.isa.registers import F_NAMES, X_NAMES
from toolchain.debug import places
from toolchain.debug.commands import command
from toolchain.debug.commands.breakpoints import where
from toolchain.debug.dwarf import Variable
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import whole
from toolchain.debug.location import locate
from toolchain.debug.session import Session
from toolchain.debug.show import frame_text


@command("info", "i", group="Data", usage="SUBJECT")
def info(session: Session, argument: str) -> None:
    """Show breakpoints, threads (the harts), registers [NAME ...], csrs [NAME ...],
    devices [NAME], locals, args, frame, functions [TEXT], variables [TEXT], symbol ADDRESS, line
    PLACE.
    """
    subject, _, rest = argument.partition(" ")
    found = [name for name in _SUBJECTS if subject and name.startswith(subject)]
    exact = subject if subject in _SUBJECTS else None
    if exact is None and len(found) != 1:
        raise DebugError(f"'info' knows {', '.join(_SUBJECTS)}; '{subject}' is none of them.")
    _SUBJECTS[exact or found[0]](session, rest.strip())


def _breakpoints(session: Session, argument: str) -> None:
    if not session.breakpoints:
        session.say("There are no breakpoints.")
    for b in session.breakpoints.values():
        kind = "temporary, " if b.temporary else ""
        session.say(f"{b.number}  {where(session, b)}  ({kind}hit {b.hits} times)")


def _threads(session: Session, argument: str) -> None:
    for hart in session.machine.harts:
        mark = "*" if hart is session.hart else " "
        asleep = "asleep at " if hart.waiting else ""
        place = session.program.lines.place_at(hart.state.pc)
        line = f", {place}" if place else ""
        session.say(f"{mark} hart {hart.hartid}  {asleep}{session.describe(hart.state.pc)}{line}")


def _registers(session: Session, argument: str) -> None:
    for name in argument.replace("$", "").split() or (*X_NAMES, "pc"):
        value = session.register(name)
        raw = int.from_bytes(value.data, "little")
        shown = session.describe(raw) if raw >> 16 else session.formatter().text(value)
        session.say(f"{name:8} {raw:#018x}  {shown}")


def _floats(session: Session, argument: str) -> None:
    for name in F_NAMES:
        value = session.register(name)
        raw = int.from_bytes(value.data, "little")
        session.say(f"{name:8} {raw:#018x}  {session.formatter().text(value)}")


def _csrs(session: Session, argument: str) -> None:
    names = argument.replace("$", "").split()
    for name in names or BY_NAME:
        if name not in BY_NAME:
            raise DebugError(f"There is no CSR '{name}'.")
        try:
            value = session.hart.csr_read(BY_NAME[name].number)
        except KeyError:
            continue
        if names or value:  # most are zero
            session.say(f"{name:14} {value:#018x}  {BY_NAME[name].doc}")


def _devices(session: Session, argument: str) -> None:
    devices = session.machine.devices
    if not argument:
        for name, device in devices.items():
            doc = (type(device).__doc__ or "").split("\n")[0]
            session.say(f"{name:10} {doc}")
    elif argument not in devices:
        raise DebugError(f"There is no device '{argument}'; there are {', '.join(devices)}.")
    else:
        for register in devices[argument].registers:
            _device_register(session, register)


def _device_register(session: Session, register: Any) -> None:
    """One register as it is, without the effects that reading it would have."""
    if register.count <= 4 or register.value:
        text = register.explain(register.value)
        session.say(f"{register.at:#08x} {register.label:16} {register.value:#x}  {text}".rstrip())


def _variables_of(session: Session, variables: list[Variable], none: str) -> None:
    for variable in variables:
        try:
            value = locate(variable, session.frame, session.memory)
            text = session.formatter().text(value)
        except DebugError as error:
            text = f"<{str(error).rstrip('.')}>"
        session.say(f"{variable.name} = {text}")
    if not variables:
        session.say(none)


def _locals(session: Session, argument: str) -> None:
    own = [v for v in session.locals() if not v.parameter]
    _variables_of(session, own, "There are no local variables here.")


def _args(session: Session, argument: str) -> None:
    function = session.frame.function
    _variables_of(session, function.parameters if function else [], "There are no arguments.")


def _frame(session: Session, argument: str) -> None:
    frame = session.frame
    session.say(f"#{frame.number}  {frame_text(session, frame)}")
    session.say(f"pc {session.describe(frame.pc)}, stack pointer of the caller {frame.cfa:#x}")


def _functions(session: Session, argument: str) -> None:
    for function in session.program.functions:
        if argument in function.name and function.block is not None:
            session.say(f"{function.low:#x}  {function.name}")


def _globals(session: Session, argument: str) -> None:
    for variable in session.program.variables:
        if argument in f"{variable.module}.{variable.name}":
            session.say(f"{variable.module}.{variable.name}: {variable.type.name}")


def _symbol(session: Session, argument: str) -> None:
    address = whole(session, argument)
    below = [(a, n) for a, n in session.program.symbols if a <= address]
    if not below:
        raise DebugError(f"No symbol lies at or below {address:#x}.")
    at, name = below[-1]
    offset = address - at
    session.say(f"{address:#x} is {name}{f' + {offset}' if offset else ''}")


def _line(session: Session, argument: str) -> None:
    if not argument:
        place = session.program.lines.place_at(session.frame.lookup_pc)
        if place is None:
            raise DebugError("Nothing is known of the source of this code.")
    else:
        place = places.source_line(session, argument)
    line, found = session.program.lines.addresses(place.file, place.line)
    if line != place.line:
        session.say(f"Line {place.line} of {place.file} has no code.")
    else:
        session.say(f"Line {line} of {place.file} starts at {session.describe(min(found))}.")


_SUBJECTS: dict[str, Callable[[Session, str], None]] = {
    "breakpoints": _breakpoints,
    "threads": _threads,
    "registers": _registers,
    "floats": _floats,
    "csrs": _csrs,
    "devices": _devices,
    "locals": _locals,
    "args": _args,
    "frame": _frame,
    "functions": _functions,
    "variables": _globals,
    "symbol": _symbol,
    "line": _line,
}
