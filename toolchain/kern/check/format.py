"""Format strings: `"agent {} uses {:x}"` and its arguments."""

from __future__ import annotations

import re
from collections.abc import Sequence

from toolchain.kern import syntax, typed
from toolchain.kern.check.context import Context
from toolchain.kern.check.convert import convert, default_type
from toolchain.kern.check.results import refuse_result
from toolchain.kern.diagnostics import Place
from toolchain.kern.types import F64, POISON, STR, Bool, Enum, Float, Fn, Int, Ptr, Str, Type

_PIECE = re.compile(rb"\{\{|\}\}|\{([^{}]*)\}|[{}]|[^{}]+")
_SPEC = re.compile(
    r"(?P<align>[<>])?(?P<zero>0)?(?P<width>\d{0,3})(\.(?P<precision>\d{1,2}))?(?P<base>[xd])?"
)


def format_text(
    context: Context, arguments: Sequence[syntax.Node], place: Place, into: str | typed.Expr
) -> typed.Expr:
    """The text that a format string and its arguments make; a str alone is taken as it is."""
    if not arguments:
        return context.wrong(place, "a text is missing")
    first, *rest = arguments
    if not isinstance(first, syntax.Text):
        value = convert(context, context.expression(first, STR), STR, "the text")
        if rest:
            message = "the format must be a string literal when it has arguments"
            return context.wrong(first.place, message)
        return value
    pieces = _split(context, first)
    values = [_argument(context, node) for node in rest]
    wanted = sum(isinstance(piece, typed.FormatSpec) for piece in pieces)
    if wanted != len(values):
        plural = "s" if wanted != 1 else ""
        message = f"the format has {wanted} place{plural} but {len(values)} arguments are given"
        return context.wrong(first.place, message.replace("1 arguments are", "1 argument is"))
    if any(value.type == POISON for value in values):
        return typed.Zero(POISON, place)
    if not values and isinstance(into, str):
        literal = b"".join(piece for piece in pieces if isinstance(piece, bytes))
        return typed.StrConst(STR, first.place, literal)
    return typed.Format(STR, place, _join(context, pieces, values), into)


def _argument(context: Context, node: syntax.Node) -> typed.Expr:
    value = refuse_result(context, default_type(context, context.expression(node)))
    if isinstance(value.type, Int | Float | Bool | Str | Ptr | Fn | Enum) or value.type == POISON:
        return value
    return context.wrong(node.place, f"{value.type} cannot be formatted", _hint(value.type))


def _hint(type_: Type) -> str:
    return "give its fields one by one" if hasattr(type_, "fields") else ""


def _split(context: Context, node: syntax.Text) -> list[bytes | typed.FormatSpec]:
    pieces: list[bytes | typed.FormatSpec] = []
    for found in _PIECE.finditer(node.value):
        piece = found[0]
        if piece in (b"{{", b"}}"):
            pieces.append(piece[:1])
        elif piece in (b"{", b"}"):
            context.wrong(node.place, f"a single '{piece.decode()}' in a format",
                          f"write {piece.decode() * 2} for the character")  # fmt: skip
        elif found[1] is not None:
            pieces.append(_spec(context, node.place, found[1].decode("utf-8", "replace")))
        else:
            pieces.append(piece)
    return pieces


def _spec(context: Context, place: Place, text: str) -> typed.FormatSpec:
    found = _SPEC.fullmatch(text[1:]) if text.startswith(":") else None
    if text and found is None:
        context.wrong(place, f"'{{{text}}}' is not a format", "as in {} {:x} {:08x} {:<20} {:.3}")
    if found is None:
        return typed.FormatSpec()
    precision = None if found["precision"] is None else int(found["precision"])
    return typed.FormatSpec(
        found["base"] or "d", int(found["width"] or 0), "0" if found["zero"] else " ",
        found["align"], precision,
    )  # fmt: skip


def _join(
    context: Context, pieces: list[bytes | typed.FormatSpec], values: list[typed.Expr]
) -> tuple[bytes | typed.FormatPart, ...]:
    """The parts, neighbouring literal bytes made one."""
    parts: list[bytes | typed.FormatPart] = []
    waiting = iter(values)
    for piece in pieces:
        if isinstance(piece, typed.FormatSpec):
            value = next(waiting)
            _check_spec(context, value, piece)
            parts.append(typed.FormatPart(_widened(value), piece))
        elif parts and isinstance(parts[-1], bytes):
            parts[-1] += piece
        else:
            parts.append(piece)
    return tuple(parts)


def _widened(value: typed.Expr) -> typed.Expr:
    if value.type == Float(32):
        return typed.Cast(F64, value.place, "float_resize", value)
    return value


def _check_spec(context: Context, value: typed.Expr, spec: typed.FormatSpec) -> None:
    if spec.base == "x" and not isinstance(value.type, Int | Ptr):
        context.wrong(value.place, f"{value.type} cannot be shown in hexadecimal")
    if spec.precision is not None and not isinstance(value.type, Float | Str):
        context.wrong(value.place, f"{value.type} has no decimal places")
