"""Elementwise: each element of the result from the elements at its place in the sources.

Sources broadcast. Meanings are expressions over one element of each source.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import BINARY, UNARY, declare

tensor = partial(declare, "elementwise")

_BOTH = "x: T[~*s], y: T[~*s] -> d: T[*s]"
_COMPARED = "x: T[~*s], y: T[~*s] -> d: bool[*s]"
_EACH = "x: T[*s] -> d: T[*s]"

# --- two operands -------------------------------------------------------------------------------

tensor("tadd", BINARY, 0, _BOTH, T="number", means="x + y", doc="Sum.")
tensor("tsub", BINARY, 1, _BOTH, T="number", means="x - y", doc="Difference.")
tensor("tmul", BINARY, 2, _BOTH, T="number", means="x * y", doc="Product.")
tensor(
    "tdiv", BINARY, 3, _BOTH, T="number",
    means="x / y",
    doc="Quotient. Of integers it truncates toward zero; divided by zero it is -1 (all ones), the "
    "smallest number by -1 is itself, as RISC-V divides.",
)  # fmt: skip
tensor(
    "tmod", BINARY, 4, _BOTH, T="number",
    means="mod(x, y)",
    doc="Remainder. Of integers it has the divisor's sign (ONNX Mod), and modulo zero it is the "
    "dividend; of floats it has the dividend's (ONNX fmod).",
)  # fmt: skip
tensor(
    "tpow", BINARY, 5, _BOTH, T="number",
    means="pow(x, y)",
    doc="Power. Of integers it wraps; a negative exponent gives the truncated real result.",
    ulps=4,
)  # fmt: skip
tensor("tmin", BINARY, 6, _BOTH, T="number", means="min(x, y)", doc="Minimum; NaN if either is.")
tensor("tmax", BINARY, 7, _BOTH, T="number", means="max(x, y)", doc="Maximum; NaN if either is.")
tensor("teq", BINARY, 8, _COMPARED, T="any", means="x == y", doc="Whether equal.")
tensor("tne", BINARY, 9, _COMPARED, T="any", means="x != y", doc="Whether not equal.")
tensor("tlt", BINARY, 10, _COMPARED, T="number", means="x < y", doc="Whether less.")
tensor("tle", BINARY, 11, _COMPARED, T="number", means="x <= y", doc="Whether less or equal.")
tensor("tgt", BINARY, 12, _COMPARED, T="number", means="x > y", doc="Whether greater.")
tensor("tge", BINARY, 13, _COMPARED, T="number", means="x >= y", doc="Whether greater or equal.")
tensor("tand", BINARY, 14, _BOTH, T="logic", means="bitand(x, y)", doc="Logical or bitwise AND.")
tensor("tor", BINARY, 15, _BOTH, T="logic", means="bitor(x, y)", doc="Logical or bitwise OR.")
tensor(
    "txor", BINARY, 16, _BOTH, T="logic",
    means="bitxor(x, y)",
    doc="Logical or bitwise exclusive OR.",
)  # fmt: skip

# --- one operand --------------------------------------------------------------------------------

tensor(
    "tcopy", UNARY, 0, "x: any[~d] -> d: any[*s]",
    means="x",
    doc="Copy, with conversion to the destination's type. The source broadcasts to the "
    "destination. A float becomes an integer by truncation and saturates; NaN becomes 0.",
)  # fmt: skip
tensor("tneg", UNARY, 1, _EACH, T="number", means="-x", doc="Negation.")
tensor("tabs", UNARY, 2, _EACH, T="number", means="abs(x)", doc="Absolute value.")
tensor("tsqrt", UNARY, 3, _EACH, T="float", means="sqrt(x)", doc="Square root.")
tensor("texp", UNARY, 4, _EACH, T="float", means="exp(x)", doc="Exponential.", ulps=2)
tensor("tlog", UNARY, 5, _EACH, T="float", means="log(x)", doc="Natural logarithm.", ulps=2)
tensor("tsin", UNARY, 6, _EACH, T="float", means="sin(x)", doc="Sine.", ulps=2)
tensor("tcos", UNARY, 7, _EACH, T="float", means="cos(x)", doc="Cosine.", ulps=2)
tensor("ttanh", UNARY, 8, _EACH, T="float", means="tanh(x)", doc="Hyperbolic tangent.", ulps=2)
tensor("terf", UNARY, 9, _EACH, T="float", means="erf(x)", doc="Error function.", ulps=2)
tensor("tfloor", UNARY, 10, _EACH, T="number", means="floor(x)", doc="Floor.")
tensor("tceil", UNARY, 11, _EACH, T="number", means="ceil(x)", doc="Ceiling.")
tensor("tround", UNARY, 12, _EACH, T="number", means="rint(x)",
       doc="Rounding to nearest, ties to even.")  # fmt: skip
tensor("trecip", UNARY, 13, _EACH, T="float", means="1 / x", doc="Reciprocal.", ulps=1)
tensor("trelu", UNARY, 14, _EACH, T="number", means="max(x, 0)", doc="Rectifier; NaN for NaN.")
tensor(
    "tleakyrelu", UNARY, 15, _EACH, T="float", defaults={"alpha": 0.01},
    means="alpha * x if x < 0 else x",
    doc="Leaky rectifier.", ulps=1,
)  # fmt: skip
tensor("tsigmoid", UNARY, 16, _EACH, T="float", means="1 / (1 + exp(-x))",
       doc="Logistic function.", ulps=3)  # fmt: skip
tensor(
    "thardsigmoid", UNARY, 17, _EACH, T="float", defaults={"alpha": 0.2, "beta": 0.5},
    means="min(max(alpha * x + beta, 0), 1)",
    doc="Hard sigmoid.", ulps=2,
)  # fmt: skip
tensor("thardswish", UNARY, 18, _EACH, T="float", means="x * min(max(x / 6 + 0.5, 0), 1)",
       doc="Hard swish.", ulps=3)  # fmt: skip
tensor(
    "telu", UNARY, 19, _EACH, T="float", defaults={"alpha": 1.0},
    means="alpha * expm1(x) if x < 0 else x",
    doc="Exponential linear unit.", ulps=3,
)  # fmt: skip
tensor("tgelu", UNARY, 20, _EACH, T="float", means="x * (1 + erf(x * sqrt(0.5))) / 2",
       doc="Gaussian error linear unit.", ulps=4)  # fmt: skip
tensor(
    "tgelu_tanh", UNARY, 21, _EACH, T="float",
    means="x * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x * x * x))) / 2",
    doc="Gaussian error linear unit, tanh approximation.", ulps=4,
)  # fmt: skip
tensor("tsoftplus", UNARY, 22, _EACH, T="float", means="max(x, 0) + log1p(exp(-abs(x)))",
       doc="Softplus.", ulps=3)  # fmt: skip
tensor(
    "tclip", UNARY, 23, _EACH, T="number", defaults={"alpha": float("-inf"), "beta": float("inf")},
    means="min(max(x, alpha), beta)",
    doc="Clipping to alpha..beta; NaN for NaN.",
)  # fmt: skip
tensor("tnot", UNARY, 24, _EACH, T="logic", means="bitnot(x)", doc="Logical or bitwise NOT.")
tensor(
    "tsign", UNARY, 25, _EACH, T="number",
    means="1 if x > 0 else -1 if x < 0 else x",
    doc="Sign; NaN for NaN.",
)  # fmt: skip
