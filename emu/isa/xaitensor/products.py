"""Products: of matrices, and of images with the taps of a kernel.

Sums of products are taken in the type of arithmetic, f32 for half precision. An activation that the
attribute block asks for is applied to the result.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import PRODUCT, WIDE, declare

tensor = partial(declare, "products")

tensor(
    "tmatmul", PRODUCT, 0,
    "x: T[~*b, m, k], y: T[~*b, k, n], bias?: T[~d] -> d: T[*b, m, n]", T="number",
    means="d[*b, i, j] = act(sum(x[*b, i, l] * y[*b, l, j] for l in k) + bias[*b, i, j])",
    work="2 * k * prod(d)", pieces="prod(b)",
    doc="Matrix product, batched, with optional bias and activation. A matrix is transposed by its "
    "strides, a vector is a matrix with an extent of 1.",
)  # fmt: skip
tensor(
    "tconv", PRODUCT, 1,
    "x: T[n, c*groups, *t:1..3], w: T[m, c, *taps:t], bias?: T[m] -> d: T[n, m, *windows(t, taps)]",
    T="number",
    requires={"m % groups == 0": "at", "spatial_rank in (0, len(t))": "at"},
    means="""at = p * stride + k * dilation - pad_begin
    first = o * groups // m * c
    d[i, o, *p] = act(sum(x[i, first + j, *at] * w[o, j, *k] for j in c for k in taps if at in t)
                      + bias[o])""",
    work="2 * prod(d) * c * prod(taps)", pieces="n * groups * prod(d[2:-1])",
    doc="Convolution, NCHW by OIHW, with optional bias and activation. One to three spatial "
    "dimensions; padding is not stored anywhere.",
)  # fmt: skip
tensor(
    "tconvtranspose", WIDE, 0,
    "x: T[n, c, *t:1..3], w: T[c, m, *taps:t], bias?: T[m*groups] -> d: T[n, m*groups, *s:t]",
    T="number",
    requires={
        "c % groups == 0": "at",
        "spatial_rank in (0, len(t))": "at",
        "spreads(t, taps, s)": "d",
    },
    means="""at = p + pad_begin - k * dilation
    from_ = at // stride
    own = c // groups
    first = o // m * own
    d[i, o, *p] = act(sum(x[i, first + j, *from_] * w[first + j, o % m, *k]
                          for j in own for k in taps if at % stride in ones(len(t)) and from_ in t)
                      + bias[o])""",
    work="2 * prod(x) * m * prod(taps)", pieces="n * groups * prod(d[2:-1])",
    doc="Transposed convolution, NCHW by IOHW, with optional bias and activation: each element of "
    "the image adds the taps, times itself, to the result, `stride` apart. The extents of the "
    "result say what there is behind the last window: less than a stride or a dilation.",
)  # fmt: skip
