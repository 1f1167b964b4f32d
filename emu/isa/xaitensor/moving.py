"""Moving and ordering: elements that go elsewhere unchanged.

They are moved as bits, whatever their type. Indices are i32 or i64 and count from the end when they
are negative; one that is out of range traps before anything is written.
"""

from __future__ import annotations

from functools import partial

import emu.isa.xaitensor.grid_rules  # their functions are in the expressions
import emu.isa.xaitensor.moving_rules
import emu.isa.xaitensor.resize_rules  # noqa: F401
from emu.isa.xaitensor.declare import ALONG, PRODUCT, WIDE, declare

tensor = partial(declare, "moving")

tensor(
    "tgather", PRODUCT, 2,
    "x: T[*a, n@axis, *c], y: index(n)[*i] -> d: T[*a, *i, *c]", T="any", defaults={"axis": 0},
    means="d[*p, *i, *q] = x[*p, wrap(y[*i], n), *q]",
    traffic="d d y",
    doc="Gather slices of ts1 along an axis by the indices in ts2.",
)  # fmt: skip
tensor(
    "tgather_elements", WIDE, 9,
    "x: T[*a, n@axis, *c], y: index(n)[*i] -> d: T[*i]", T="any", defaults={"axis": 0},
    requires={"covers(a, c, i)": "y"},
    means="d[*k] = x[*k[:len(a)], wrap(y[*k], n), *k[len(a) + 1:]]",
    traffic="d d y",
    doc="Gather elements along an axis, each by its own index. The indices have the rank of ts1, "
    "and no more elements than it along the other axes.",
)  # fmt: skip
tensor(
    "tgather_nd", WIDE, 10,
    "x: T[*s], y: index(s[count:])[*i] -> d: T[*picked(s, i, count)]", T="any",
    requires={"picks(s, i, count)": "y"},
    means="""at = wrap(y[*k[:len(i) - 1]], s[count:])
    d[*k] = x[*k[:count], *at, *k[len(i) - 1:]]""",
    traffic="d d y",
    doc="Gather slices by coordinates, which the last dimension of ts2 holds. The first `count` "
    "dimensions of ts1 and ts2 are common to both.",
)  # fmt: skip

_UPDATE = "none add mul max min"
_UPDATED = (
    "The mode says what an update does to the element it meets. Updates follow each other in the "
    "order of their indices: of several at one place the last one stays, or all are combined in "
    "that order. Of bools, `add` and `max` are OR, `mul` and `min` are AND."
)


