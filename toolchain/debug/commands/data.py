"""Looking at variables, registers and memory, and changing them."""

from __future__ import annotations

import re
import struct

from emu.isa.disassemble import disassemble
from toolchain.debug import types
from toolchain.debug.commands import command
from toolchain.debug.errors import DebugError
from toolchain.debug.expressions import assign, evaluate
from toolchain.debug.session import Session
from toolchain.debug.show import displays
from toolchain.debug.values import number

_RADIXES = "xduot"
_EXAMINE = re.compile(r"/(?P<count>\d*)(?P<letters>[a-z]*)$")
_SIZES = {"b": 1, "h": 2, "w": 4, "g": 8}
_PER_LINE = {1: 8, 2: 8, 4: 4, 8: 2}
_MOST = 4096


@command("print", "p", group="Data", usage="[/xduot] EXPRESSION")
def print_(session: Session, argument: str) -> None:
    """Print a value: `point.x`, `*node.next`, `items[2:5]`, `module.variable`, `$a0`, `n * 8 > 64`.

    Integers appear in hexadecimal with /x, and in decimal, unsigned, octal, binary with /d, /u, /o,
    /t. `ptr[T](address)` gives memory a type.
    """
    radix, text = _radix(argument)
    session.say(session.formatter(radix).text(evaluate(session, text)))


def _radix(argument: str) -> tuple[str, str]:
    """A leading `/x` and the rest."""
    if not argument.startswith("/"):
        return "", argument
    letters, _, text = argument[1:].partition(" ")
    if len(letters) != 1 or letters not in _RADIXES:
        raise DebugError(f"'/{letters}' is no format; use one of /{', /'.join(_RADIXES)}.")
    return letters, text


@command("ptype", group="Data", usage="EXPRESSION | TYPE")
def ptype(session: Session, argument: str) -> None:
    """Show the type of a value, or the fields of a type with their offsets."""
    type_ = session.program.types.get(argument.strip()) or evaluate(session, argument).type
    session.say(f"{type_.name}, {type_.size} bytes")
    if isinstance(type_, types.Struct):
        for field in type_.fields.values():
            session.say(f"    {field.offset:4} {field.name}: {field.type.name}")
    elif isinstance(type_, types.Enum):
        session.say("    " + ", ".join(f"{name} = {n}" for n, name in type_.members.items()))


@command("set", group="Data", usage="var NAME = VALUE")
def set_(session: Session, argument: str) -> None:
    """Give a variable, memory (`*p = 1`) or a register (`set $a0 = 1`) a value."""
    text = re.sub(r"^var(iable)?\s+", "", argument)
    if "=" not in text:
        raise DebugError("Write 'set var NAME = VALUE' or 'set $REGISTER = VALUE'.")
    assign(session, text)


@command("x", group="Data", usage="[/COUNT FORMAT SIZE] ADDRESS", repeats=True)
def x(session: Session, argument: str) -> None:
    """Show memory at ADDRESS, as `x/8xg $sp`: a count, a format, a size; without it, what follows.

    The formats are gdb's: x d u o t c f, s (text up to a zero byte), i (instructions), a (addresses
    by name); the sizes b h w g are 1, 2, 4, 8 bytes.
    """
    option, _, text = argument.partition(" ") if argument.startswith("/") else ("/", "", argument)
    match = _EXAMINE.match(option)
    if match is None:
        raise DebugError(f"'{option}' is no format; write for example x/8xg.")
    letters = match["letters"]
    unknown = set(letters) - set("xduotcfsia") - set(_SIZES)
    if unknown:
        raise DebugError(f"'{min(unknown)}' is neither a format nor a size of 'x'.")
    size = next((_SIZES[c] for c in reversed(letters) if c in _SIZES), 0)
    kind = next((c for c in reversed(letters) if c not in _SIZES), "x")
    count = int(match["count"] or 1)
    if count > _MOST:
        raise DebugError(f"{count} is too many: 'x' shows up to {_MOST}.")
    if text.strip():
        value = evaluate(session, text)
        in_memory = isinstance(value.type, types.Array | types.Struct)
        at = value.address if in_memory else None
        session.examine_next = int(number(value, session.memory)) if at is None else at
    _examine(session, count, kind, size)


def _examine(session: Session, count: int, kind: str, size: int) -> None:
    if kind == "i":
        _instructions(session, count)
    elif kind == "s":
        for _ in range(count):
            _string(session)
    else:
        _numbers(session, count, kind, size or (1 if kind == "c" else 8 if kind in "af" else 4))


def _instructions(session: Session, count: int) -> None:
    for _ in range(count):
        word = session.memory.instruction(session.examine_next)
        session.say(instruction_line(session, session.examine_next, word))
        session.examine_next += 4 if word & 3 == 3 else 2


def instruction_line(session: Session, pc: int, word: int) -> str:
    """An instruction, marked when it is the next one."""
    mark = "=> " if pc == session.frame.pc else "   "
    return f"{mark}{session.describe(pc)}:\t{disassemble(word, pc)}"


def _string(session: Session) -> None:
    at, data = session.examine_next, bytearray()
    while len(data) < _MOST and (byte := session.memory.read(at + len(data), 1)) != b"\0":
        data += byte
    session.say(f'{at:#x}:\t"{data.decode("utf-8", "backslashreplace")}"')
    session.examine_next = at + len(data) + 1


def _numbers(session: Session, count: int, kind: str, size: int) -> None:
    while count:
        here = min(count, _PER_LINE[size])
        at = session.examine_next
        data = session.memory.read(at, here * size)
        items = [data[i : i + size] for i in range(0, len(data), size)]
        texts = (_item(session, item, kind) for item in items)
        session.say(f"{session.describe(at)}:\t" + "\t".join(texts))
        session.examine_next, count = at + len(data), count - here


def _item(session: Session, data: bytes, kind: str) -> str:
    value = int.from_bytes(data, "little", signed=kind == "d")
    match kind:
        case "x":
            return f"0x{value:0{2 * len(data)}x}"
        case "o" | "t":
            return f"{value:{'b' if kind == 't' else 'o'}}"
        case "c":
            return f"{value} {chr(value)!r}"
        case "a":
            return session.describe(value)
        case "f" if len(data) in (4, 8):
            return repr(struct.unpack("<f" if len(data) == 4 else "<d", data)[0])
    return str(value)


@command("display", group="Data", usage="[EXPRESSION]")
def display(session: Session, argument: str) -> None:
    """Print EXPRESSION at every stop; without one, show all that is printed so."""
    if argument:
        evaluate(session, argument)
        session.displays[max(session.displays, default=0) + 1] = argument
    displays(session)


@command("undisplay", group="Data", usage="[NUMBER]")
def undisplay(session: Session, argument: str) -> None:
    """Stop displaying expression NUMBER; without one, all."""
    if not argument:
        session.displays.clear()
    elif not argument.isdecimal() or session.displays.pop(int(argument), None) is None:
        raise DebugError(f"There is no display {argument}.")
