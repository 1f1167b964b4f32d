"""Along axes: reductions, searches and softmax.

Sums and products of floats are accumulated in f64 and rounded once; of integers they wrap. A NaN
among the elements makes sum, product, greatest and least NaN.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import ALONG, declare

tensor = partial(declare, "axes")

_FOLDED = "x: T[*s] -> d: T[*reduced(s)]"
_KEEP = {"keep": 1}


def _fold(number: int, mnemonic: str, means: str, doc: str, T: str = "number") -> None:
    """A reduction over the axes of the mask: `means` over the elements (braces)."""
    elements = "x[*k] for k in s if kept(k) == i"
    tensor(
        mnemonic, ALONG, number, _FOLDED, T=T, flags=_KEEP,
        means=f"d[*i] = {means.format(elements)}", work="prod(x)", doc=doc,
    )  # fmt: skip


_fold(2, "tsum", "sum({})", "Sum over axes.")
_fold(3, "tmean", "sum({}) / prod(folded(s))", "Mean over axes; of nothing, NaN.", "float")
_fold(4, "tprod", "prod({})", "Product over axes.")
_fold(5, "tredmax", "max({})", "Maximum over axes; of nothing, -inf or the least integer.")
_fold(6, "tredmin", "min({})", "Minimum over axes; of nothing, inf or the greatest integer.")

for _number, _search, _word in ((7, "argmax", "maximum"), (8, "argmin", "minimum")):
    tensor(
        f"t{_search}", ALONG, _number,
        "x: T[*a, n@axis, *c] -> d: i64[*a, *ones(keep), *c]", T="number", flags=_KEEP,
        requires={"n > 0": "x"},
        means=f"d[*p, *o, *q] = {_search}(x[*p, j, *q] for j in n)", work="prod(x)",
        doc=f"Index of the {_word} along an axis. The first of several, and of the first NaN if "
        "there is one.",
    )  # fmt: skip

_ALONG = "x: T[*a, n@axis, *c] -> d: T[*a, n, *c]"

tensor(
    "tsoftmax", ALONG, 9, _ALONG, T="float",
    means="""m = max(x[*p, j, *q] for j in n)
    d[*p, i, *q] = exp(x[*p, i, *q] - m) / sum(exp(x[*p, j, *q] - m) for j in n)""",
    work="24 * prod(x)", ulps=8,
    doc="Softmax along an axis. The greatest element is taken off first, so nothing overflows.",
)  # fmt: skip
tensor(
    "tlogsoftmax", ALONG, 10, _ALONG, T="float",
    means="""m = max(x[*p, j, *q] for j in n)
    d[*p, i, *q] = x[*p, i, *q] - m - log(sum(exp(x[*p, j, *q] - m) for j in n))""",
    work="24 * prod(x)", ulps=8,
    doc="Logarithm of softmax along an axis.",
)  # fmt: skip
