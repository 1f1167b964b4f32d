"""Windows: what one result holds of a part of an image (N, C, spatial...) that slides over it."""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import ALONG, declare

tensor = partial(declare, "windows")

_POOLED = "x: T[n, c, *t:1..3] -> d: T[n, c, *windows(t, kernel)]"
_REQUIRES = {"spatial_rank in (0, len(t))": "at"}

tensor(
    "tmaxpool", ALONG, 0, _POOLED, T="number", requires=_REQUIRES,
    means="""at = p * stride + k * dilation - pad_begin
    d[i, j, *p] = max(x[i, j, *at] for k in kernel[:len(t)] if at in t)""",
    work="prod(d) * prod(kernel[:len(t)])",
    doc="Maximum over a sliding window. NaN if there is one; of a window wholly in the padding, "
    "-inf or the least integer.",
)  # fmt: skip
tensor(
    "tavgpool", ALONG, 1, _POOLED, T="float", requires=_REQUIRES, flags={"include_pad": 0},
    means="""at = p * stride + k * dilation - pad_begin
    taps = kernel[:len(t)]
    total = prod(taps) if include_pad else count(1 for k in taps if at in t)
    d[i, j, *p] = sum(x[i, j, *at] for k in taps if at in t) / total""",
    work="prod(d) * prod(kernel[:len(t)])",
    doc="Mean over a sliding window. Padding counts as zeros with the flag, else not at all: the "
    "mean of a window wholly in the padding is then NaN.",
)  # fmt: skip
