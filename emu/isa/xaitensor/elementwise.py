"""Elementwise: each element of the result from the elements at its place in the sources.

Sources broadcast. Meanings are expressions over one element of each source.
"""

from __future__ import annotations

from functools import partial

from emu.isa.xaitensor.declare import BINARY, PRODUCT, UNARY, declare

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
    doc="Power. Of integers it wraps; a negative exponent gives the reciprocal, as tdiv does.",
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

tensor(
    "tfmod", BINARY, 17, _BOTH, T="number",
    means="fmod(x, y)",
    doc="Remainder with the dividend's sign. An integer modulo zero is the dividend.",
)  # fmt: skip
tensor("tshl", BINARY, 18, _BOTH, T="int", means="shl(x, y)",
       doc="Shift left. Shifted by its width or more, or by less than 0, it is 0.")  # fmt: skip
tensor(
    "tshr", BINARY, 19, _BOTH, T="int",
    means="shr(x, y)",
    doc="Shift right, arithmetic for signed types. Shifted by its width or more, or by less than "
    "0, it is 0, or -1 if it was negative.",
)  # fmt: skip
tensor("tprelu", BINARY, 20, _BOTH, T="float", means="y * x if x < 0 else x",
       doc="Leaky rectifier whose slopes are ts2.", ulps=1)  # fmt: skip
tensor("taddrelu", BINARY, 21, _BOTH, T="number", means="max(x + y, 0)", doc="Sum and rectifier.",
       ulps=1)  # fmt: skip

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
tensor("tsigmoid", UNARY, 16, _EACH, T="float", means="sigmoid(x)",
       doc="Logistic function, 1 / (1 + exp(-x)).", ulps=3)  # fmt: skip
tensor(
    "thardsigmoid", UNARY, 17, _EACH, T="float", defaults={"alpha": 0.2, "beta": 0.5},
    means="min(max(alpha * x + beta, 0), 1)",
    doc="Hard sigmoid.", ulps=2,
)  # fmt: skip
tensor("thardswish", UNARY, 18, _EACH, T="float", means="x * (min(max(x + 3, 0), 6) / 6)",
       doc="Hard swish.", ulps=3)  # fmt: skip
tensor(
    "telu", UNARY, 19, _EACH, T="float", defaults={"alpha": 1.0},
    means="alpha * expm1(x) if x < 0 else x",
    doc="Exponential linear unit.", ulps=3,
)  # fmt: skip
tensor("tgelu", UNARY, 20, _EACH, T="float", means="0 if x == -inf else x * ncdf(x)",
       doc="Gaussian error linear unit; ncdf is the normal distribution.", ulps=5)  # fmt: skip
tensor(
    "tgelu_tanh", UNARY, 21, _EACH, T="float",
    means="0 if x == -inf else x * sigmoid(sqrt(8 / pi) * (x + 0.044715 * x * x * x))",
    doc="Gaussian error linear unit, tanh approximation.", ulps=16,
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
tensor("trsqrt", UNARY, 26, _EACH, T="float", means="1 / sqrt(x)",
       doc="Reciprocal of the square root.", ulps=2)  # fmt: skip
tensor("ttan", UNARY, 27, _EACH, T="float", means="tan(x)", doc="Tangent.", ulps=3)
tensor("tasin", UNARY, 28, _EACH, T="float", means="asin(x)", doc="Arc sine.", ulps=2)
tensor("tacos", UNARY, 29, _EACH, T="float", means="acos(x)", doc="Arc cosine.", ulps=2)
tensor("tatan", UNARY, 30, _EACH, T="float", means="atan(x)", doc="Arc tangent.", ulps=2)
tensor("tsinh", UNARY, 31, _EACH, T="float", means="sinh(x)", doc="Hyperbolic sine.", ulps=3)
tensor("tcosh", UNARY, 32, _EACH, T="float", means="cosh(x)", doc="Hyperbolic cosine.", ulps=3)
tensor("tasinh", UNARY, 33, _EACH, T="float", means="asinh(x)",
       doc="Inverse hyperbolic sine.", ulps=3)  # fmt: skip
tensor("tacosh", UNARY, 34, _EACH, T="float", means="acosh(x)",
       doc="Inverse hyperbolic cosine.", ulps=3)  # fmt: skip
tensor("tatanh", UNARY, 35, _EACH, T="float", means="atanh(x)",
       doc="Inverse hyperbolic tangent.", ulps=3)  # fmt: skip
tensor(
    "tselu", UNARY, 36, _EACH, T="float",
    defaults={"alpha": 1.67326319217681884765625, "beta": 1.05070102214813232421875},
    means="beta * (alpha * expm1(x) if x < 0 else x)",
    doc="Scaled exponential linear unit.", ulps=3,
)  # fmt: skip
tensor(
    "tcelu", UNARY, 37, _EACH, T="float", defaults={"alpha": 1.0},
    means="alpha * expm1(x / alpha) if x < 0 else x",
    doc="Continuously differentiable exponential linear unit.", ulps=4,
)  # fmt: skip
tensor("tmish", UNARY, 38, _EACH, T="float", means="0 if x == -inf else x * tanh(log1p(exp(x)))",
       doc="Mish.", ulps=4)  # fmt: skip
tensor(
    "tswish", UNARY, 39, _EACH, T="float", defaults={"alpha": 1.0},
    means="0 if alpha * x == -inf else x * sigmoid(alpha * x)",
    doc="Swish; with alpha 1, SiLU.", ulps=4,
)  # fmt: skip
tensor("tsoftsign", UNARY, 40, _EACH, T="float", means="x / (1 + abs(x))", doc="Softsign.", ulps=2)
tensor(
    "tthresholdedrelu", UNARY, 41, _EACH, T="float", defaults={"alpha": 1.0},
    means="0 if x <= alpha else x",
    doc="Thresholded rectifier; NaN for NaN.",
)  # fmt: skip
tensor(
    "tshrink", UNARY, 42, _EACH, T="float", defaults={"alpha": 0.5},
    means="x + beta if x < -alpha else x - beta if x > alpha else 0",
    doc="Shrinking: 0 within alpha of 0, beta nearer to 0 elsewhere.", ulps=1,
)  # fmt: skip
tensor("tisnan", UNARY, 43, "x: T[*s] -> d: bool[*s]", T="float", means="x != x",
       doc="Whether not a number.")  # fmt: skip
tensor("tisinf", UNARY, 44, "x: T[*s] -> d: bool[*s]", T="float", means="abs(x) == inf",
       doc="Whether infinite.")  # fmt: skip

# --- three operands -----------------------------------------------------------------------------

tensor(
    "twhere", PRODUCT, 3, "c: bool[~*s], x: T[~*s], y: T[~*s] -> d: T[*s]", T="any",
    means="x if c else y",
    doc="Selection. Elements of x where c is true, of y elsewhere; y is extra operand e0.",
)  # fmt: skip
