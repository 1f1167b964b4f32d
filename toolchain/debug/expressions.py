"""Expressions of `print`: Kern's operators over variables, registers and numbers.

    expression  = binary operators by precedence over unary      (the table _PRECEDENCE)
    unary       = ("-" | "!" | "~" | "*" | "&") unary | postfix
    postfix     = primary { "." name | "[" expression [":" expression] "]" }
    primary     = number | "true" | "false" | "$" register | name | type "(" expression ")"
                | "(" expression ")"

Each rule is a method that evaluates as it reads. `a.b` is a field when `a` is a variable, else the
global `b` of the module `a`. A name that is no variable may be an enum's member or a function.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable

from toolchain.debug import types
from toolchain.debug.errors import DebugError
from toolchain.debug.session import Session
from toolchain.debug.values import Value, encode, floating, integer, is_scalar, number

_TOKEN = re.compile(
    r"\s*(?:(?P<number>0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|\d[\d_]*(?:\.\d+)?)"
    r"|(?P<register>\$\w+)|(?P<name>[^\W\d]\w*)"
    r"|(?P<sign><<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^~!<>()\[\].:,=])|(?P<bad>\S))"
)
_PRECEDENCE: tuple[tuple[str, ...], ...] = (
    ("||",), ("&&",), ("==", "!=", "<", "<=", ">", ">="), ("|",), ("^",), ("&",),
    ("<<", ">>"), ("+", "-"), ("*", "/", "%"),
)  # fmt: skip
_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le,
    ">": operator.gt, ">=": operator.ge,
}  # fmt: skip
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "|": operator.or_, "^": operator.xor, "&": operator.and_,
    "<<": lambda a, b: a << (b & 63), ">>": lambda a, b: a >> (b & 63),
    "+": operator.add, "-": operator.sub, "*": operator.mul,
}  # fmt: skip
_MOST_NESTED = 30


def evaluate(session: Session, text: str) -> Value:
    """The value of `text` in the selected frame; DebugError when it has none."""
    parser = _Parser(session, text)
    value = parser.expression()
    parser.end()
    return value


def assign(session: Session, text: str) -> None:
    """`PLACE = EXPRESSION`: a variable, memory or a register gets a new value."""
    parser = _Parser(session, text)
    target = parser.expression()
    parser.expect("=")
    value = parser.expression()
    parser.end()
    if value.type is target.type and not is_scalar(target.type):
        data = value.bytes(session.memory)
    else:
        data = encode(target.type, number(value, session.memory))
    if target.register:
        session.set_register(target.register, data)
    elif target.address is not None:
        session.memory.write(target.address, data)
        session.changed()
    else:
        raise DebugError("What stands left of '=' is neither in memory nor a register.")


def whole(session: Session, text: str) -> int:
    """The value of `text` as an integer: an address, a count. A pointer counts as its address."""
    value = number(evaluate(session, text), session.memory)
    if isinstance(value, float):
        raise DebugError(f"'{text.strip()}' is {value}, but an integer is wanted.")
    return value


class _Parser:
    """One expression being read and evaluated."""

    def __init__(self, session: Session, text: str) -> None:
        self._session, self._memory = session, session.memory
        self._tokens: list[tuple[str, str]] = []
        for match in _TOKEN.finditer(text):
            kind = match.lastgroup or "bad"
            if kind == "bad":
                raise DebugError(f"The character '{match[kind]}' means nothing in an expression.")
            self._tokens.append((kind, match[kind]))
        self._tokens.append(("end", ""))
        self._at = 0
        self._depth = 0

    # ── Tokens ───────────────────────────────────────────────────────────────────────────────

    @property
    def _sign(self) -> str:
        """The next token if it is a sign."""
        kind, text = self._tokens[self._at]
        return text if kind == "sign" else ""

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at = min(self._at + 1, len(self._tokens) - 1)
        return token

    def _accept(self, sign: str) -> bool:
        if self._sign != sign:
            return False
        self._next()
        return True

    def expect(self, sign: str) -> None:
        """Take `sign` or complain."""
        if not self._accept(sign):
            raise DebugError(f"'{sign}' is expected {self._here()}.")

    def end(self) -> None:
        """Complain unless all is read."""
        if self._tokens[self._at][0] != "end":
            raise DebugError(f"The expression is over {self._here()}.")

    def _here(self) -> str:
        text = self._tokens[self._at][1]
        return f"before '{text}'" if text else "at the end"

    # ── Grammar ──────────────────────────────────────────────────────────────────────────────

    def expression(self) -> Value:
        """The rule `expression`."""
        self._depth += 1
        if self._depth > _MOST_NESTED:
            raise DebugError("The expression is nested too deeply.")
        value = self._binary(0)
        self._depth -= 1
        return value

    def _binary(self, level: int) -> Value:
        if level == len(_PRECEDENCE):
            return self._unary()
        left = self._binary(level + 1)
        while self._sign in _PRECEDENCE[level]:
            sign = self._next()[1]
            left = self._operate(sign, left, self._binary(level + 1))
        return left

    def _unary(self) -> Value:
        signs = []
        while self._sign in ("-", "!", "~", "*", "&"):
            signs.append(self._next()[1])
        value = self._postfix()
        for sign in reversed(signs):
            value = self._apply(sign, value)
        return value

    def _apply(self, sign: str, value: Value) -> Value:
        if sign == "*":
            return self._pointee(value)
        if sign == "&":
            if value.address is None:
                raise DebugError("What '&' is applied to is not in memory.")
            return integer(value.address, types.pointer_to(value.type))
        n = number(value, self._memory)
        if sign == "!":
            return integer(not n, types.BOOL)
        if isinstance(n, float):
            if sign == "~":
                raise DebugError("'~' takes an integer.")
            return floating(-n)
        return integer(-n if sign == "-" else ~n, self._arithmetic_type(value, value))

    def _postfix(self) -> Value:
        value = self._primary()
        while True:
            if self._accept("."):
                kind, name = self._next()
                if kind != "name":
                    raise DebugError("A field's name is expected after '.'.")
                value = self._field(value, name)
            elif self._accept("["):
                value = self._index(value)
            else:
                return value

    def _primary(self) -> Value:
        kind, text = self._next()
        match kind:
            case "number":
                return _number(text)
            case "register":
                return self._session.register(text[1:])
            case "name":
                return self._name(text)
            case "sign" if text == "(":
                value = self.expression()
                self.expect(")")
                return value
        raise DebugError(f"A value is expected before '{text}'." if text else "A value is missing.")

    def _name(self, name: str) -> Value:
        if name in ("true", "false"):
            return integer(name == "true", types.BOOL)
        if self._sign == "(" and (name in types.BASIC or name in self._session.program.types):
            return self._cast(types.BASIC.get(name) or self._session.program.types[name])
        if name == "ptr" and self._sign == "[":
            return self._pointer_cast()
        while True:
            value = self._session.variable(name) or self._constant(name)
            if value is not None:
                return value
            if self._sign != "." or self._tokens[self._at + 1][0] != "name":
                raise DebugError(f"There is no variable '{name}' here.")
            self._next()
            name += "." + self._next()[1]

    def _constant(self, name: str) -> Value | None:
        """What else a name can mean: a member of an enum, a function, a label."""
        for type_ in self._session.program.types.values():
            if isinstance(type_, types.Enum):
                for value, member in type_.members.items():
                    if name in (member, f"{type_.name}.{member}"):
                        return integer(value, type_)
        functions = self._session.functions_named(name)
        if len(functions) == 1:
            return integer(functions[0].low, types.ADDRESS)
        label = next((a for a, n in self._session.program.symbols if n == name), None)
        return None if label is None else integer(label, types.ADDRESS)

    def _cast(self, type_: types.Type) -> Value:
        self.expect("(")
        value = number(self.expression(), self._memory)
        self.expect(")")
        if isinstance(value, float) and not math.isfinite(value):
            raise DebugError(f"{value} is no value of {type_.name}.")
        return Value(type_, None, encode(type_, value))

    def _pointer_cast(self) -> Value:
        """`ptr[T](address)`."""
        self.expect("[")
        name = self._next()[1]
        while not self._accept("]"):
            kind, text = self._next()
            if kind == "end":
                raise DebugError("']' is expected at the end.")
            name += text
        target = types.BASIC.get(name) or self._session.program.types.get(name)
        if target is None:
            raise DebugError(f"There is no type '{name}'.")
        return self._cast(types.pointer_to(target))

    # ── Meaning ──────────────────────────────────────────────────────────────────────────────

    def _pointee(self, value: Value) -> Value:
        if not isinstance(value.type, types.Pointer):
            raise DebugError(f"'*' takes a pointer, and this is of type {value.type.name}.")
        if value.type.target is None:
            raise DebugError("This pointer has no type; write ptr[T](...) or use 'x'.")
        return Value(value.type.target, int(number(value, self._memory)))

    def _field(self, value: Value, name: str) -> Value:
        if isinstance(value.type, types.Pointer) and value.type.target is not None:
            value = self._pointee(value)
        fields = value.type.fields if isinstance(value.type, types.Struct) else {}
        if name not in fields:
            known = f"; it has {', '.join(fields)}" if fields else ""
            raise DebugError(f"The type {value.type.name} has no field '{name}'{known}.")
        return value.part(fields[name].type, fields[name].offset)

    def _index(self, value: Value) -> Value:
        start = self._whole()
        end = self._whole() if self._accept(":") else None
        self.expect("]")
        element, first, length = self._sequence(value)
        if end is not None:
            if start < 0 or end < start or (length is not None and end > length):
                raise DebugError(f"[{start}:{end}] is outside of {length} elements.")
            name = f"array[{element.name}, {end - start}]"
            made = types.Array(name, element.size * (end - start), element, end - start)
            return first.part(made, start * element.size)
        if length is not None and not 0 <= start < length:
            raise DebugError(f"The index {start} is outside of {length} elements.")
        return first.part(element, start * element.size)

    def _whole(self) -> int:
        value = number(self.expression(), self._memory)
        if isinstance(value, float):
            raise DebugError("An index is an integer.")
        return value

    def _sequence(self, value: Value) -> tuple[types.Type, Value, int | None]:
        """What can be indexed: the element's type, the place of the first, how many."""
        type_ = value.type
        if isinstance(type_, types.Struct) and type_.is_table:
            return self._sequence(self._field(value, "elements"))
        if isinstance(type_, types.Array):
            return type_.element, value, type_.length
        if isinstance(type_, types.Pointer) and type_.target is not None:
            return type_.target, Value(type_, int(number(value, self._memory))), None
        if isinstance(type_, types.Struct) and type_.is_slice and type_.element is not None:
            first, length = self._session.formatter().pair(value)
            return type_.element, Value(type_, first), length
        raise DebugError(f"A value of type {type_.name} cannot be indexed.")

    def _operate(self, sign: str, left: Value, right: Value) -> Value:
        a, b = number(left, self._memory), number(right, self._memory)
        if sign in ("&&", "||"):
            return integer(bool(a and b) if sign == "&&" else bool(a or b), types.BOOL)
        if sign in _COMPARISONS:
            return integer(_COMPARISONS[sign](a, b), types.BOOL)
        if sign in ("/", "%") and not b:
            raise DebugError("That divides by zero.")
        if isinstance(a, float) or isinstance(b, float):
            return _float_operate(sign, a, b)
        if isinstance(left.type, types.Pointer) and left.type.target and sign in ("+", "-"):
            b *= left.type.target.size
        result = _divide(sign, a, b) if sign in ("/", "%") else _ARITHMETIC[sign](a, b)
        return integer(result, self._arithmetic_type(left, right))

    def _arithmetic_type(self, left: Value, right: Value) -> types.Type:
        """Pointers stay pointers, u64 stays u64, the rest is int."""
        if isinstance(left.type, types.Pointer):
            return left.type
        if isinstance(right.type, types.Pointer):
            return types.ADDRESS
        unsigned = (
            isinstance(t, types.Int) and not t.signed and t.size == 8
            for t in (left.type, right.type)
        )
        return types.U64 if any(unsigned) else types.INT


def _number(text: str) -> Value:
    try:
        value = int(text.replace("_", ""), 0) if "." not in text else float(text.replace("_", ""))
    except ValueError:
        raise DebugError(f"'{text}' is not a number.") from None
    if isinstance(value, float):
        return floating(value)
    if value >> 64:
        raise DebugError(f"{text} does not fit in 64 bits.")
    return integer(value, types.U64 if value >> 63 else types.INT)


def _divide(sign: str, a: int, b: int) -> int:
    """Kern's / and % round towards zero."""
    quotient = abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)
    return quotient if sign == "/" else a - quotient * b


def _float_operate(sign: str, a: float, b: float) -> Value:
    try:
        match sign:
            case "+":
                return floating(a + b)
            case "-":
                return floating(a - b)
            case "*":
                return floating(a * b)
            case "/":
                return floating(a / b)
            case "%":
                return floating(math.fmod(a, b))
    except (OverflowError, ValueError):
        raise DebugError("The result is no finite number.") from None
    raise DebugError(f"'{sign}' takes integers.")
