"""Xaitensor: tensor instructions, in the custom-1 opcode.

A tensor register holds a descriptor: base address, element type, dims and strides. Instructions
work from memory to memory over descriptors; each checks everything before it writes, so it
completes or traps and can be executed again. Read `declare` for the form of a declaration,
`signature` for operands, `notation` and `rules` for expressions; then the families.

**The seam.** Every body makes one call, `m.system("tensor", mnemonic, operands...)`, the operands
in the order of the syntax less the destination of `tget`: tensor registers and descriptor fields
as numbers, integer registers as their values (an address of an attribute block, 0 for none).

**Adding an instruction** is a declaration in the file of its family, with the next free number of
its class, and a schedule in `emu/cpu/tensor` bound to its mnemonic.
"""

from emu.isa.xaitensor import (
    attention,
    axes,
    descriptors,  # the first in the table and in the documentation
    elementwise,
    moving,
    norms,
    products,
    quantised,
    recurrent,
    windows,
)
from emu.isa.xaitensor.declare import TENSORS, Declaration

FAMILIES = (elementwise, products, windows, axes, norms, moving, attention, recurrent, quantised)
"""The files of declarations, in the order of the documentation."""

__all__ = ["FAMILIES", "TENSORS", "Declaration", "descriptors"]
