"""Recurrent cells: whole sequences, one step after the other.

The part of the gates that does not depend on the state, inputs times their weights plus all biases,
is a matrix product for all steps at once, made before: `x` has it, the gates of a step side by side
in ONNX's order. `r` holds the weights of the state. A batch entry whose sequence has ended
(`lengths`) keeps its state, and gives zeros. Initial states that are left out are zero. One step is
a sequence of one; backwards is a matter of strides.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import WIDE, declare

tensor = partial(declare, "recurrent")

_LIVE = "live = s < lengths[i] if has(lengths) else 1"

tensor(
    "tlstm", WIDE, 21,
    "x: T[t, n, 4*h], r: T[4*h, h], h0?: T[n, h], c0?: T[n, h], peephole?: T[3*h], "
    "lengths?: i32[n] -> d: T[t, n, h], c?: T[n, h]",
    T="f32|f64", requires={"t > 0": "x"},
    means=f"""{_LIVE}
    pre[s, i, j] = x[s, i, j] + sum(y[s - 1, i, l] * r[j, l] for l in h)
    new = cell[s - 1, i, j]
    gate_i = sigmoid(pre[s, i, j] + peephole[j] * new)
    gate_f = sigmoid(pre[s, i, 2 * h + j] + peephole[2 * h + j] * new)
    cell[s, i, j] = (c0[i, j] if s < 0 else
                     gate_f * new + gate_i * tanh(pre[s, i, 3 * h + j]) if live else new)
    gate_o = sigmoid(pre[s, i, h + j] + peephole[h + j] * cell[s, i, j])
    y[s, i, j] = h0[i, j] if s < 0 else gate_o * tanh(cell[s, i, j]) if live else y[s - 1, i, j]
    d[s, i, j] = y[s, i, j] if live else 0
    c[i, j] = cell[t - 1, i, j]""",
    work="t * n * h * (8 * h + 100)", pieces="t", ulps=64,
    doc="Long short-term memory. Gates are in the order input, output, forget, cell; `c` is the "
    "cell state behind the last step.",
)  # fmt: skip
tensor(
    "tgru", WIDE, 22,
    "x: T[t, n, 3*h], r: T[3*h, h], h0?: T[n, h], bias?: T[h], lengths?: i32[n] -> d: T[t, n, h]",
    T="f32|f64", flags={"reset_after": 0},
    means=f"""{_LIVE}
    z[s, i, j] = sigmoid(x[s, i, j] + sum(y[s - 1, i, l] * r[j, l] for l in h))
    k[s, i, j] = sigmoid(x[s, i, h + j] + sum(y[s - 1, i, l] * r[h + j, l] for l in h))
    before = sum(k[s, i, l] * y[s - 1, i, l] * r[2 * h + j, l] for l in h) + bias[j]
    after = k[s, i, j] * (sum(y[s - 1, i, l] * r[2 * h + j, l] for l in h) + bias[j])
    new[s, i, j] = tanh(x[s, i, 2 * h + j] + (after if reset_after else before))
    y[s, i, j] = (h0[i, j] if s < 0 else
                  (1 - z[s, i, j]) * new[s, i, j] + z[s, i, j] * y[s - 1, i, j] if live else
                  y[s - 1, i, j])
    d[s, i, j] = y[s, i, j] if live else 0""",
    work="t * n * h * (6 * h + 80)", pieces="2 * t", ulps=64,
    doc="Gated recurrent unit. Gates are in the order update, reset, hidden; `bias` is that of the "
    "hidden gate's recurrence, which the flag scales by the reset gate.",
)  # fmt: skip
tensor(
    "trnn", WIDE, 23,
    "x: T[t, n, h], r: T[h, h], h0?: T[n, h], lengths?: i32[n] -> d: T[t, n, h]",
    T="f32|f64", modes="tanh relu sigmoid",
    means=f"""{_LIVE}
    pre[s, i, j] = x[s, i, j] + sum(y[s - 1, i, l] * r[j, l] for l in h)
    v = pre[s, i, j]
    f = tanh(v) if mode == 0 else max(v, 0) if mode == 1 else sigmoid(v)
    y[s, i, j] = h0[i, j] if s < 0 else f if live else y[s - 1, i, j]
    d[s, i, j] = y[s, i, j] if live else 0""",
    work="t * n * h * (2 * h + 20)", pieces="t", ulps=64,
    doc="Simple recurrent cell: f(x + state @ r.T), f being tanh, the rectifier or the logistic "
    "function by `mode`.",
)  # fmt: skip
