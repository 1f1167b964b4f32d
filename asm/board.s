# What the firmware must know of the board, from the device tree: read once, by hart 0, at reset.
#
# Of every node, `compatible` and `device_type` say what it is; when one of their strings is among
# `wanted`, the node's `reg` is kept. Numbers in the tree are big-endian (Devicetree Specification
# 0.4, chapter 5). A tree that is none leaves everything zero, which means: not there.

        .equ    HARTS, 8
        .equ    BLOCK, 128
        .equ    STATE, 64
        .equ    MTIMECMP, 112
        .equ    MSIP, 120
        .equ    STOPPED, 1

        .section .text
# find_board(-, a1 = device tree): fills `board`. Keeps a0 and a1.
        .globl  find_board
find_board:
        mv      s11, ra
        mv      t0, a1
        call    number
        li      t1, 0xd00dfeed
        bne     t6, t1, 9f
        addi    t0, a1, 8
        call    number
        add     s0, a1, t6              # s0: the structure block
        addi    t0, a1, 12
        call    number
        add     s1, a1, t6              # s1: the strings block
next_node:
        li      s2, 0                   # s2: the entry of `board` that this node is for, or 0
        li      s3, 0                   # s3: its reg, or 0
next_token:
        mv      t0, s0
        call    number
        addi    s0, s0, 4
        li      t1, 3                   # FDT_PROP
        beq     t6, t1, property
        li      t1, 4                   # FDT_NOP
        beq     t6, t1, next_token
        mv      s4, t6
        bnez    s2, keep                # a node's properties come before its children
kept:   li      t1, 2                   # FDT_END_NODE
        beq     s4, t1, next_node
        li      t1, 1                   # FDT_BEGIN_NODE
        bne     s4, t1, 9f              # FDT_END
1:      lbu     t1, 0(s0)               # over the name
        addi    s0, s0, 1
        bnez    t1, 1b
        call    align
        j       next_node
9:      mv      ra, s11
        ret

property:
        mv      t0, s0
        call    number
        mv      s5, t6                  # s5: the length of the value
        addi    t0, s0, 4
        call    number
        add     s6, s1, t6              # s6: the property's name
        addi    s7, s0, 8               # s7: the value
        add     s0, s7, s5
        call    align
        la      t1, name_reg
        call    same
        bnez    t2, is_reg
        la      t1, name_compatible
        call    same
        bnez    t2, is_kind
        la      t1, name_device_type
        call    same
        beqz    t2, next_token

# One of the strings from s7 up to s7 + s5 may name something wanted.
is_kind:
        add     s5, s7, s5
1:      bgeu    s7, s5, next_token
        mv      s6, s7
        la      s8, wanted
        la      s9, board
2:      mv      t1, s8
        call    same
        beqz    t2, 3f
        mv      s2, s9
3:      lbu     t1, 0(s8)               # to the next string of `wanted`
        addi    s8, s8, 1
        bnez    t1, 3b
        addi    s9, s9, 16
        lbu     t1, 0(s8)
        bnez    t1, 2b
4:      lbu     t1, 0(s7)               # to the next string of the value
        addi    s7, s7, 1
        bnez    t1, 4b
        j       1b
is_reg:
        mv      s3, s7
        j       next_token

# Keep reg: a bit for a hart, address and size for anything else. The cells are as many as on every
# such board: one for a hart's number, two for an address, two for a size.
keep:
        beqz    s3, kept
        mv      t0, s3
        call    number
        la      t1, board_harts
        beq     s2, t1, keep_hart
        slli    t3, t6, 32
        addi    t0, s3, 4
        call    number
        or      t3, t3, t6
        sd      t3, 0(s2)
        addi    t0, s3, 8
        call    number
        slli    t3, t6, 32
        addi    t0, s3, 12
        call    number
        or      t3, t3, t6
        sd      t3, 8(s2)
        j       kept
keep_hart:
        li      t1, HARTS
        bgeu    t6, t1, kept
        li      t1, 1
        sll     t1, t1, t6
        ld      t3, 0(s2)
        or      t3, t3, t1
        sd      t3, 0(s2)
        j       kept

# t6 = the 32-bit number at t0.
number:
        lbu     t6, 0(t0)
        slli    t6, t6, 8
        lbu     t5, 1(t0)
        or      t6, t6, t5
        slli    t6, t6, 8
        lbu     t5, 2(t0)
        or      t6, t6, t5
        slli    t6, t6, 8
        lbu     t5, 3(t0)
        or      t6, t6, t5
        ret

# s0 up to the next multiple of four.
align:
        addi    s0, s0, 3
        andi    s0, s0, -4
        ret

# t2 = whether the strings at t1 and s6 are the same.
same:
        mv      t3, s6
1:      lbu     t4, 0(t1)
        lbu     t5, 0(t3)
        li      t2, 0
        bne     t4, t5, 2f
        addi    t1, t1, 1
        addi    t3, t3, 1
        bnez    t4, 1b
        li      t2, 1
2:      ret

# make_blocks: every hart's block says where its registers of the CLINT are, and that it is stopped.
        .globl  make_blocks
make_blocks:
        la      t0, blocks
        la      t1, board
        ld      t1, 0(t1)               # msip of hart 0
        li      t2, 0x4000
        add     t2, t2, t1              # mtimecmp of hart 0
        li      t3, HARTS
        li      t4, STOPPED
1:      sd      t4, STATE(t0)
        sd      t1, MSIP(t0)
        sd      t2, MTIMECMP(t0)
        addi    t0, t0, BLOCK
        addi    t1, t1, 4
        addi    t2, t2, 8
        addi    t3, t3, -1
        bnez    t3, 1b
        ret

        .section .rodata
name_reg:
        .asciz  "reg"
name_compatible:
        .asciz  "compatible"
name_device_type:
        .asciz  "device_type"
wanted:                                 # in the order of the entries of `board`
        .asciz  "riscv,clint0"
        .asciz  "ns16550a"
        .asciz  "sifive,test0"
        .asciz  "memory"
        .asciz  "cpu"
        .byte   0

        .section .bss
        .balign 8
        .globl  board, board_uart, board_finisher, board_memory, board_harts, blocks
board:                                  # address and size of each
board_clint:
        .zero   16
board_uart:
        .zero   16
board_finisher:
        .zero   16
board_memory:
        .zero   16
board_harts:                            # bit h: there is a hart h
        .zero   16
blocks:
        .zero   1024
