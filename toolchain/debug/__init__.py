"""The debugger: `aios debug` looks into the machine from outside, by the program's DWARF.

Read in the order of the data. `dwarf` turns an ELF file into functions, lines, variables and
`types`; `memory` and `frames` read the stopped machine; `values` and `expressions` put both
together; `session` holds one debugging session and `control` moves it; each function in `commands`
is a command; `repl` reads command lines.
"""
