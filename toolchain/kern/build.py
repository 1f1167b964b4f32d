"""From the lark tree of one file to its abstract syntax tree.

One method a rule of `grammar.lark`, of the same name. Literals get their values here, so what is
wrong inside a literal is reported here too.
"""

from __future__ import annotations

import re
from typing import Any

from lark import Token, Transformer, Tree, v_args
from lark.tree import Meta

from toolchain.kern import syntax
from toolchain.kern.diagnostics import Diagnostic, Place
from toolchain.kern.syntax import Node

_UNITS = {
    "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40,
    "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000,
}  # fmt: skip
_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "\\": 92, '"': 34, "'": 39}
_NUMBER = re.compile(
    r"(?P<based>0[xX](?P<x>[0-9A-Fa-f_]+)|0[bB](?P<b>[01_]+)|0[oO](?P<o>[0-7_]+))"
    r"|(?P<digits>[0-9][0-9_]*)(?P<fraction>\.[0-9][0-9_]*)?(?P<exponent>[eE][+-]?[0-9]+)?"
    r"(?P<unit>%|[A-Za-z]+)?"
)
_WIDE = 1000
"""A width past any line's end: what is underlined runs to the end of its line."""

Children = list[Any]


@v_args(meta=True)
class Builder(Transformer[Token, Any]):
    """Builds the nodes of one file; `diagnostics` collects what is wrong with literals."""

    def __init__(self, file: str) -> None:
        super().__init__()
        self._file = file
        self.diagnostics: list[Diagnostic] = []

    # ── Places ───────────────────────────────────────────────────────────────────────────────

    def _place(self, meta: Meta) -> Place:
        if meta.empty:
            return Place(self._file, 1, 1)
        width = meta.end_column - meta.column if meta.end_line == meta.line else _WIDE
        return Place(self._file, meta.line, meta.column, width)

    def _at(self, token: Token) -> Place:
        assert token.line is not None
        assert token.column is not None
        return Place(self._file, token.line, token.column, len(token))

    def _wrong(self, place: Place, message: str, hint: str = "") -> None:
        self.diagnostics.append(Diagnostic(place, message, hint))

    # ── Declarations ─────────────────────────────────────────────────────────────────────────

    def start(self, meta: Meta, items: Children) -> tuple[Node, ...]:
        return tuple(items)

    def path(self, meta: Meta, parts: Children) -> tuple[Place, str | None, str]:
        first, second = parts
        if second is None:
            return self._at(first), None, str(first)
        return self._place(meta), str(first), str(second)

    def parameters(self, meta: Meta, parts: Children) -> tuple[syntax.Parameter, ...]:
        return tuple(p for p in parts if p is not None)

    def parameter(self, meta: Meta, parts: Children) -> syntax.Parameter:
        name, type_, dots = (*parts, None, None)[:3]
        return syntax.Parameter(self._at(name), str(name), type_, dots is not None)

    def function(self, meta: Meta, parts: Children) -> Node:
        exported, gpu, (place, owner, name), parameters, *rest = parts
        *result, body = rest
        return syntax.Function(
            place, owner, name, parameters or (), _first(result), body,
            exported is not None, gpu is not None,
        )  # fmt: skip

    def extern(self, meta: Meta, parts: Children) -> Node:
        name, parameters, *result = parts
        place = self._at(name)
        return syntax.Function(
            place, None, str(name), parameters or (), _first(result), None, False
        )

    def fails(self, meta: Meta, parts: Children) -> Node:
        return syntax.ResultType(self._place(meta), None)

    def struct(self, meta: Meta, parts: Children) -> Node:
        name, *fields = parts
        return syntax.Struct(self._at(name), str(name), tuple(fields))

    def field(self, meta: Meta, parts: Children) -> Node:
        return syntax.FieldDeclaration(self._at(parts[0]), str(parts[0]), parts[1])

    def enum(self, meta: Meta, parts: Children) -> Node:
        name, *members = parts
        return syntax.Enum(self._at(name), str(name), tuple(members))

    def member(self, meta: Meta, parts: Children) -> Node:
        return syntax.EnumMember(self._at(parts[0]), str(parts[0]), parts[1])

    def test(self, meta: Meta, parts: Children) -> Node:
        name = self._bytes(parts[0]).decode("utf-8", "replace")
        return syntax.Test(self._at(parts[0]), name, parts[1])

    # ── Types ────────────────────────────────────────────────────────────────────────────────

    def result_type(self, meta: Meta, parts: Children) -> Node:
        return syntax.ResultType(self._place(meta), parts[0])

    def type_name(self, meta: Meta, parts: Children) -> Node:
        first, second, *arguments = parts
        place = self._place(meta)
        base: Node = syntax.Name(self._at(first), str(first))
        if second is not None:
            base = syntax.Dot(place, base, str(second), self._at(second))
        given = tuple(a for a in arguments if a is not None)
        return syntax.Index(place, base, given) if given else base

    def fn_type(self, meta: Meta, parts: Children) -> Node:
        parameters, *result = parts
        return syntax.FnType(self._place(meta), parameters or (), _first(result))

    def fn_parameters(self, meta: Meta, parts: Children) -> tuple[Node, ...]:
        return tuple(parts)

    def enum_type(self, meta: Meta, parts: Children) -> Node:
        members = tuple(str(p) for p in parts if p is not None)
        return syntax.EnumType(self._place(meta), members)

    # ── Statements ───────────────────────────────────────────────────────────────────────────

    def close(self, meta: Meta, parts: Children) -> Place:
        return self._at(parts[0])

    def block(self, meta: Meta, parts: Children) -> Node:
        *body, end = parts
        return syntax.Block(self._place(meta), tuple(body), end)

    def assign(self, meta: Meta, parts: Children) -> Node:
        return syntax.Assign(self._place(meta), parts[0], parts[1])

    def declare(self, meta: Meta, parts: Children) -> Node:
        local, name, type_, *value = parts
        return syntax.Declare(self._at(name), str(name), type_, _first(value), local is not None)

    def update(self, meta: Meta, parts: Children) -> Node:
        target, op, value = parts
        return syntax.Update(self._place(meta), str(op)[:-1], target, value)

    def step(self, meta: Meta, parts: Children) -> Node:
        target, op = parts
        one = syntax.Integer(self._at(op), 1)
        return syntax.Update(self._place(meta), str(op)[0], target, one)

    def otherwise(self, meta: Meta, parts: Children) -> Node:
        result, name, block = parts
        return syntax.Otherwise(self._place(meta), result, name and str(name), block)

    def if_(self, meta: Meta, parts: Children) -> Node:
        condition, then, *rest = parts
        otherwise = _first(rest)
        if isinstance(otherwise, syntax.If):
            otherwise = syntax.Block(otherwise.place, (otherwise,), otherwise.then.end)
        return syntax.If(self._place(meta), condition, then, otherwise)

    def while_(self, meta: Meta, parts: Children) -> Node:
        return syntax.While(self._place(meta), parts[0], parts[1])

    def for_(self, meta: Meta, parts: Children) -> Node:
        first, second, iterable, body = parts
        names = [syntax.Name(self._at(t), str(t)) for t in (first, second) if t is not None]
        index = names[0] if len(names) == 2 else None
        return syntax.For(self._place(meta), index, names[-1], iterable, body)

    def range(self, meta: Meta, parts: Children) -> Node:
        return syntax.Range(self._place(meta), parts[0], parts[1])

    def match(self, meta: Meta, parts: Children) -> Node:
        return syntax.Match(self._place(meta), parts[0], tuple(parts[1:]))

    def arm(self, meta: Meta, parts: Children) -> Node:
        *patterns, body = parts
        return syntax.Arm(patterns[0].place, tuple(patterns), body)

    def else_arm(self, meta: Meta, parts: Children) -> Node:
        return syntax.Arm(self._place(meta), (), parts[0])

    def break_(self, meta: Meta, parts: Children) -> Node:
        return syntax.Break(self._place(meta))

    def continue_(self, meta: Meta, parts: Children) -> Node:
        return syntax.Continue(self._place(meta))

    def return_(self, meta: Meta, parts: Children) -> Node:
        return syntax.Return(self._place(meta), _first(parts))

    def fail(self, meta: Meta, parts: Children) -> Node:
        return syntax.Fail(self._place(meta), tuple(parts))

    def defer(self, meta: Meta, parts: Children) -> Node:
        (body,) = parts
        place = self._place(meta)
        if not isinstance(body, syntax.Block):
            body = syntax.Block(body.place, (body,), body.place)
        return syntax.Defer(place, body)

    def evaluate(self, meta: Meta, parts: Children) -> Node:
        return syntax.Evaluate(self._place(meta), parts[0])

    # ── Expressions ──────────────────────────────────────────────────────────────────────────

    def either(self, meta: Meta, parts: Children) -> Node:
        return self._infix(meta, "||", parts[0], parts[1])

    def both(self, meta: Meta, parts: Children) -> Node:
        return self._infix(meta, "&&", parts[0], parts[1])

    def _infix(self, meta: Meta, op: str, left: Node, right: Node) -> Node:
        place = self._place(meta)
        return syntax.Infix(place, op, left, right, place)

    def binary(self, meta: Meta, parts: Children) -> Node:
        left, op, right = parts
        return syntax.Infix(self._place(meta), str(op), left, right, self._at(op))

    def operator(self, meta: Meta, parts: Children) -> Token:
        token: Token = parts[0]
        return token

    def prefix(self, meta: Meta, parts: Children) -> Node:
        return syntax.Prefix(self._place(meta), str(parts[0]), parts[1])

    def try_(self, meta: Meta, parts: Children) -> Node:
        return syntax.Try(self._place(meta), parts[0])

    def launch(self, meta: Meta, parts: Children) -> Node:
        _, kernel, grid, group, device, signal = parts
        return syntax.Launch(self._place(meta), kernel, grid, group, device, signal)

    def extents(self, meta: Meta, parts: Children) -> tuple[Node, ...]:
        return tuple(p for p in parts if p is not None)

    def dot(self, meta: Meta, parts: Children) -> Node:
        return syntax.Dot(self._place(meta), parts[0], str(parts[1]), self._at(parts[1]))

    def call(self, meta: Meta, parts: Children) -> Node:
        callee, arguments = parts
        given = [a for a in arguments or () if a is not None]
        plain = tuple(a for a in given if not isinstance(a, syntax.StructField))
        keywords = tuple(a for a in given if isinstance(a, syntax.StructField))
        return syntax.Call(self._place(meta), callee, plain, keywords)

    def arguments(self, meta: Meta, parts: Children) -> Children:
        return parts

    def keyword(self, meta: Meta, parts: Children) -> Node:
        return syntax.StructField(self._at(parts[0]), str(parts[0]), parts[1])

    def index(self, meta: Meta, parts: Children) -> Node:
        base, *arguments = parts
        return syntax.Index(self._place(meta), base, tuple(arguments))

    def slice(self, meta: Meta, parts: Children) -> Node:
        return syntax.SliceOf(self._place(meta), parts[0], parts[1], parts[2])

    def struct_literal(self, meta: Meta, parts: Children) -> Node:
        type_, _brace, fields = parts
        return syntax.StructLiteral(self._place(meta), type_, tuple(fields or ()))

    def struct_fields(self, meta: Meta, parts: Children) -> Children:
        return [p for p in parts if p is not None]

    struct_field = keyword

    def parenthesised(self, meta: Meta, parts: Children) -> Node:
        node: Node = parts[0]
        return node

    def array_literal(self, meta: Meta, parts: Children) -> Node:
        return syntax.ArrayLiteral(self._place(meta), tuple(parts[0] or ()))

    array_items = struct_fields

    # ── Literals ─────────────────────────────────────────────────────────────────────────────

    def name(self, meta: Meta, parts: Children) -> Node:
        return syntax.Name(self._at(parts[0]), str(parts[0]))

    def true(self, meta: Meta, parts: Children) -> Node:
        return syntax.Boolean(self._place(meta), True)

    def false(self, meta: Meta, parts: Children) -> Node:
        return syntax.Boolean(self._place(meta), False)

    def null(self, meta: Meta, parts: Children) -> Node:
        return syntax.NullLiteral(self._place(meta))

    def char(self, meta: Meta, parts: Children) -> Node:
        value = self._bytes(parts[0])
        if len(value) != 1:
            place = self._at(parts[0])
            self._wrong(place, "a character literal holds one byte", 'use a string: "..."')
        return syntax.Integer(self._at(parts[0]), value[0] if value else 0)

    def string(self, meta: Meta, parts: Children) -> Node:
        return syntax.Text(self._at(parts[0]), self._bytes(parts[0]))

    def number(self, meta: Meta, parts: Children) -> Node:
        place = self._at(parts[0])
        found = _NUMBER.fullmatch(parts[0])
        if found is None:
            self._wrong(place, f"'{parts[0]}' is not a number")
            return syntax.Integer(place, 0)
        if found["based"]:
            base = 16 if found["x"] else 2 if found["b"] else 8
            digits = found["x"] or found["b"] or found["o"]
            return syntax.Integer(place, self._to_int(place, digits, base))
        return self._decimal(place, found)

    def _decimal(self, place: Place, found: re.Match[str]) -> Node:
        unit = found["unit"]
        fractional = found["fraction"] or found["exponent"]
        text = found["digits"] + (found["fraction"] or "") + (found["exponent"] or "")
        if unit == "%":
            return syntax.Number(place, float(text.replace("_", "")) / 100)
        if unit is not None and unit not in _UNITS:
            known = ", ".join(_UNITS)
            self._wrong(place, f"unknown unit '{unit}'", f"the units are {known} and %")
        scale = _UNITS.get(unit or "", 1)
        if not fractional:
            return syntax.Integer(place, self._to_int(place, text, 10) * scale)
        value = float(text.replace("_", ""))
        return syntax.Integer(place, round(value * scale)) if unit else syntax.Number(place, value)

    def _to_int(self, place: Place, digits: str, base: int) -> int:
        if len(digits) > 100 or not digits.strip("_"):
            self._wrong(place, "this is not a number of at most 100 digits")
            return 0
        return int(digits.replace("_", ""), base)

    def _bytes(self, token: Token) -> bytes:
        """The value of a string or character literal, escapes resolved."""
        out = bytearray()
        text, at = str(token)[1:-1], 0
        while at < len(text):
            if text[at] != "\\":
                out += text[at].encode("utf-8", "surrogatepass")
                at += 1
            elif hexadecimal := re.match(r"\\x([0-9A-Fa-f]{2})", text[at:]):
                out.append(int(hexadecimal[1], 16))
                at += 4
            else:
                if text[at + 1] not in _ESCAPES:
                    known = r"\n \t \r \0 \\ \" \xNN"
                    message = f"unknown escape '\\{text[at + 1]}'"
                    self._wrong(self._at(token), message, f"the escapes are {known}")
                out.append(_ESCAPES.get(text[at + 1], 63))
                at += 2
        return bytes(out)

    def __default__(self, data: Any, children: Any, meta: Any) -> Any:
        raise AssertionError(f"the grammar's rule {data} has no method here")


for _rule in ("if", "while", "for", "break", "continue", "return"):
    setattr(Builder, _rule, getattr(Builder, f"{_rule}_"))
for _rule in (
    "comparison_op", "bit_or_op", "bit_xor_op", "bit_and_op", "shift_op", "sum_op", "product_op",
    "unary_op",
):  # fmt: skip
    setattr(Builder, _rule, Builder.operator)


def build(tree: Tree[Token], file: str) -> tuple[tuple[Node, ...], list[Diagnostic]]:
    """The top-level nodes of a file's tree, and what is wrong with its literals."""
    builder = Builder(file)
    items: tuple[Node, ...] = builder.transform(tree)
    return items, builder.diagnostics


def _first(parts: Children) -> Any:
    return parts[0] if parts else None
