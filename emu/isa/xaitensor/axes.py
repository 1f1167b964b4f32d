"""Along axes: reductions, searches, running sums and softmax.

Sums and products of floats are accumulated in f64 and rounded once; of integers they wrap. A NaN
among the elements makes sum, product, greatest and least NaN.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import ALONG, declare

tensor = partial(declare, "axes")

_FOLDED = "x: T[*s] -> d: T[*reduced(s)]"
_KEEP = {"keep": 1}


def _fold(
    number: int, mnemonic: str, means: str, doc: str, T: str = "number", each: str = "x[*k]",
    ulps: float = 0,
) -> None:  # fmt: skip
    """A reduction over the axes of the mask: `means` over (braces) what `each` element becomes."""
    elements = f"{each} for k in s if kept(k) == i"
    tensor(
        mnemonic, ALONG, number, _FOLDED, T=T, flags=_KEEP,
        means=f"d[*i] = {means.format(elements)}", work="prod(x)", doc=doc, ulps=ulps,
    )  # fmt: skip


_fold(2, "tsum", "sum({})", "Sum over axes.")
_fold(3, "tmean", "sum({}) / prod(folded(s))", "Mean over axes; of nothing, NaN.", "float")
_fold(4, "tprod", "prod({})", "Product over axes.")
_fold(5, "tredmax", "max({})", "Maximum over axes; of nothing, -inf or the least value.", "any")
_fold(6, "tredmin", "min({})", "Minimum over axes; of nothing, inf or the greatest value.", "any")
_fold(11, "tsuml1", "sum({})", "Sum of magnitudes over axes.", each="abs(x[*k])")
_fold(12, "tl2", "sqrt(sum({}))", "Euclidean length over axes.", "float", "x[*k] * x[*k]")
_fold(13, "tsumsq", "sum({})", "Sum of squares over axes.", each="x[*k] * x[*k]")
_fold(14, "tlogsum", "log(sum({}))", "Logarithm of the sum over axes.", "float", ulps=2)
_fold(
    15, "tlogsumexp", "log(sum({}))",
    "Logarithm of the sum of exponentials over axes. The greatest element is taken off first, so "
    "nothing overflows.", "float", "exp(x[*k])", ulps=4,
)  # fmt: skip

for _number, _search, _word in ((7, "argmax", "maximum"), (8, "argmin", "minimum")):
    tensor(
        f"t{_search}", ALONG, _number,
        "x: T[*a, n@axis, *c] -> d: i64[*a, *ones(keep), *c]", T="number",
        flags={"last": 0, "keep": 1}, requires={"n > 0": "x"},
        means=f"""first = {_search}(x[*p, j, *q] for j in n)
        final = n - 1 - {_search}(x[*p, n - 1 - j, *q] for j in n)
        d[*p, *o, *q] = final if last else first""",
        work="prod(x)",
        doc=f"Index of the {_word} along an axis. The first of several, or the last with the flag; "
        "a NaN counts as more than anything else.",
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
tensor(
    "thardmax", ALONG, 18, _ALONG, T="float",
    means="d[*p, i, *q] = 1 if i == argmax(x[*p, j, *q] for j in n) else 0", work="2 * prod(x)",
    doc="1 at the first maximum along an axis, 0 elsewhere.",
)  # fmt: skip

for _number, _run, _word in ((16, "sum", "sum"), (17, "prod", "product")):
    tensor(
        f"tcum{_run}", ALONG, _number, _ALONG, T="number", flags={"exclusive": 0, "reverse": 1},
        means=f"""d[*p, i, *q] = {_run}(x[*p, j, *q] for j in n
            if (j >= i + exclusive if reverse else j <= i - exclusive))""",
        work="prod(x)",
        doc=f"Running {_word} along an axis, from its end with the flag `reverse`, without the "
        "element itself with the flag `exclusive`. Of floats accumulated in f64.",
    )  # fmt: skip
