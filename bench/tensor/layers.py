"""Rows that go over arrays: elementwise, softmax, normalisation, attention, and a recurrent step.

An array is of a size for the second-level cache, for the last one (4 MiB, as activations are), or
for memory alone. The vector instructions that an element needs decide with the triad what binds:
1 for a sum; 11 for layer norm (its two sums are in f64, as the instruction promises: twice a
conversion, a difference, a sum and a square, then three for the result); 16 for softmax and 20 for
gelu, of which exp and erf take some 12 and 16 for 24 bits.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from bench.tensor.problem import Array, Case, Instruction, Node, Problem, random, wide

_MEMORY_BOUND = frozenset({"membound_vs_triad"})
_TILE = 128
"""Rows of random numbers; an array repeats them, so that what is right need be computed once."""
_LARGE = 4 << 20
"""Bytes of an array from which a row counts as bound by memory."""


def binary(mnemonic: str, operator: str, ufunc: np.ufunc, rows: int, columns: int) -> Case:
    """Two arrays, element by element."""

    def make() -> Problem:
        a, b = _tiled(random(_TILE, columns), rows), _tiled(random(_TILE + 1, columns)[1:], rows)
        return Problem(
            instructions=(Instruction(mnemonic, (a, b)),),
            shape=(rows, columns),
            dtype=np.float32,
            expected=lambda: ufunc(wide(a), wide(b)),
            tolerance=1e-6,
            inputs={"a": a, "b": b},
            nodes=(Node(operator, "a b"),),
            numpy=lambda out: ufunc(a, b, out=out),
        )

    return _over_array(operator.lower(), make, rows, columns, 3, 1)


def rowwise(
    name: str,
    mnemonic: str,
    node: Node,
    meaning: Callable[[Array], Array],
    rows: int,
    columns: int,
    steps: int,
) -> Case:
    """One array, by rows or by elements."""

    def make() -> Problem:
        x = random(_TILE, columns)
        return Problem(
            instructions=(Instruction(mnemonic, (_tiled(x, rows),)),),
            shape=(rows, columns),
            dtype=np.float32,
            expected=lambda: _tiled(meaning(wide(x)), rows),
            tolerance=1e-6,
            inputs={"x": _tiled(x, rows)},
            nodes=(node,),
        )

    return _over_array(name, make, rows, columns, 2, steps)


def layer_norm(rows: int, columns: int) -> Case:
    """Rows to mean 0 and variance 1, then scaled and shifted."""

    def make() -> Problem:
        x, scale, shift = random(_TILE, columns), random(columns), random(columns) + 1
        return Problem(
            instructions=(
                Instruction("tlayernorm", (_tiled(x, rows), scale), (shift,), {"alpha": 1e-5}),
            ),
            shape=(rows, columns),
            dtype=np.float32,
            expected=lambda: _tiled(_normal(wide(x)) * wide(scale) + wide(shift), rows),
            tolerance=1e-5,
            inputs={"x": _tiled(x, rows)},
            weights={"scale": scale, "shift": shift},
            nodes=(
                Node("LayerNormalization", "x scale shift", "y", {"axis": -1, "epsilon": 1e-5}),
            ),
        )

    return _over_array("layer norm", make, rows, columns, 2, 11)


def _over_array(
    name: str, make: Callable[[], Problem], rows: int, columns: int, arrays: int, steps: int
) -> Case:
    """`steps` are vector instructions for an element."""
    size = 4 * rows * columns
    counts = _MEMORY_BOUND if size >= _LARGE else frozenset()
    return Case(
        f"{name} {rows}x{columns}", "array", make, float(2 * steps * rows * columns),
        float(arrays * size), "triad", counts,
    )  # fmt: skip


def attention(heads: int, length: int, width: int, *, causal: bool) -> Case:
    """Softmax of scaled products with keys, times values: one sequence, several heads."""
    shape = (1, heads, length, width)

    def make() -> Problem:
        q, k, v = (random(*shape)[..., ::step].copy() for step in (1, -1, 1))
        v = np.roll(v, 1, axis=2)
        return Problem(
            instructions=(Instruction("tattention", (q, k), (v,), {"flags": int(causal)}),),
            shape=shape,
            dtype=np.float32,
            expected=lambda: _attended(wide(q), wide(k), wide(v), causal),
            tolerance=1e-5,
            inputs={"q": q, "k": k, "v": v},
            nodes=(Node("Attention", "q k v", "y", {"is_causal": int(causal)}),),
        )

    work = 4.0 * heads * length * length * width / (2 if causal else 1)
    name = f"attention {'x'.join(map(str, shape))}{' causal' if causal else ''}"
    return Case(name, "attention", make, work, 16.0 * math.prod(shape), "fma")


def _attended(q: Array, k: Array, v: Array, causal: bool) -> Array:
    scores = q @ np.swapaxes(k, -1, -2) / math.sqrt(q.shape[-1])
    if causal:
        scores[..., np.tri(*scores.shape[-2:]) == 0] = -np.inf
    result: Array = _softmax(scores) @ v
    return result


def lstm(batch: int, hidden: int) -> Case:
    """One step of a long short-term memory whose input is as wide as its state; gates in ONNX's
    order: input, output, forget, cell. Two instructions: the input's part of the gates, with the
    sum of both biases, and the rest."""

    def make() -> Problem:
        x, h, c = (random(batch, hidden + i)[:, :hidden].copy() for i in range(3))
        w, r = (random(4 * hidden, hidden + i)[:, :hidden] / math.sqrt(hidden) for i in range(2))
        bias = random(8 * hidden)
        both = bias[: 4 * hidden] + bias[4 * hidden :]
        gates = np.zeros((1, batch, 4 * hidden), np.float32)
        cell = np.zeros_like(c)
        return Problem(
            instructions=(
                Instruction("tmatmul", (x, w.T), (both,), result=gates[0]),
                Instruction("tlstm", (gates, r), (h, c, None, None, cell)),
            ),
            shape=(1, batch, hidden),
            dtype=np.float32,
            expected=lambda: _lstm_step(*map(wide, (x, w, r, bias, h, c)))[None],
            tolerance=1e-5,
            inputs={"x": x[None], "h": h[None], "c": c[None]},
            weights={"w": w[None], "r": r[None], "bias": bias[None]},
            nodes=(Node("LSTM", "x w r bias  h c", " y", {"hidden_size": hidden}),),
        )

    size = 8 * hidden * hidden
    return Case(
        f"lstm step {batch}x{hidden}", "lstm", make, 2.0 * batch * size,
        4.0 * (size + 4 * hidden + 12 * batch * hidden), "read" if batch == 1 else "fma",
    )  # fmt: skip


def _lstm_step(x: Array, w: Array, r: Array, bias: Array, h: Array, c: Array) -> Array:
    gates = x @ w.T + h @ r.T + bias[: len(w)] + bias[len(w) :]
    i, o, f, g = np.split(gates, 4, axis=1)
    cell = _logistic(f) * c + _logistic(i) * np.tanh(g)
    result: Array = _logistic(o) * np.tanh(cell)
    return result


def _logistic(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _tiled(array: Array, rows: int) -> Array:
    return np.tile(array, (rows // len(array), 1))


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def _normal(x: Array) -> Array:
    centred = x - x.mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-5))


def _gelu(x: Array) -> Array:
    return np.asarray(x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2)


def cases() -> Iterator[Case]:
    """All rows of this module."""
    for batch, hidden in ((1, 256), (1, 512), (1, 1024), (16, 512)):
        yield lstm(batch, hidden)
    yield attention(12, 128, 64, causal=False)
    yield attention(8, 1024, 64, causal=True)
    for rows, columns in ((128, 1024), (1024, 1024), (16384, 1024)):
        node = Node("Softmax", "x", "y", {"axis": -1})
        yield rowwise("softmax", "tsoftmax", node, _softmax, rows, columns, 16)
        yield layer_norm(rows, columns)
        yield rowwise("gelu", "tgelu", Node("Gelu", "x"), _gelu, rows, columns, 20)
        yield binary("tadd", "Add", np.add, rows, columns)
        yield binary("tmul", "Mul", np.multiply, rows, columns)
