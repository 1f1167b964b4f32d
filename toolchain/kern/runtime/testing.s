# The machine-mode program around the tests: calls each one, survives panics and traps.
#
# `kern_tests` (made by the compiler) is a row a test: {pointer and length of its name, address},
# ended by a null name. s0 is the row, s1 the number of the test; both also lie in `progress`,
# for a test that panics or traps comes back through test_abandon with nothing in registers.

        .section .text
        .globl  _start
_start:
        la      sp, test_stack_top
        li      t0, 0x1e000             # FPU and tensor state on (mstatus.FS and .XS)
        csrs    mstatus, t0
        la      t0, test_trap
        csrw    mtvec, t0
        la      s0, kern_tests
        li      s1, 0
next_test:
        la      t0, progress
        sd      s0, 0(t0)
        sd      s1, 8(t0)
        ld      t0, 0(s0)
        beqz    t0, all_done
        ld      t0, 16(s0)
        jalr    t0
        la      t0, progress
        ld      a0, 8(t0)
        call    test_passed
        .globl  test_abandon
test_abandon:
        la      sp, test_stack_top
        la      t0, progress
        ld      s0, 0(t0)
        ld      s1, 8(t0)
        addi    s0, s0, 24
        addi    s1, s1, 1
        j       next_test
all_done:
        call    test_finish

        .balign 4
test_trap:
        csrr    a0, mcause
        csrr    a1, mepc
        csrr    a2, mtval
        la      sp, test_stack_top
        la      t0, test_trapped
        csrw    mepc, t0
        csrr    t0, mstatus             # back to machine mode, wherever the test was
        li      t1, 0x1800
        or      t0, t0, t1
        csrw    mstatus, t0
        mret
        .globl  test_number
test_number:                            # test_number() -> which test is running
        la      a0, progress
        ld      a0, 8(a0)
        ret

        .section .bss
        .balign 16
progress:
        .zero   16
        .zero   262144
test_stack_top:
        .zero   16
