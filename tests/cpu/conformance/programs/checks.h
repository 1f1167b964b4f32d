/* What every program here begins and ends with: numbered cases, in the convention of riscv-tests.

   A program defines `main`, which machine mode calls, and jumps to `pass` in the end. `CASE n` gives
   what follows a number, and `EXPECT register, value` fails it. A trap that machine mode takes goes
   to the address in s11, if that is not zero, with the cause in t5 and the place in t6; one that is
   not expected fails the case. Registers: s11 and t3 to t6 are theirs, s10 is the case. */

#define TRAPS(label) la s11, label
#define NO_TRAPS li s11, 0

.macro CASE number
    li s10, \number
.endm

.macro EXPECT register, value
    li t3, \value
    bne \register, t3, fail
.endm

/* Leave for another mode: MPP is `mode`, and execution goes on at `label`. */
.macro ENTER mode, label
    li t3, 3 << 11
    csrc mstatus, t3
    li t3, \mode << 11
    csrs mstatus, t3
    la t3, \label
    csrw mepc, t3
    mret
.endm

    .text
    .globl _start
_start:
    la t0, trap
    csrw mtvec, t0
    li t0, -1
    csrw pmpaddr0, t0
    li t0, 0x1f
    csrw pmpcfg0, t0
    NO_TRAPS
    j main

    .balign 4
trap:
    csrr t5, mcause
    csrr t6, mepc
    beqz s11, fail
    jr s11

pass:
    li s10, 0
fail:
    fence
    slli s10, s10, 1
    ori s10, s10, 1
    la t0, tohost
1:  sd s10, 0(t0)
    j 1b

    .section .tohost, "aw"
    .balign 64
    .globl tohost, fromhost
tohost: .dword 0
    .balign 64
fromhost: .dword 0
    .text
