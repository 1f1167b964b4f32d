# Enough of a start for a compiled program: a stack, then its statements, then the end of the run.
        .section .text
        .globl  _start
_start:
        la      sp, stack_top
        li      t0, 0x2000              # mstatus.FS: the FPU is on
        csrs    mstatus, t0
        call    kern_main
        li      t0, 0x100000            # the finisher
        li      t1, 0x5555
        sw      t1, 0(t0)
park:
        j       park

        .section .bss
        .balign 16
        .zero   65536
stack_top:
        .zero   16
