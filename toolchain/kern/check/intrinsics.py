"""The operations of the machine that a program can name.

Each stands once in `SIGNATURES`; tensor instructions are taken from the instruction table, a
function per mnemonic: tensor registers and descriptor fields are literals, integer registers
values (one more than the literals demand may be left out: the attribute block, x0).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

from toolchain.kern import syntax, typed
from toolchain.kern.check.constants import constant_int
from toolchain.kern.check.context import Context
from toolchain.kern.check.convert import cast, convert, default_type
from toolchain.kern.check.names import declare_builtin
from toolchain.kern.types import (
    INT,
    NEVER,
    POISON,
    PTR,
    STR,
    U8,
    U16,
    U32,
    U64,
    VOID,
    AnyInt,
    Int,
    Ptr,
    Type,
)


@dataclass(frozen=True)
class Signature:
    """Parameters ("name": a string literal that goes into the instruction; "address": a pointer or
    64-bit integer; "word": the same, or any integer) and the result."""

    parameters: tuple[Type | str, ...]
    result: Type


_CSR_WRITE = Signature(("name", "word"), VOID)
SIGNATURES: dict[str, Signature] = {
    "csr_read": Signature(("name",), U64),
    "csr_write": _CSR_WRITE,
    "csr_set": _CSR_WRITE,
    "csr_clear": _CSR_WRITE,
    "csr_swap": Signature(("name", "word"), U64),
    **{
        name: Signature((), VOID)
        for name in ("fence", "fence_io", "fence_i", "wfi", "sfence_vma", "ebreak", "pause")
    },
    "unreachable": Signature((), NEVER),
    "ecall": Signature(("word", "word", "word"), INT),
    **{name: Signature((), U64) for name in ("rdtime", "rdcycle", "rdinstret")},
    **{
        f"mmio_read{t.bits}": Signature(("address",), t)
        for t in (U8, U16, U32, U64)
    },
    **{
        f"mmio_write{t.bits}": Signature(("address", t), VOID)
        for t in (U8, U16, U32, U64)
    },
}  # fmt: skip

for _name in (*SIGNATURES, "insn"):
    declare_builtin(_name)


def call_intrinsic(context: Context, name: str, node: syntax.Call) -> typed.Expr | None:
    """A call of an operation of the machine; None when `name` is none."""
    if name == "insn":
        return _raw(context, node)
    if name in tensor_instructions():
        return _tensor(context, name, node)
    signature = SIGNATURES.get(name)
    if signature is None:
        return None
    wanted = signature.parameters
    if len(node.arguments) != len(wanted) or node.keywords:
        plural = "" if len(wanted) == 1 else "s"
        message = f"'{name}' takes {len(wanted)} argument{plural}, not {len(node.arguments)}"
        return context.wrong(node.place, message)
    immediates: list[str] = []
    arguments: list[typed.Expr] = []
    for kind, argument in zip(wanted, node.arguments, strict=True):
        if kind == "name":
            immediates.append(_csr_name(context, argument))
        else:
            arguments.append(_operand(context, name, argument, kind))
    return typed.Intrinsic(signature.result, node.place, name, tuple(immediates), tuple(arguments))


def _csr_name(context: Context, node: syntax.Node) -> str:
    if not isinstance(node, syntax.Text):
        context.wrong(node.place, "the CSR is named by a string literal", 'as in "sstatus"')
        return "0"
    name = node.value.decode("utf-8", "replace")
    known = _csr_names()
    if known and name not in known and not name.isdigit():
        from toolchain.kern.diagnostics import did_you_mean

        context.wrong(node.place, f"there is no CSR '{name}'", did_you_mean(name, known))
    return name


@cache
def _csr_names() -> frozenset[str]:
    from emu.isa import csrs

    return frozenset(csrs.BY_NAME)


def _operand(context: Context, name: str, node: syntax.Node, kind: Type | str) -> typed.Expr:
    what = f"the argument of '{name}'"
    if isinstance(kind, Type):
        return convert(context, context.expression(node, kind), kind, what)
    return register_value(context, context.expression(node, INT), what)


def register_value(context: Context, value: typed.Expr, what: str) -> typed.Expr:
    """A value for an integer register: an integer (extended to 64 bits) or a pointer."""
    if isinstance(value.type, AnyInt):
        return default_type(context, value)
    if isinstance(value.type, Int):
        wide = value.type if value.type.bits == 64 else (INT if value.type.signed else U64)
        return cast(context, value, wide, value.place)
    if isinstance(value.type, Ptr) or value.type == POISON:
        return value
    return convert(context, value, PTR if value.type != STR else INT, what)


def _raw(context: Context, node: syntax.Call) -> typed.Expr:
    """`insn("text", values...)`: the instruction with its values in a0, a1, ...; gives a0."""
    if not node.arguments or not isinstance(node.arguments[0], syntax.Text):
        return context.wrong(node.place, "insn takes the instruction as a string literal")
    if len(node.arguments) > 9:
        return context.wrong(node.place, "insn takes at most 8 values")
    text = node.arguments[0].value.decode("utf-8", "replace")
    values = tuple(
        register_value(context, context.expression(a, INT), "a value of 'insn'")
        for a in node.arguments[1:]
    )
    return typed.Intrinsic(INT, node.place, "insn", (text,), values)


# ── Tensor instructions ──────────────────────────────────────────────────────────────────────


@cache
def tensor_instructions() -> dict[str, str]:
    """The operands' syntax of every Xaitensor instruction, by mnemonic: "{td:t}, ({rs1})"."""
    from emu.isa import TABLE

    found = {}
    for insn in TABLE.values():
        syntax_ = insn.syntax
        if ":t}" in syntax_:
            mnemonic, _, operands = syntax_.partition(" ")
            found[mnemonic] = operands
    return found


def _tensor(context: Context, name: str, node: syntax.Call) -> typed.Expr:
    operands = re.findall(r"\{(\w+)(:t)?\}", tensor_instructions()[name])
    gives = operands[0][0] == "rd" and not operands[0][1]
    wanted = operands[1:] if gives else operands
    optional = bool(wanted) and wanted[-1][0] in ("rs2", "rs3") and not wanted[-1][1]
    least = len(wanted) - int(optional)
    if not least <= len(node.arguments) <= len(wanted) or node.keywords:
        names = ", ".join(operand for operand, _ in wanted)
        message = f"'{name}' takes {len(wanted)} arguments ({names}), not {len(node.arguments)}"
        return context.wrong(node.place, message)
    text = tensor_instructions()[name]
    if gives:
        text = text.replace("{rd}", "a0", 1)
    values: list[typed.Expr] = []
    for number, (operand, tensor) in enumerate(wanted):
        if number >= len(node.arguments):
            shown = "x0"
        elif tensor or operand in ("field", "imm"):
            shown = _literal(context, node.arguments[number], operand, bool(tensor))
        else:
            value = context.expression(node.arguments[number], INT)
            values.append(register_value(context, value, f"the argument of '{name}'"))
            shown = f"a{len(values) - 1}"
        text = text.replace("{" + operand + (":t" if tensor else "") + "}", shown, 1)
    result = INT if gives else VOID
    return typed.Intrinsic(result, node.place, "insn", (f"{name} {text}",), tuple(values))


def _literal(context: Context, node: syntax.Node, operand: str, tensor: bool) -> str:
    value = constant_int(context, node)
    most = 15 if tensor else 31
    if value is None:
        return "0"
    if not 0 <= value <= most:
        what = "a tensor register" if tensor else "a descriptor's field"
        context.wrong(node.place, f"{value} is not the number of {what}, 0 to {most}")
    return f"tr{value}" if tensor else str(value)


def declare_tensor_instructions() -> None:
    """Makes the mnemonics of the tensor instructions names of builtins."""
    for name in tensor_instructions():
        declare_builtin(name)
