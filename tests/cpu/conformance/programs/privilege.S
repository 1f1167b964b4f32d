/* Modes and traps: what may be done where, where a trap goes, and what a return restores. */

#include "checks.h"

#define MPP (3 << 11)
#define MPIE (1 << 7)
#define MIE (1 << 3)
#define SPP (1 << 8)
#define TVM (1 << 20)
#define TW (1 << 21)
#define TSR (1 << 22)

main:
    CASE 1                      # a call from each mode has a cause of its own
    TRAPS(1f)
    ecall
1:  EXPECT t5, 11
    TRAPS(1f)
    ENTER 1, 2f
2:  ecall
1:  EXPECT t5, 9
    TRAPS(1f)
    ENTER 0, 2f
2:  ecall
1:  EXPECT t5, 8
    la t0, 2b
    bne t6, t0, fail

    CASE 2                      # a trap stacks MIE and the mode; the return unstacks both
    li t0, MPP
    csrs mstatus, t0
    csrsi mstatus, MIE
    TRAPS(1f)
    ebreak
1:  EXPECT t5, 3
    csrr t1, mstatus
    li t2, MPP | MPIE | MIE
    and t1, t1, t2
    EXPECT t1, MPP | MPIE
    la t0, 1f
    csrw mepc, t0
    mret
1:  csrr t1, mstatus
    and t1, t1, t2
    EXPECT t1, MPIE | MIE
    csrci mstatus, MIE

    CASE 3                      # what user mode must not do is illegal, and changes nothing
    la s0, forbidden
    la s1, forbidden_end
    TRAPS(2f)
1:  li a0, 77
    li t3, MPP
    csrc mstatus, t3
    csrw mepc, s0
    mret
2:  EXPECT t5, 2
    EXPECT a0, 77
    bne t6, s0, fail
    addi s0, s0, 8
    bltu s0, s1, 1b

    CASE 4                      # TVM, TW and TSR take from the supervisor what it has
    la s0, trapped
    la s1, trapped_end
    li s2, TVM | TW | TSR
    csrs mstatus, s2
    TRAPS(2f)
1:  li t3, MPP
    csrc mstatus, t3
    li t3, 1 << 11
    csrs mstatus, t3
    csrw mepc, s0
    mret
2:  EXPECT t5, 2
    bne t6, s0, fail
    addi s0, s0, 8
    bltu s0, s1, 1b
    csrc mstatus, s2

    CASE 5                      # delegated, it goes to the supervisor, with the mode in SPP
    li t0, 1 << 8 | 1 << 2
    csrw medeleg, t0
    la t0, supervisor
    csrw stvec, t0
    TRAPS(3f)
    li s2, 0
    ENTER 0, 1f
1:  ecall
2:  .word 0
    .balign 4
supervisor:
    csrr t0, scause
    csrr t1, sstatus
    andi t1, t1, SPP
    bnez t1, fail
    csrr t1, sepc
    addi t1, t1, 4
    csrw sepc, t1
    addi s2, s2, 1
    li t1, 8
    beq t0, t1, 1f
    li t1, 2
    bne t0, t1, fail
    ecall                       # from here, to machine mode
1:  sret
3:  EXPECT t5, 9
    EXPECT s2, 2
    csrw medeleg, zero

    CASE 6                      # a vectored table is for interrupts; the highest one comes first
    la t0, table + 1
    csrrw s0, mtvec, t0
    li t0, 0x222
    csrw mie, t0
    csrw mip, t0
    csrsi mstatus, MIE
    j fail
external:
    csrr t5, mcause
    csrw mtvec, s0
    csrw mip, zero
    csrw mie, zero
    EXPECT t5, (1 << 63) + 9

    CASE 7                      # MPRV: machine mode loads with the rights of MPP
    li t0, 1 << 17
    csrs mstatus, t0
    li t0, MPP
    csrc mstatus, t0
    csrw pmpcfg0, zero
    TRAPS(1f)
    la t1, trap
    ld a0, 0(t1)
    j fail
1:  EXPECT t5, 5
    li t0, 0x1f
    csrw pmpcfg0, t0
    j pass

    .balign 4
    .option push
    .option norvc
forbidden:
    csrw sscratch, a0
    nop
    csrr a0, mhartid
    nop
    csrrw a0, cycle, zero
    nop
    csrr a0, satp
    nop
    sret
    nop
    mret
    nop
    sfence.vma
    nop
    csrr a0, 0x7c0
    nop
forbidden_end:
trapped:
    csrr a0, satp
    nop
    csrw satp, a0
    nop
    sfence.vma
    nop
    sret
    nop
    wfi
    nop
trapped_end:
    .balign 64
table:
    .rept 9
    j fail
    .endr
    j external
    j fail
    j fail
    .option pop
