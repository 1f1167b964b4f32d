"""Windows: what one result holds of a part of an image (N, C, spatial...) that slides over it."""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import ALONG, declare

tensor = partial(declare, "windows")

_POOLED = "x: T[n, c, *t:1..3] -> d: T[n, c, *windows(t, kernel)]"
_REQUIRES = {"spatial_rank in (0, len(t))": "at"}
_CEIL = {"ceil": 1}
_AT = "at = p * stride + k * dilation - pad_begin"
_TAPS = "for k in kernel[:len(t)] if at in t"
_WORK = "prod(d) * prod(kernel[:len(t)])"

tensor(
    "tmaxpool", ALONG, 0, f"{_POOLED}, indices?: i64[n, c, *windows(t, kernel)]",
    T="number", requires=_REQUIRES, flags=_CEIL,
    means=f"""{_AT}
    top = max(x[i, j, *at] {_TAPS})
    d[i, j, *p] = top
    indices[i, j, *p] = (i * c + j) * prod(t) + min(
        flat(at, t) {_TAPS} and (x[i, j, *at] == top or x[i, j, *at] != x[i, j, *at])
    ) if count(1 {_TAPS}) else -1""",
    work=_WORK,
    doc="Maximum over a sliding window. NaN if there is one; of a window wholly in the padding, "
    "-inf or the least integer. A second result, if the block names a tensor for it, is the "
    "place of the first maximum among all elements of the source, -1 if there is none.",
)  # fmt: skip
tensor(
    "tavgpool", ALONG, 1, _POOLED, T="float", requires=_REQUIRES,
    flags={"include_pad": 0, **_CEIL},
    means=f"""{_AT}
    taps = kernel[:len(t)]
    padded = count(1 for k in taps if at + pad_begin in t + pad_begin + pad_end)
    total = padded if include_pad else count(1 for k in taps if at in t)
    d[i, j, *p] = sum(x[i, j, *at] for k in taps if at in t) / total""",
    work=_WORK,
    doc="Mean over a sliding window. Padding counts as zeros with the flag, else not at all: the "
    "mean of a window wholly in the padding is then NaN.",
)  # fmt: skip
tensor(
    "tlppool", ALONG, 24, _POOLED, T="float", flags=_CEIL, defaults={"count": 2},
    requires={**_REQUIRES, "count > 0": "at"},
    means=f"""{_AT}
    d[i, j, *p] = pow(sum(pow(abs(x[i, j, *at]), count) {_TAPS}), 1.0 / count)""",
    work=f"3 * {_WORK}", ulps=8,
    doc="Lp norm over a sliding window, p being the field count.",
)  # fmt: skip
