# Where the machine jumps: a stack, floating point on, then the statements of the Kern program.
        .section .text.start, "ax"
        .globl  _start
_start:
        la      sp, stack_top
        li      t0, 0x6000              # mstatus.FS
        csrs    mstatus, t0
        call    kern_main
halt:
        j       halt

        .section .bss
        .balign 16
        .zero   65536
stack_top:
