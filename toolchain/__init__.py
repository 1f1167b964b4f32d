"""From source text to an image: the Kern compiler, the assembler, the linker, disks, the debugger."""
