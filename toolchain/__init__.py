"""From source to image: the Kern compiler, the assembler, the linker, disks and the debugger."""
