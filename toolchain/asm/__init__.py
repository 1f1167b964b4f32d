"""The assembler: GNU-like text in, an RV64 object file with a line table out.

The data flows through the modules in this order: `source` splits text into statements,
`assembler` runs them (directives from `directives`, instructions through `instructions`, which
asks the instruction table), `expressions` reads operands, `line_table` writes the DWARF. Nothing
is relaxed or compressed: every instruction has the size that it is written with, so one pass is
enough, and what that pass cannot know becomes a relocation.
"""

from toolchain.asm.assembler import assemble
from toolchain.asm.source import AsmErrors

__all__ = ["AsmErrors", "assemble"]
