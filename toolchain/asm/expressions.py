"""Expressions: numbers, characters, symbols, `.`, the operators of C, and `%hi(x)` modifiers.

A value is a constant, or a symbol and a constant, or the difference of two symbols and a constant;
the difference of two known places of one section is folded at once. `Modified` is what an
instruction's operand may be: a value of which a relocation takes a part.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from toolchain.asm.source import StatementError
from toolchain.elf import SHN_ABS, Section, Symbol

_TOKEN = re.compile(
    r"\s*(0[xX][0-9a-fA-F]+|0[bB][01]+(?![\w])|\d+[fb](?!\w)|\d+|'(?:[^'\\]|\\.)'?"
    r"|[A-Za-z_.$][\w.$]*|<<|>>|[-+*/%&|^~()])"
)
_MODIFIER = re.compile(r"%(\w+)\((.*)\)$", re.S)
_ESCAPES = {"n": 10, "t": 9, "r": 13, "0": 0, "b": 8, "f": 12, "\\": 92, "'": 39, '"': 34}
_LEVELS = (("|",), ("^",), ("&",), ("<<", ">>"), ("+", "-"), ("*", "/", "%"))
_MODIFIERS = ("hi", "lo", "pcrel_hi", "pcrel_lo")
_MASK = (1 << 64) - 1


@dataclass(frozen=True)
class Value:
    """`plus - minus + constant`; without symbols, a plain number."""

    constant: int
    plus: Symbol | None = None
    minus: Symbol | None = None

    @property
    def known(self) -> bool:
        """Whether it is a plain number."""
        return self.plus is None and self.minus is None


@dataclass(frozen=True)
class Modified:
    """A value, or with a modifier the part of it that a relocation takes."""

    value: Value
    modifier: str = ""


Lookup = Callable[[str], Symbol]
"""Gives the symbol of a name: a label, `.`, or a numeric label such as `1f`."""


def fold(value: Value) -> Value:
    """Reduce symbols that are numbers, and differences within a section, to numbers."""
    constant, plus, minus = value.constant, value.plus, value.minus
    if plus is not None and plus.where == SHN_ABS:
        constant, plus = constant + plus.value, None
    if minus is not None and minus.where == SHN_ABS:
        constant, minus = constant - minus.value, None
    if (
        plus is not None
        and minus is not None
        and isinstance(plus.where, Section)
        and plus.where is minus.where
    ):
        constant, plus, minus = constant + plus.value - minus.value, None, None
    return Value(constant, plus, minus)


def parse(text: str, lookup: Lookup) -> Value:
    """The value of an expression; raises `StatementError`."""
    return _Parser(text, lookup).whole()


def parse_modified(text: str, lookup: Lookup) -> Modified:
    """The value of an instruction's operand, which may have a modifier."""
    match = _MODIFIER.match(text)
    if match is None:
        return Modified(parse(text, lookup))
    if match[1] not in _MODIFIERS:
        known = ", ".join(f"%{m}" for m in _MODIFIERS)
        raise StatementError(f"'%{match[1]}' is not one of the modifiers {known}.")
    return Modified(parse(match[2], lookup), match[1])


class _Parser:
    """Precedence climbing over the tokens of one expression."""

    def __init__(self, text: str, lookup: Lookup) -> None:
        self._text, self._lookup, self._position = text, lookup, 0

    def whole(self) -> Value:
        value = self._level(0)
        if self._text[self._position :].strip():
            raise self._error("an operator")
        return fold(value)

    def _error(self, wanted: str) -> StatementError:
        rest = self._text[self._position :].strip()
        found = f"'{rest}'" if rest else "the end"
        return StatementError(f"Expected {wanted}, found {found}.")

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        return match[1] if match else ""

    def _take(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        if match is None:
            raise self._error("a number or a symbol")
        self._position = match.end()
        return match[1]

    def _level(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self._unary()
        left = self._level(level + 1)
        while self._peek() in _LEVELS[level]:
            operator = self._take()
            left = self._apply(operator, left, self._level(level + 1))
        return left

    def _apply(self, operator: str, a: Value, b: Value) -> Value:
        a, b = fold(a), fold(b)
        if operator == "+" and not (a.plus and b.plus) and not (a.minus and b.minus):
            return Value(a.constant + b.constant, a.plus or b.plus, a.minus or b.minus)
        if operator == "-" and not (a.plus and b.minus) and not (a.minus and b.plus):
            return Value(a.constant - b.constant, a.plus or b.minus, a.minus or b.plus)
        if not a.known or not b.known:
            raise StatementError(
                f"'{self._text}' uses '{operator}' on a symbol whose value is not known yet."
            )
        return Value(self._arithmetic(operator, a.constant, b.constant))

    def _arithmetic(self, operator: str, a: int, b: int) -> int:
        if operator in "/%" and b == 0:
            raise StatementError(f"'{self._text}' divides by zero.")
        quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1) if operator in "/%" else 0
        match operator:
            case "/":
                return quotient
            case "%":
                return a - quotient * b
            case "<<":
                return (a & _MASK) << (b & 63) & _MASK
            case ">>":
                return (a & _MASK) >> (b & 63)
            case "*":
                return a * b
            case "&":
                return a & b
            case "|":
                return a | b
            case "+":
                return a + b
            case "-":
                return a - b
        return a ^ b

    def _unary(self) -> Value:
        token = self._peek()
        if token in ("-", "~", "+"):
            self._take()
            operand = fold(self._unary())
            if token == "+":
                return operand
            if not operand.known and token == "~":
                raise self._error("a number after '~'")
            if token == "~":
                return Value(~operand.constant)
            return Value(-operand.constant, operand.minus, operand.plus)
        if token == "(":
            self._take()
            inner = self._level(0)
            if self._peek() != ")":
                raise self._error("')'")
            self._take()
            return inner
        return self._primary()

    def _primary(self) -> Value:
        start = self._position
        token = self._take()
        if token[0] == "'":
            return Value(self._character(token))
        if token[0].isdigit() and token[-1] in "fb" and not token.startswith(("0x", "0X")):
            return Value(0, self._lookup(token))
        if token[0].isdigit():
            octal = len(token) > 1 and token[0] == "0" and token.isdigit()
            if octal and not re.fullmatch("[0-7]+", token):
                raise StatementError(f"'{token}' is not an octal number.")
            return Value(int(token, 8 if octal else 0))
        if token[0] in "*/%&|^)<>":
            self._position = start
            raise self._error("a number or a symbol")
        return Value(0, self._lookup(token))

    def _character(self, token: str) -> int:
        body = token[1:].removesuffix("'") if len(token) > 2 else token[1:]
        if body.startswith("\\"):
            return _ESCAPES.get(body[1], ord(body[1]))
        return ord(body)


def string(text: str) -> bytes:
    """The bytes of a quoted string with C's escapes."""
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        raise StatementError(f"Expected a string in quotes, found '{text}'.")

    def escape(match: re.Match[str]) -> str:
        body = match[1]
        if body[0] == "x":
            return chr(int(body[1:], 16) & 255)
        if body[0] in "01234567":
            return chr(int(body, 8) & 255)
        return chr(_ESCAPES.get(body, ord(body[0])))

    # Bytes travel as characters 0..255 so that escapes may name any byte.
    raw = text[1:-1].encode().decode("latin-1")
    return re.sub(r"\\(x[0-9a-fA-F]+|[0-7]{1,3}|.)", escape, raw).encode("latin-1")
