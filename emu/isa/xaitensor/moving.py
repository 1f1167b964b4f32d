"""Moving: elements that go elsewhere unchanged."""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import PRODUCT, declare

tensor = partial(declare, "moving")

tensor(
    "tgather", PRODUCT, 2,
    "x: T[*a, n@axis, *c], y: index(n)[*i] -> d: T[*a, *i, *c]", T="any", defaults={"axis": 0},
    means="d[*p, *i, *q] = x[*p, wrap(y[*i], n), *q]",
    traffic="d d y",
    doc="Gather slices of ts1 along an axis by the indices in ts2. Negative indices count from the "
    "end; one that is out of range traps before anything is written.",
)  # fmt: skip
