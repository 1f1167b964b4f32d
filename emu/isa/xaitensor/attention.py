"""Attention: what each query reads of the values, weighted by how well their keys fit.

Heads of queries may share keys and values (`g` divides `h`). A mask, full by its strides, is added
to the scores; a key is not looked at if it lies behind `lengths`, or, with the flag `causal`, after
its query. The last query stands at the last key that counts where there are `lengths`; otherwise
`count` keys come before the first query. A query without a key, or whose scores are all -inf, gives
zeros.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import WIDE, declare

tensor = partial(declare, "attention")

tensor(
    "tattention", WIDE, 25,
    "q: T[b, h, s, e], k: T[b, g, t, e], v: T[b, g, t, f], mask?: T[b, h, s, t], lengths?: i32[b] "
    "-> d: T[b, h, s, f]",
    T="float", flags={"causal": 0}, requires={"g > 0 and h % g == 0": "k"},
    means="""scale = alpha if alpha else 1 / sqrt(e)
    shared = o // (h // g)
    known = min(max(lengths[i], 0), t) if has(lengths) else t
    past = lengths[i] - s if has(lengths) else count
    seen = l < known and (causal == 0 or l <= j + past)
    score = sum(q[i, o, j, r] * k[i, shared, l, r] for r in e) * scale + mask[i, o, j, l]
    best = max(score for l in t if seen)
    total = sum(exp(score - best) for l in t if seen)
    d[i, o, j, c] = (0 if best == -inf else
                     sum(exp(score - best) / total * v[i, shared, l, c] for l in t if seen))""",
    work="2 * b * h * s * t * (e + f + 12)", pieces="b * h", ulps=16,
    doc="Attention: softmax(scale * q @ k.T + mask) @ v. Grouped heads, causal or masked; `alpha` "
    "is the scale, 0 for one over the square root of e.",
)  # fmt: skip
tensor(
    "tpaged", WIDE, 26,
    "q: T[b, h, s, e], k: T[p, g, l, e], v: T[p, g, l, f], table: index(p)[b, m], lengths?: i32[b] "
    "-> d: T[b, h, s, f]",
    T="float", flags={"causal": 0}, requires={"g > 0 and h % g == 0": "k"},
    means="""scale = alpha if alpha else 1 / sqrt(e)
    shared = o // (h // g)
    t = m * l
    page = wrap(table[i, y // l], p)
    known = min(max(lengths[i], 0), t) if has(lengths) else t
    past = lengths[i] - s if has(lengths) else count
    seen = y < known and (causal == 0 or y <= j + past)
    score = sum(q[i, o, j, r] * k[page, shared, y % l, r] for r in e) * scale
    best = max(score for y in t if seen)
    total = sum(exp(score - best) for y in t if seen)
    d[i, o, j, c] = (0 if best == -inf else
                     sum(exp(score - best) / total * v[page, shared, y % l, c]
                         for y in t if seen))""",
    work="2 * b * h * s * m * l * (e + f + 12)", pieces="b * h", ulps=16,
    doc="Attention over keys and values in pages of `l` tokens: row i of `table` names the pages "
    "of batch entry i, in order. Otherwise as tattention.",
)  # fmt: skip