tensor(
    "tscatter", WIDE, 11,
    "x: T[*a, n@axis, *c], y: index(n)[*i], u: T[*a, *i, *c] -> d: T[*a, n, *c]",
    T="any", modes=_UPDATE, defaults={"axis": 0}, work="prod(u)",
    means="""news = list(u[*p, *k, *q] for k in i if wrap(y[*k], n) == j)
    d[*p, j, *q] = updated(x[*p, j, *q], news)""",
    doc=f"Copy ts1, its slices along an axis at the indices in ts2 updated by those of e0. "
    f"{_UPDATED}",
)  # fmt: skip
tensor(
    "tscatter_elements", WIDE, 12,
    "x: T[*a, n@axis, *c], y: index(n)[*i], u: T[*i] -> d: T[*a, n, *c]",
    T="any", modes=_UPDATE, defaults={"axis": 0}, requires={"covers(a, c, i)": "y"},
    work="prod(u)",
    means="""at = (*k[:len(a)], wrap(y[*k], n), *k[len(a) + 1:])
    news = list(u[*k] for k in i if at == (*p, j, *q))
    d[*p, j, *q] = updated(x[*p, j, *q], news)""",
    doc="Copy ts1, updated by each element of e0 at the place where its index along the axis is "
    f"that in ts2. {_UPDATED}",
)  # fmt: skip
tensor(
    "tscatter_nd", WIDE, 13,
    "x: T[*s], y: index(s)[*i], u: T[*picked(s, i, 0)] -> d: T[*s]",
    T="any", modes=_UPDATE, requires={"picks(s, i, 0)": "y"}, work="prod(u)",
    means="""m = i[-1]
    news = list(u[*k, *e[m:]] for k in i[:-1] if wrap(y[*k], s) == e[:m])
    d[*e] = updated(x[*e], news)""",
    doc="Copy ts1, its slices behind the coordinates that the last dimension of ts2 holds updated "
    f"by those of e0. {_UPDATED}",
)  # fmt: skip
tensor(
    "treverse_sequence", WIDE, 14,
    "x: T[m, n, *c], y: count(n if axis else m)[b] -> d: T[m, n, *c]", T="any",
    defaults={"axis": 0},
    requires={"axis in (0, 1)": "at", "b == (m if axis else n)": "y"},
    means="""at = (i, y[i] - 1 - j if j < y[i] else j) if axis else (
        y[j] - 1 - i if i < y[j] else i, j)
    d[i, j, *q] = x[*at, *q]""",
    traffic="d d y",
    doc="Reverse the first steps of sequences along axis 0 or 1: as many as ts2 says for each "
    "index of the other one. A length beyond the extent traps as an index does.",
)  # fmt: skip
tensor(
    "tpad", ALONG, 64,
    "x: T[*s], value?: T[] -> d: T[*padded(s)]", T="any", modes="constant reflect edge wrap",
    means="""at = i - before(s)
    filler = value[()] if has(value) else alpha
    d[*i] = x[*at] if at in s else filler if mode == constant else x[*folded_back(at, s)]""",
    doc="Pad with a constant (e0, or else alpha), with the reflection of the tensor about its "
    "edge, with the edge, or with the other end. The k-th dimension of `axes` (0: all, at most "
    "four) gets pad_begin[k] elements before it and pad_end[k] behind; a negative number takes "
    "elements away.",
)  # fmt: skip
tensor(
    "tonehot", ALONG, 67,
    "x: index[*s], values?: T[2] -> d: T[*widened(s, count)]", T="any",
    defaults={"alpha": 0.0, "beta": 1.0},
    means="""at = axis if axis >= 0 else axis + len(s) + 1
    hot = wrap(x[*k[:at], *k[at + 1:]], count) == k[at]
    d[*k] = (values[hot] if has(values) else beta if hot else alpha)""",
    doc="One-hot vectors of `count` elements along a new axis: alpha everywhere but beta where the "
    "coordinate is the index, or the two elements of e0. An index out of range is nowhere.",
)  # fmt: skip
tensor(
    "ttrilu", ALONG, 68,
    "x: T[*b, m, n] -> d: T[*b, m, n]", T="any", flags={"lower": 0}, defaults={"axis": 0},
    means="""kept = j - i <= axis if lower else j - i >= axis
    d[*b, i, j] = x[*b, i, j] if kept else 0""",
    doc="The upper triangle of matrices, or the lower one: from or up to the diagonal whose number "
    "is in `axis`, the main one being 0 and those above it positive. The rest is 0.",
)  # fmt: skip
tensor(
    "ttopk", ALONG, 66,
    "x: T[*a, n@axis, *c] -> d: T[*a, count if count else n, *c], "
    "w?: index[*a, count if count else n, *c]", T="any", flags={"largest": 0},
    requires={"count <= n": "at"},
    means="""o = ordered(list(x[*p, j, *q] for j in n), largest)
    d[*p, i, *q] = x[*p, o[i], *q]
    w[*p, i, *q] = o[i]""",
    work="16 * prod(x)",
    doc="The least or the greatest `count` elements along an axis (0: all, a sort) in order, and "
    "where they are. Equal ones, as zeros are, come in the order of their indices; NaN is greater "
    "than every number.",
)  # fmt: skip
tensor(
    "tgridsample", WIDE, 15,
    "x: T[n, c, *s:1..3], y: U[n, *p:s, len(s)] -> d: T[n, c, *p]", T="float", U="float",
    modes="linear nearest cubic", flags={"corners": 0},
    requires={"sampled(len(s))": "at", "prod(s) > 0": "x"},
    means="""parts = list(grid_weight(y[i, *q], k, s) * x[i, j, *k] for k in s if
        grid_weight(y[i, *q], k, s) != 0)
    d[i, j, *q] = sum(parts)""",
    work="prod(d) * grid_taps(len(s))", traffic="d x y", ulps=64,
    doc="Sample images at the coordinates in the last dimension of ts2, as ONNX's GridSample does: "
    "that of the last spatial dimension first, from -1 to 1 (with the flag, between the centres of "
    "the outermost elements). Outside lies what `count` says: 0 zeros, 1 the border, 2 the "
    "reflection. One to three spatial dimensions, for cubic at most two.",
)  # fmt: skip
tensor(
    "tresize", ALONG, 65,
    "x: T[*s] -> d: T[*t:s]", T="number", modes="nearest linear cubic",
    flags={"exclude": 0, "antialias": 1, "scales": 2}, defaults={"alpha": -0.75},
    requires={"resizable(s, t)": "d"},
    means="""parts = list(weight(e, k, s, t) * x[*k] for k in s if weight(e, k, s, t) != 0)
    d[*e] = beta if outside(e, s, t) else whole(sum(parts))""",
    work="prod(t) * 2 * taps(s, t)", ulps=16,
    doc="Resize as ONNX's operator does, the dimensions in `axes` (0: all but the first two; at "
    "most four). The k-th of them has its scale in kernel[k], if the flag is set, and for "
    "tf_crop_and_resize its region in pad_begin[k] and pad_end[k], with beta outside: the bits of "
    "f32 numbers. The low four bits of `count` say how coordinates are transformed: 0 half_pixel, "
    "1 half_pixel_symmetric, 2 pytorch_half_pixel, 3 align_corners, 4 asymmetric, 5 "
    "tf_crop_and_resize; those above, how they lead to the nearest: 0 round_prefer_floor, 1 "
    "round_prefer_ceil, 2 floor, 3 ceil. alpha is the parameter of the cubic; with `exclude` only "
    "taps inside count. Integers are rounded to nearest, ties to even.",
)  # fmt: skip
tensor(
    "tnonzero", ALONG, 69,
    "x: T[*s] -> d: index[len(s), m], w: index[]", T="any",
    means="""found = list(k for k in s if x[*k] != 0)
    at = found[j]
    d[i, j] = at[i] if j < len(found) else 0
    w[*e] = len(found)""",
    work="4 * prod(x)",
    doc="The coordinates of the elements that are not zero, in row-major order, one in each column "
    "of td, as many as it has room for, and 0 in the columns behind. e0 gets the number of all of "
    "them. With td's first columns `tgather` does what ONNX calls Compress.",
)  # fmt: skip
