/* Counters, and instructions that change where the next one comes from. */

#include "checks.h"

main:
    CASE 1                      # the write of a counter is what the next instruction reads
    csrwi minstret, 9
    csrr a0, minstret
    EXPECT a0, 9
    csrwi mcycle, 9
    csrr a0, mcycle
    EXPECT a0, 9

    CASE 2                      # each instruction counts once, also in a loop
    li t0, 100
    csrr a0, minstret
1:  addi t0, t0, -1
    bnez t0, 1b
    csrr a1, minstret
    sub a1, a1, a0
    EXPECT a1, 201

    CASE 3                      # one that traps does not count
    TRAPS(1f)
    csrwi minstret, 0
    ecall
1:  csrr a0, minstret
    EXPECT a0, 4                # of the handler; the call is none

    CASE 4                      # a counter that is inhibited stands still
    csrwi mcountinhibit, 5
    csrr a0, minstret
    csrr a1, mcycle
    nop
    csrr a2, minstret
    csrr a3, mcycle
    bne a0, a2, fail
    bne a1, a3, fail
    csrwi mcountinhibit, 0

    CASE 5                      # user mode reads what both above it allow
    csrwi mcounteren, 5
    csrwi scounteren, 4
    TRAPS(2f)
    ENTER 0, 1f
1:  csrr a0, instret
    csrr a0, cycle
2:  EXPECT t5, 2
    la t0, 1b + 4
    bne t6, t0, fail

    CASE 6                      # the lowest bit of a jump's target is dropped
    NO_TRAPS
    la t0, 1f
    jalr a0, 1(t0)
0:  j fail
1:  la t1, 0b
    bne a0, t1, fail
    la a0, 1f                   # the register of the target may be that of the link
    jalr a0, 0(a0)
0:  j fail
1:  la t1, 0b
    bne a0, t1, fail

    CASE 7                      # an instruction over the end of a page
    li a0, 1
    j 1f
    .balign 4096
    .skip 4094, 0
    .option push
    .option norvc
1:  addi a0, a0, 6
    .option pop
    EXPECT a0, 7

    CASE 8                      # code that changes is new after FENCE.I, time and again
    la s0, 2f
    la s1, 3f
    li a0, 0
    li s2, 50
1:  lw t0, 0(s0)
    lw t1, 0(s1)
    sw t0, 0(s1)
    sw t1, 0(s0)
    fence.i
    .option push
    .option norvc
2:  addi a0, a0, 1
    slli a0, a0, 1
3:  addi a0, a0, 0
    .option pop
    andi a0, a0, 255
    addi s2, s2, -1
    bnez s2, 1b
    EXPECT a0, 84
    j pass
