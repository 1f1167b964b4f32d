"""The instruction set: every instruction declared once, every reading of it derived.

`graph` is the vocabulary, `encoding` the bit patterns, `declare` the table; the `rv64*`, `zb*`,
`zicsr`, `zifencei`, `privileged`, `xaitensor` and `xlane` modules are the declarations, one an
extension. Derived from them: `decode`, `assemble`, `disassemble`, `docs`; and outside, the engines
of `emu.cpu` and of the GPU's lanes. `registers` and `csrs` name what instructions name. Adding an
instruction is adding one declaration; adding an extension, a module in the list below.
"""

from emu.isa import (  # imported for their declarations, in the order of the documentation
    privileged,
    rv64a,
    rv64c,
    rv64d,
    rv64f,
    rv64i,
    rv64m,
    xaitensor,
    xlane,
    zba,
    zbb,
    zbs,
    zicsr,
    zifencei,
)
from emu.isa.declare import TABLE, Instruction

EXTENSIONS = (
    rv64i, rv64m, rv64a, rv64f, rv64d, rv64c, zicsr, zifencei, zba, zbb, zbs, privileged, xaitensor,
    xlane,
)  # fmt: skip
"""The modules of the table, in the order in which the documentation lists them."""

__all__ = ["EXTENSIONS", "TABLE", "Instruction"]
