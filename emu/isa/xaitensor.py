"""Xaitensor: tensor instructions, in the custom-1 opcode.

A tensor register holds a descriptor: base address, element type, dims and strides. Instructions
work from memory to memory over descriptors; each checks everything before it writes, so it
completes or traps and can be executed again.

**The seam.** Every body makes one call, `m.system("tensor", mnemonic, operands...)`, the operands
in the order of the syntax less the destination of `tget`: tensor registers and descriptor fields
as numbers, integer registers as their values (an address of an attribute block, 0 for none).
"""

from __future__ import annotations

from emu.isa.declare import insn
from emu.isa.graph import Node, Trace

# --- funct3 000: descriptors --------------------------------------------------------------------


@insn("0000000 00000 rs1 000 0 td 0101011", "tld {td:t}, ({rs1})")
def tld(m: Trace, rd: Node, rs1: Node) -> None:
    """Load a descriptor of 128 bytes from memory."""
    m.system("tensor", "tld", rd, m.x[rs1])


@insn("0000001 00000 rs1 000 0 td 0101011", "tst {td:t}, ({rs1})")
def tst(m: Trace, rd: Node, rs1: Node) -> None:
    """Store a descriptor of 128 bytes to memory."""
    m.system("tensor", "tst", rd, m.x[rs1])


@insn("0000010 00000 0 ts1 000 0 td 0101011", "tmv {td:t}, {ts1:t}")
def tmv(m: Trace, rd: Node, rs1: Node) -> None:
    """Copy a descriptor."""
    m.system("tensor", "tmv", rd, rs1)


@insn("0000011 field 0 ts1 000 rd 0101011", "tget {rd}, {ts1:t}, {field}")
def tget(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Read one field of a descriptor."""
    m.x[rd] = m.system("tensor", "tget", rs1, imm)


@insn("0000100 field rs1 000 0 td 0101011", "tset {td:t}, {rs1}, {field}")
def tset(m: Trace, rd: Node, rs1: Node, imm: Node) -> None:
    """Write one field of a descriptor."""
    m.system("tensor", "tset", rd, m.x[rs1], imm)


# --- funct3 001: elementwise, two operands ------------------------------------------------------

_BINARY = (
    ("tadd", "Sum"), ("tsub", "Difference"), ("tmul", "Product"), ("tdiv", "Quotient"),
    ("tmod", "Remainder"), ("tpow", "Power"), ("tmin", "Minimum"), ("tmax", "Maximum"),
    ("teq", "Whether equal"), ("tne", "Whether not equal"), ("tlt", "Whether less"),
    ("tle", "Whether less or equal"), ("tgt", "Whether greater"),
    ("tge", "Whether greater or equal"), ("tand", "Logical or bitwise AND"),
    ("tor", "Logical or bitwise OR"), ("txor", "Logical or bitwise exclusive OR"),
)  # fmt: skip


def _declare_binary(funct7: int, mnemonic: str, doc: str) -> None:
    @insn(
        f"{funct7:07b} 0 ts2 0 ts1 001 0 td 0101011",
        f"{mnemonic} {{td:t}}, {{ts1:t}}, {{ts2:t}}",
        doc=f"{doc}, element by element; operands broadcast to the destination's dims.",
    )
    def binary(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
        m.system("tensor", mnemonic, rd, rs1, rs2)


# --- funct3 010: elementwise, one operand -------------------------------------------------------

_UNARY = (
    ("tcopy", "Copy, with conversion to the destination's type"), ("tneg", "Negation"),
    ("tabs", "Absolute value"), ("tsqrt", "Square root"), ("texp", "Exponential"),
    ("tlog", "Natural logarithm"), ("tsin", "Sine"), ("tcos", "Cosine"),
    ("ttanh", "Hyperbolic tangent"), ("terf", "Error function"), ("tfloor", "Floor"),
    ("tceil", "Ceiling"), ("tround", "Rounding to nearest, ties to even"),
    ("trecip", "Reciprocal"), ("trelu", "Rectifier"),
    ("tleakyrelu", "Leaky rectifier (alpha)"), ("tsigmoid", "Logistic function"),
    ("thardsigmoid", "Hard sigmoid (alpha, beta)"), ("thardswish", "Hard swish"),
    ("telu", "Exponential linear unit (alpha)"), ("tgelu", "Gaussian error linear unit"),
    ("tgelu_tanh", "Gaussian error linear unit, tanh approximation"),
    ("tsoftplus", "Softplus"), ("tclip", "Clipping to alpha..beta"),
    ("tnot", "Logical or bitwise NOT"), ("tsign", "Sign"),
)  # fmt: skip


def _declare_attributed(funct3: str, funct7: int, mnemonic: str, doc: str) -> None:
    """One tensor operand, and an attribute block whose address is in rs2."""

    @insn(
        f"{funct7:07b} rs2 0 ts1 {funct3} 0 td 0101011",
        f"{mnemonic} {{td:t}}, {{ts1:t}}, {{rs2}}",
        doc=doc,
    )
    def attributed(m: Trace, rd: Node, rs1: Node, rs2: Node) -> None:
        m.system("tensor", mnemonic, rd, rs1, m.x[rs2])


# --- funct3 011: two tensor operands and an attribute block -------------------------------------

_PRODUCTS = (
    ("tmatmul", "Matrix product, batched, with optional bias and activation."),
    ("tconv", "Convolution, NCHW by OIHW, with optional bias and activation."),
    ("tgather", "Gather slices of ts1 along an axis by the indices in ts2."),
)


def _declare_product(funct2: int, mnemonic: str, doc: str) -> None:
    @insn(
        f"rs3 {funct2:02b} 0 ts2 0 ts1 011 0 td 0101011",
        f"{mnemonic} {{td:t}}, {{ts1:t}}, {{ts2:t}}, {{rs3}}",
        doc=doc,
    )
    def product(m: Trace, rd: Node, rs1: Node, rs2: Node, rs3: Node) -> None:
        m.system("tensor", mnemonic, rd, rs1, rs2, m.x[rs3])


# --- funct3 100: windows and reductions ---------------------------------------------------------

_REDUCTIONS = (
    ("tmaxpool", "Maximum over a sliding window."), ("tavgpool", "Mean over a sliding window."),
    ("tsum", "Sum over axes."), ("tmean", "Mean over axes."), ("tprod", "Product over axes."),
    ("tredmax", "Maximum over axes."), ("tredmin", "Minimum over axes."),
    ("targmax", "Index of the maximum along an axis."),
    ("targmin", "Index of the minimum along an axis."),
    ("tsoftmax", "Softmax along an axis."), ("tlogsoftmax", "Logarithm of softmax along an axis."),
)  # fmt: skip


for _number, (_name, _doc) in enumerate(_BINARY):
    _declare_binary(_number, _name, _doc)
for _number, (_name, _doc) in enumerate(_UNARY):
    _declare_attributed("010", _number, _name, f"{_doc}, element by element.")
for _number, (_name, _doc) in enumerate(_PRODUCTS):
    _declare_product(_number, _name, _doc)
for _number, (_name, _doc) in enumerate(_REDUCTIONS):
    _declare_attributed("100", _number, _name, _doc)
