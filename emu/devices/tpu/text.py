"""TPU programs as text, both ways: `assemble` and `disassemble`, from the one table.

    # y = relu(x @ w), 200 vectors, one tile
    read_weights 0x0, i8
    read_host u0, 0x80100000, 200
    matmul a0, u0, 200, i8, next
    activate u200, a0, 1, 200, relu, i8, none
    write_host u200, 0x80200000, 200
    interrupt 1

An instruction a line; `#` begins a comment. Numbers are decimal or 0x hexadecimal.
"""

from __future__ import annotations

from emu.devices.tpu.declare import SIZE, Field, Instruction, Style, decode, encode
from emu.devices.tpu.errors import ProgramError
from emu.devices.tpu.isa import TABLE
from emu.errors import AiosError

_PREFIX = {Style.BUFFER: "u", Style.ACCUMULATOR: "a"}
_NONE = "none"


def assemble(text: str) -> bytes:
    """A program's bytes. Raises AiosError that names the line."""
    code = b""
    for number, line in enumerate(text.splitlines(), 1):
        line = line.partition("#")[0].strip()
        try:
            code += assemble_line(line) if line else b""
        except AiosError as error:
            raise AiosError(f"Line {number}: {error}") from None
    return code


def assemble_line(line: str) -> bytes:
    """The bytes of one instruction. Raises AiosError."""
    mnemonic, _, rest = line.strip().partition(" ")
    parts = [part.strip() for part in rest.split(",")] if rest.strip() else []
    declaration = TABLE.get(mnemonic)
    if declaration is None:
        raise AiosError(f"'{mnemonic}' is not an instruction of the TPU.")
    fields = [slot.field for slot in declaration.operands]
    plain = [field for field in fields if field.style is not Style.FLAG]
    flags = {field.name for field in fields if field.style is Style.FLAG}
    if len(parts) < len(plain):
        wanted = ", ".join(field.name for field in plain)
        raise AiosError(f"'{mnemonic}' takes {len(plain)} operands ({wanted}), not {len(parts)}.")
    values: dict[str, int | str] = {
        field.name: _read(field, part) for field, part in zip(plain, parts, strict=False)
    }
    for part in parts[len(plain) :]:
        if part not in flags or part in values:
            raise AiosError(f"'{mnemonic}' has no '{part}', or has it already.")
        values[part] = 1
    return encode(mnemonic, **values)


def _read(field: Field, text: str) -> int | str:
    """A field's value."""
    if field.style is Style.CHOICE:
        return text
    if field.style is Style.SET:
        return _read_set(field, text)
    prefix = _PREFIX.get(field.style, "")
    if not text.startswith(prefix):
        raise AiosError(f"'{text}' is not {field.style.value}.")
    try:
        return int(text[len(prefix) :], 0)
    except ValueError:
        raise AiosError(f"'{text}' is not {field.style.value}.") from None


def _read_set(field: Field, text: str) -> int:
    value = 0
    for name in text.split("|") if text != _NONE else []:
        if name.strip() not in field.names:
            raise AiosError(f"'{name}' is none of {', '.join(field.names)}.")
        value |= 1 << field.names.index(name.strip())
    return value


def disassemble_line(code: bytes) -> str:
    """One instruction as text, or `.bytes` and its digits where it is none."""
    try:
        return show(decode(code))
    except ProgramError:
        return f".bytes {code.hex()}"


def show(instruction: Instruction) -> str:
    """A decoded instruction as `assemble_line` reads it."""
    parts = []
    for slot in instruction.declaration.operands:
        value = instruction[slot.field.name]
        if slot.field.style is not Style.FLAG:
            parts.append(_write(slot.field, value))
        elif value:
            parts.append(slot.field.name)
    return f"{instruction.declaration.mnemonic} {', '.join(parts)}".strip()


def _write(field: Field, value: int) -> str:
    match field.style:
        case Style.CHOICE:
            return field.names[value]
        case Style.SET:
            chosen = [name for bit, name in enumerate(field.names) if value >> bit & 1]
            return "|".join(chosen) or _NONE
        case Style.ADDRESS:
            return f"{value:#x}"
        case _:
            return f"{_PREFIX.get(field.style, '')}{value}"


def disassemble(code: bytes) -> str:
    """A program as text, an instruction a line."""
    return "\n".join(
        disassemble_line(code[at : at + SIZE]) for at in range(0, len(code) - SIZE + 1, SIZE)
    )
