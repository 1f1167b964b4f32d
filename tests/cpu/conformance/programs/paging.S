/* A user program on pages that the supervisor gives it as it touches them: LR and SC, an access over
   the end of a page of which one half is missing, pages that change places under it, and a page of
   2 MiB that becomes small ones and large again.

   The supervisor runs where it lies, in a page of 1 GiB. It sets A and D bits if the hart does not.
   With SV48 there is one more level. */

#include "checks.h"

#define V 1
#define R 2
#define W 4
#define X 8
#define U 16
#define A 64
#define D 128

#define BASE 0x40000000
#define PAGES 8
#define FIRST 0x01234567        /* what an access over its start leaves in a page */

.macro LINK table, entry, target, rights
    la t0, \target
    srli t0, t0, 2
    ori t0, t0, \rights
    la t1, \table
    li t2, 8 * \entry
    add t1, t1, t2
    sd t0, 0(t1)
.endm

main:
    CASE 1
    LINK root, 1, middle, V
    LINK middle, 0, leaf, V
    LINK root, 2, _start, V | R | W | X | A | D
    LINK middle, 1, small, V
    LINK other, 0, _start, V | R | U | A | D
    la t0, user                 # the place of page 1 in memory, where small pages show page 2
    la t1, _start
    sub s0, t0, t1
    li t1, 4096
    add s0, s0, t1
    slli t1, t1, 1
    add t0, t0, t1
    srli t0, t0, 2
    ori t0, t0, V | R | U | A
    srli t1, s0, 12 - 3
    la t2, small
    add t1, t1, t2
    sd t0, 0(t1)
    li t0, BASE + 0x200000
    add s0, s0, t0
    csrw sscratch, s0
    li a0, 8
    la a1, root
#ifdef SV48
    LINK top, 0, root, V
    li a0, 9
    la a1, top
#endif
    slli a0, a0, 60
    srli a1, a1, 12
    or a0, a0, a1
    csrw satp, a0
    csrr a1, satp
    bne a0, a1, fail
    sfence.vma
    la t0, supervisor
    csrw stvec, t0
    li t0, 1 << 8 | 1 << 12 | 1 << 13 | 1 << 15
    csrw medeleg, t0
    li t0, 3 << 11
    csrc mstatus, t0
    li t0, BASE
    csrw mepc, t0
    mret

    .balign 4
supervisor:
    csrr t3, scause
    li t4, 8
    beq t3, t4, call
    csrr t6, stval
    li t4, BASE
    sub t4, t6, t4
    srli t4, t4, 12
    li t5, PAGES
    bgeu t4, t5, fail
    slli t5, t4, 3
    la t4, leaf
    add t4, t4, t5              # the entry
    ld t3, 0(t4)
    bnez t3, 1f
    slli t5, t5, 9              # a page for it: its rights are the program's only for the first
    la t3, user
    add t3, t3, t5
    srli t3, t3, 2
    ori t3, t3, V | R | U
    li t6, X
    beqz t5, 2f
    li t6, W
2:  or t3, t3, t6
    j 3f
1:  ori t3, t3, A
    csrr t5, scause
    addi t5, t5, -15
    bnez t5, 3f
    ori t3, t3, D
3:  sd t3, 0(t4)
    csrr t6, stval
    sfence.vma t6
    sret

call:
    csrr t3, sepc
    addi t3, t3, 4
    csrw sepc, t3
    beqz a7, done
    addi a7, a7, -1
    bnez a7, resize
    la t3, leaf                 # pages 1 and 2 change places
    ld t4, 8(t3)
    ld t5, 16(t3)
    sd t4, 16(t3)
    sd t5, 8(t3)
    sfence.vma
    sret

resize:                         # a large page there, or small ones
    la t3, middle
    la t4, other
    ld t5, 8(t3)
    ld t6, 0(t4)
    sd t6, 8(t3)
    sd t5, 0(t4)
    csrr a0, sscratch
    sfence.vma a0
    sret

done:
    CASE 5                      # what was written is dirty, what was executed only accessed
    la t3, leaf
    ld t4, 0(t3)
    andi t4, t4, A | D
    EXPECT t4, A
    la t6, leaf + 8
    li t5, PAGES - 1
1:  ld t4, 0(t6)
    andi t4, t4, A | D
    EXPECT t4, A | D
    addi t6, t6, 8
    addi t5, t5, -1
    bnez t5, 1b
    j pass

    .balign 4096
user:                           # at BASE, and not where it was linked
    li s10, 2
    li s0, BASE + 0x1000
    li s1, PAGES - 2
1:  li s2, 50
2:  lr.d a1, (s0)
    addi a1, a1, 3
    sc.d a2, a1, (s0)
    bnez a2, 2b
    addi s2, s2, -1
    bnez s2, 2b
    li a1, FIRST << 32 | 0x89abcdef
    li t0, 4092
    add t0, s0, t0
    sd a1, 0(t0)
    ld a2, 0(t0)
    bne a1, a2, 9f
    lui t0, 1
    add s0, s0, t0
    addi s1, s1, -1
    bnez s1, 1b

    li s10, 3
    li s0, BASE + 0x1000
    li s3, 40
3:  li a7, 1
    ecall
    ld a0, 0(s0)
    sd s3, 8(s0)
    li a1, 150
    andi a2, s3, 1
    bnez a2, 4f
    li a1, FIRST + 150
4:  bne a0, a1, 9f
    addi s3, s3, -1
    bnez s3, 3b

    li s10, 4
    li s3, 40
5:  li a7, 2
    ecall
    ld a1, 0(a0)
    li a2, 150
    andi a3, s3, 1
    beqz a3, 6f
    li a2, FIRST + 150
6:  bne a1, a2, 9f
    addi s3, s3, -1
    bnez s3, 5b
    li a7, 0
    ecall
9:  lw a0, -4(zero)             # fails: no page of its is there

    .balign 4096
    .skip (PAGES - 1) * 4096, 0

    .data
    .balign 4096
top: .skip 4096
root: .skip 4096
middle: .skip 4096
leaf: .skip 4096
small: .skip 4096
other: .skip 8
