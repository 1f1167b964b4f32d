"""Norms: elements of a line less its mean, divided by its size, scaled and shifted.

Statistics are taken in f64, and each result is rounded once. Epsilon is the field alpha, of batch
norm gamma, alpha and beta being its activation's. A scale or shift that all share is one element
with strides of 0.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import ALONG, WIDE, declare

tensor = partial(declare, "norms")

_EPSILON = {"alpha": 1e-5}
_SCALED = "{} * (scale[{}] if has(scale) else 1) + bias[{}]"

tensor(
    "tlayernorm", WIDE, 18,
    "x: T[*a, n@axis, *c], scale: U[n, *c], bias?: U[n, *c] "
    "-> d: T[*a, n, *c], mean?: V[*a], factor?: V[*a]",
    T="float", U="float", V="float", defaults=_EPSILON,
    means="""size = n * prod(c)
    m = sum(x[*p, *k] for k in (n, *c)) / size
    variance = sum((x[*p, *k] - m) * (x[*p, *k] - m) for k in (n, *c)) / size
    f = 1 / sqrt(variance + alpha)
    d[*p, i, *q] = (x[*p, i, *q] - m) * f * scale[i, *q] + bias[i, *q]
    mean[*p] = m
    factor[*p] = f""",
    work="10 * prod(x)", ulps=8,
    doc="Layer norm over the dimensions from an axis on. Mean and 1/deviation are results too, if "
    "the block names tensors for them.",
)  # fmt: skip
tensor(
    "trmsnorm", WIDE, 19,
    "x: T[*a, n@axis, *c], scale: U[n, *c] -> d: T[*a, n, *c], factor?: V[*a]",
    T="float", U="float", V="float", defaults=_EPSILON,
    means="""f = 1 / sqrt(sum(x[*p, *k] * x[*p, *k] for k in (n, *c)) / (n * prod(c)) + alpha)
    d[*p, i, *q] = x[*p, i, *q] * f * scale[i, *q]
    factor[*p] = f""",
    work="6 * prod(x)", ulps=8,
    doc="RMS norm over the dimensions from an axis on. 1/RMS is a result too, if the block names a "
    "tensor for it.",
)  # fmt: skip
tensor(
    "tbatchnorm", WIDE, 20,
    "x: T[n, c, *t], scale: U[c], bias: U[c], mean: U[c], variance: U[c] -> d: T[n, c, *t]",
    T="float", U="float", defaults={"gamma": 1e-5},
    means="""f = scale[j] / sqrt(variance[j] + gamma)
    d[i, j, *k] = act((x[i, j, *k] - mean[j]) * f + bias[j])""",
    work="4 * prod(x)", ulps=8,
    doc="Batch norm for inference, with optional activation: each channel has its numbers.",
)  # fmt: skip

_CHANNELS = "x: T[n, c, *t], scale?: U[c], bias?: U[c] -> d: T[n, c, *t]"

tensor(
    "tinstancenorm", ALONG, 20, _CHANNELS, T="float", U="float", defaults=_EPSILON,
    means="""m = sum(x[i, j, *l] for l in t) / prod(t)
    variance = sum((x[i, j, *l] - m) * (x[i, j, *l] - m) for l in t) / prod(t)
    y = (x[i, j, *k] - m) / sqrt(variance + alpha)
    d[i, j, *k] = """ + _SCALED.format("y", "j", "j"),
    work="10 * prod(x)", ulps=8,
    doc="Instance norm: over what one channel of one image has.",
)  # fmt: skip
tensor(
    "tgroupnorm", ALONG, 21, _CHANNELS, T="float", U="float", defaults=_EPSILON,
    requires={"c % groups == 0": "at"},
    means="""size = c // groups
    first = j // size * size
    m = sum(x[i, first + h, *l] for h in size for l in t) / (size * prod(t))
    variance = sum((x[i, first + h, *l] - m) * (x[i, first + h, *l] - m)
        for h in size for l in t) / (size * prod(t))
    y = (x[i, j, *k] - m) / sqrt(variance + alpha)
    d[i, j, *k] = """ + _SCALED.format("y", "j", "j"),
    work="10 * prod(x)", ulps=8,
    doc="Group norm: over what each of `groups` groups of channels of one image has.",
)  # fmt: skip
tensor(
    "tl2norm", ALONG, 22, "x: T[*a, n@axis, *c] -> d: T[*a, n, *c]", T="float",
    defaults={"count": 2}, requires={"count == 1 or count == 2": "at"},
    means="""one = sum(abs(x[*p, j, *q]) for j in n)
    two = sqrt(sum(x[*p, j, *q] * x[*p, j, *q] for j in n))
    size = one if count == 1 else two
    d[*p, i, *q] = x[*p, i, *q] / size if size != 0 else 0""",
    work="6 * prod(x)", ulps=4,
    doc="Division by the length along an axis, Euclidean or (count 1) the sum of magnitudes. A "
    "line of zeros stays one.",
)  # fmt: skip
tensor(
    "tlrn", ALONG, 23, "x: T[n, c, *t] -> d: T[n, c, *t]", T="float",
    defaults={"alpha": 1e-4, "beta": 0.75, "gamma": 1.0, "count": 5}, requires={"count > 0": "at"},
    means="""first = j - (count - 1) // 2
    size = sum(x[i, first + h, *k] * x[i, first + h, *k] for h in count if first + h in c)
    d[i, j, *k] = x[i, j, *k] / pow(gamma + alpha / count * size, beta)""",
    work="20 * prod(x)", ulps=8,
    doc="Local response normalisation over `count` channels: x / (gamma + alpha / count * sum of "
    "squares) ** beta.",
)  # fmt: skip
