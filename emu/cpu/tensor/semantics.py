"""What elementwise instructions compute, as expressions: read from their declared meanings.

The table of instructions says `alpha * x if x < 0 else x`; here that becomes the `Expr` that is
lowered to vectors. Only where another expression of the same value is better conditioned, or is one
operation of the vocabulary, does `LOWERED` have that instead; the reference semantics
(`reference.py`), which evaluates what is declared, is the judge of both. Half-precision floats are
computed in f32.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emu.cpu.tensor.expr import ALPHA, BETA, OPS, Expr, arg, call, evaluate, lift
from emu.isa.xaitensor import TENSORS, Declaration
from emu.isa.xaitensor.declare import BINARY as BINARY_FORM
from emu.isa.xaitensor.declare import UNARY as UNARY_FORM
from emu.isa.xaitensor.notation import CONSTANTS

_X = arg(0)

LOWERED = {
    "thardswish": _X * (call("min", call("max", _X + 3, 0), 6) * lift(1 / 6)),
    "tselu": call("select", _X < 0, (ALPHA * BETA) * call("expm1", _X), BETA * _X),
    "tgelu": call("gelu", _X),
    "tgelu_tanh": call("gelu_tanh", _X),
    "tsoftplus": call("softplus", _X),
    "tmish": call("mish", _X),
    "tswish": call("swish", _X, ALPHA),
}
"""What is lowered in place of the declared meaning."""

_CALLS = {"bitand": "and", "bitor": "or", "bitxor": "xor", "bitnot": "not"}
"""Functions of meanings whose operation has another name; all others have the same."""
_BINARY = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}
_COMPARE = {ast.Lt: "lt", ast.LtE: "le", ast.Eq: "eq", ast.NotEq: "ne"}
_SWAPPED = {ast.Gt: "lt", ast.GtE: "le"}
_NAMES = {"alpha": ALPHA, "beta": BETA, **{n: lift(v) for n, v in CONSTANTS.items()}}


def expression(text: str, operands: Sequence[str]) -> Expr:
    """The meaning of one element as an expression; `operands` are the names of the sources.

    What depends on constants only is computed here, in double precision. Raises ValueError for what
    the vocabulary does not have.
    """
    names = {**_NAMES, **{name: arg(i) for i, name in enumerate(operands)}}
    return _read(ast.parse(text, mode="eval").body, names)


def _read(node: ast.expr, names: Mapping[str, Expr]) -> Expr:
    match node:
        case ast.Constant(value=int() | float() as value):
            return lift(value)
        case ast.Name(id=name) if name in names:
            return names[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _folded("neg", _read(operand, names))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _BINARY:
            return _folded(_BINARY[type(op)], _read(left, names), _read(right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARE:
            return call(_COMPARE[type(op)], _read(left, names), _read(right, names))
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _SWAPPED:
            return call(_SWAPPED[type(op)], _read(right, names), _read(left, names))
        case ast.IfExp(test=test, body=body, orelse=other):
            return call("select", *(_read(part, names) for part in (test, body, other)))
        case ast.Call(func=ast.Name(id=name), args=args):
            return _folded(_CALLS.get(name, name), *(_read(a, names) for a in args))
    raise ValueError(f"'{ast.unparse(node)}' is not in the vocabulary of elementwise expressions")


def _folded(op: str, *args: Expr) -> Expr:
    if op not in OPS:
        raise ValueError(f"'{op}' is not in the vocabulary of elementwise expressions")
    found = call(op, *args)
    return lift(evaluate(found, ())) if all(a.op == "const" for a in args) else found


@dataclass(frozen=True)
class Elementwise:
    """An elementwise instruction: what is lowered, and operations an element."""

    expr: Expr
    flops: int


_FREE = ("arg", "const", "param")
_ONE = (
    "add", "sub", "mul", "and", "or", "xor", "not", "neg", "abs", "min", "max", "shl", "shr",
    "floor", "ceil", "rint", "eq", "ne", "lt", "le", "select",
)  # fmt: skip
_FLOPS = {**dict.fromkeys(_ONE, 1), **dict.fromkeys(("div", "sqrt", "mod", "fmod"), 4), "pow": 40}
_TRANSCENDENTAL = 20


def _flops(expr: Expr) -> int:
    """Operations of one evaluation, for the timing model."""
    own = 0 if expr.op in _FREE else _FLOPS.get(expr.op, _TRANSCENDENTAL)
    return own + sum(map(_flops, expr.args))


def _elementwise(declaration: Declaration) -> Elementwise:
    sources = [o.name for o in declaration.operands if not o.written]
    found = LOWERED.get(declaration.mnemonic) or expression(declaration.means, sources)
    return Elementwise(found, _flops(found))


MEANINGS = {m: _elementwise(d) for m, d in TENSORS.items() if d.family == "elementwise"}
"""Every elementwise instruction."""
BINARY = {m: MEANINGS[m] for m, d in TENSORS.items() if d.form is BINARY_FORM and m in MEANINGS}
UNARY = {
    m: MEANINGS[m] for m, d in TENSORS.items() if d.form is UNARY_FORM and m in MEANINGS and d.types
}
"""Without `tcopy`, which changes the type."""
WHERE = MEANINGS["twhere"].expr

ACTIVATIONS = (
    None, "trelu", "tsigmoid", "ttanh", "tleakyrelu", "tclip", "telu", "thardsigmoid", "thardswish",
    "tgelu", "tgelu_tanh", "tsoftplus", "tmish", "tswish", "tselu", "tcelu", "tsoftsign",
    "tthresholdedrelu",
)  # fmt: skip
"""The attribute block's activation codes (a code is a place in this tuple), as the instruction that
would compute them; `alpha` and `beta` are the block's, as they stand."""
