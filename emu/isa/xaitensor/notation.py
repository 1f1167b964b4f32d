"""The notation in which tensor instructions state shapes, conditions and meanings.

An expression is written in Python's grammar and means what it says there: arithmetic, comparisons,
`a if c else b`, calls of named functions, `sum(f(k) for k in n if g(k))`. What is particular:

* extents and index tuples are tuples; arithmetic on them is element by element (`p * stride + k`),
  as long as the shorter one;
* `for k in n` runs over 0 to n - 1; with a tuple of extents, over all index tuples below it, the
  last index fastest;
* `at in t` asks whether the index `at` lies inside the extents `t`;
* `x[*p, i]` is an element, or an item or a slice of a tuple.

`read` turns a text into a function of a `Scope`, which knows the names.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import pairwise, product
from typing import Any

CONSTANTS = {"pi": math.pi, "inf": math.inf, "nan": math.nan}
Value = Any  # a number, a tuple of them, or what a function makes of these
Code = Callable[["Scope"], Value]


class Scope:
    """The names that an expression may use, and the functions it may call."""

    def __init__(
        self, names: Mapping[str, Value], functions: Mapping[str, Callable[..., Value]]
    ) -> None:
        self.names, self.functions = dict(names), functions

    def __getitem__(self, name: str) -> Value:
        """The value of a name. Raises KeyError."""
        return self.names[name]

    def bind(self, name: str, value: Value) -> Scope:
        """The same scope with one more name."""
        inner = type(self).__new__(type(self))
        inner.__dict__.update(self.__dict__)
        inner.names = {**self.names, name: value}
        return inner

    def call(self, name: str, arguments: Iterable[Value]) -> Value:
        """A function applied; functions are given the scope first."""
        return self.functions[name](self, *arguments)

    def element(self, name: str, index: tuple[int, ...]) -> Value:
        """`name[index]`."""
        return self[name][index[0]]


@cache
def read(text: str) -> Code:
    """An expression as a function of the scope. Raises ValueError for what is not of the notation.

    Evaluating raises KeyError for a name or function that the scope lacks.
    """
    try:
        return _compile(ast.parse(text.strip(), mode="eval").body)
    except SyntaxError as error:
        raise ValueError(f"'{text}' is not an expression: {error.msg}") from error


def _parsed(text: str) -> ast.Module:
    """The lines of a meaning, or one expression, however they are indented."""
    return ast.parse("\n".join(line.strip() for line in text.strip().splitlines()))


@cache
def functions_of(text: str) -> frozenset[str]:
    """The functions that an expression, or the lines of a meaning, call."""
    calls = (n.func for n in ast.walk(_parsed(text)) if isinstance(n, ast.Call))
    return frozenset(function.id for function in calls if isinstance(function, ast.Name))


@cache
def names_of(text: str) -> frozenset[str]:
    """The names that it uses and does not bind itself, functions not among them."""
    tree = _parsed(text)
    bound: set[str] = set()
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        if isinstance(node, ast.comprehension):
            targets = [node.target]
        bound |= {n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name)}
    used = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name)}
    return frozenset(used - bound - functions_of(text))


def below(extents: Value) -> Iterable[Value]:
    """The indices of one extent, or the index tuples of several."""
    if isinstance(extents, tuple):
        return product(*map(range, extents))
    return range(int(extents))


def _inside(index: Value, extents: Value) -> bool:
    if not isinstance(extents, tuple):
        return bool(0 <= index < extents)
    if not isinstance(index, tuple):
        return index in extents
    return all(0 <= i < n for i, n in zip(index, extents, strict=True))


def _each(function: Callable[[Value, Value], Value]) -> Callable[[Value, Value], Value]:
    """An operation on numbers, extended to tuples."""

    def apply(x: Value, y: Value) -> Value:
        if isinstance(x, tuple) and isinstance(y, tuple):
            return tuple(function(a, b) for a, b in zip(x, y, strict=False))
        if isinstance(x, tuple):
            return tuple(function(a, y) for a in x)
        if isinstance(y, tuple):
            return tuple(function(x, b) for b in y)
        return function(x, y)

    return apply


def divide(x: Value, y: Value) -> Value:
    """Division of elements: of integers, toward zero and by zero -1; of floats, as IEEE 754."""
    if isinstance(x, int) and isinstance(y, int):
        quotient = abs(x) // abs(y) if y else 1
        return -quotient if not y or (x < 0) != (y < 0) else quotient
    if y:
        return x / y
    if not x or x != x:
        return float("nan")
    negative = (x < 0) != (str(y)[0] == "-")
    return float("-inf") if negative else float("inf")


_OPERATORS: dict[type[ast.AST], Callable[..., Value]] = {
    ast.Add: _each(operator.add),
    ast.Sub: _each(operator.sub),
    ast.Mult: _each(operator.mul),
    ast.Div: _each(divide),
    ast.FloorDiv: _each(operator.floordiv),
    ast.Mod: _each(operator.mod),
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: _inside,
    ast.Not: operator.not_,
    ast.USub: lambda x: tuple(-i for i in x) if isinstance(x, tuple) else -x,
}


def _compile(node: ast.expr) -> Code:
    match node:
        case ast.Constant(value=int() | float() as value):
            return lambda s: value
        case ast.Name(id=name):
            return lambda s: s[name]
        case ast.Tuple():
            return _items(node.elts)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            apply, x, y = _OPERATORS[type(op)], _compile(left), _compile(right)
            return lambda s: apply(x(s), y(s))
        case ast.UnaryOp(op=op, operand=operand) if type(op) in _OPERATORS:
            apply, x = _OPERATORS[type(op)], _compile(operand)
            return lambda s: apply(x(s))
        case ast.BoolOp(op=op, values=values):
            codes = [_compile(v) for v in values]
            every = all if isinstance(op, ast.And) else any
            return lambda s: every(code(s) for code in codes)
        case ast.IfExp(test=test, body=body, orelse=other):
            condition, x, y = _compile(test), _compile(body), _compile(other)
            return lambda s: x(s) if condition(s) else y(s)
        case ast.Compare():
            return _comparison(node)
        case ast.Subscript(value=ast.Name(id=name), slice=index):
            return _subscript(name, index)
        case ast.Call(func=ast.Name(id=name), args=[ast.GeneratorExp() as each], keywords=[]):
            run = _generator(each)
            return lambda s: s.call(name, (run(s),))
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            given = _items(args)
            return lambda s: s.call(name, given(s))
    raise ValueError(f"'{ast.unparse(node)}' is not of the notation")


def _items(nodes: list[ast.expr]) -> Code:
    """A tuple; starred items are tuples that are spread."""
    starred = [isinstance(n, ast.Starred) for n in nodes]
    codes = [_compile(n.value if isinstance(n, ast.Starred) else n) for n in nodes]

    def items(s: Scope) -> tuple[Value, ...]:
        out: list[Value] = []
        for spread, code in zip(starred, codes, strict=True):
            value = code(s)
            out += value if spread else (value,)
        return tuple(out)

    return items


def _comparison(node: ast.Compare) -> Code:
    codes = [_compile(n) for n in (node.left, *node.comparators)]
    if unknown := [type(op).__name__ for op in node.ops if type(op) not in _OPERATORS]:
        raise ValueError(f"'{unknown[0]}' is not of the notation")
    operators = [_OPERATORS[type(op)] for op in node.ops]

    def holds(s: Scope) -> bool:
        values = [code(s) for code in codes]
        return all(op(*pair) for op, pair in zip(operators, pairwise(values), strict=True))

    return holds


def _subscript(name: str, index: ast.expr) -> Code:
    if isinstance(index, ast.Slice):
        low = _compile(index.lower) if index.lower else lambda s: None
        high = _compile(index.upper) if index.upper else lambda s: None
        return lambda s: s[name][low(s) : high(s)]
    place = _items(index.elts if isinstance(index, ast.Tuple) else [index])
    return lambda s: s.element(name, place(s))


def _generator(node: ast.GeneratorExp) -> Callable[[Scope], Iterator[Value]]:
    """The values of the element expression, innermost `for` fastest."""
    value = _compile(node.elt)
    loops = [
        (loop.target.id, _compile(loop.iter), [_compile(c) for c in loop.ifs])
        for loop in node.generators
        if isinstance(loop.target, ast.Name)
    ]

    def values(s: Scope, level: int = 0) -> Iterator[Value]:
        if level == len(loops):
            yield value(s)
            return
        name, extents, conditions = loops[level]
        for index in below(extents(s)):
            inner = s.bind(name, index)
            if all(c(inner) for c in conditions):
                yield from values(inner, level + 1)

    return values


@dataclass(frozen=True)
class Statement:
    """A line `name = …`, or `name[indices] = …`; starred indices stand for several."""

    name: str
    indices: tuple[tuple[str, bool], ...] | None
    code: Code


@cache
def statements(text: str) -> tuple[Statement, ...]:
    """The lines of a meaning. Raises ValueError for what is not of the notation."""
    try:
        tree = _parsed(text)
    except SyntaxError as error:
        raise ValueError(f"'{text}' is not a meaning: {error.msg}") from error
    return tuple(map(_statement, tree.body))


def _statement(node: ast.stmt) -> Statement:
    match node:
        case ast.Assign(targets=[ast.Name(id=name)], value=value):
            return Statement(name, None, _compile(value))
        case ast.Assign(targets=[ast.Subscript(value=ast.Name(id=name), slice=index)], value=value):
            items = index.elts if isinstance(index, ast.Tuple) else [index]
            return Statement(name, tuple(map(_index, items)), _compile(value))
    raise ValueError(f"'{ast.unparse(node)}' is not of the notation")


def _index(node: ast.expr) -> tuple[str, bool]:
    match node:
        case ast.Name(id=name):
            return name, False
        case ast.Starred(value=ast.Name(id=name)):
            return name, True
    raise ValueError(f"'{ast.unparse(node)}' is not an index")
