"""The linker: RV64 object files in, one executable out.

The data flows through the modules in this order: `symbols` gives every name one definition,
`stubs` makes the missing `__insn …` functions, `align` removes the padding that R_RISCV_ALIGN asks
for, `layout` gives every section an address, `relocate` patches the bytes, and `toolchain.elf`
writes the file. There is no relaxation: what a relocation needs is already in the code.
"""

from toolchain.link.errors import LinkErrors
from toolchain.link.program import link

__all__ = ["LinkErrors", "link"]
