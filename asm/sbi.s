# The supervisor binary interface (RISC-V SBI specification 2.0): what machine mode does for the
# kernel, and its trap handler.
#
# A call is an `ecall` with a7 = extension, a6 = function, a0 to a5 = arguments; it gives a0 = 0 or
# an error, a1 = a value, and keeps all other registers. Everything is in `extensions`; of the
# legacy ones (section 5) those without masks in virtual memory: they give a0 only.
#
# Every hart has a block, to which mscratch points while it runs something else:
#
#     0-63    registers of whoever was interrupted
#     64      STATE, as hart_get_status gives it
#     72      GO: not 0 when it is to start, at ADDRESS (80) with a1 = OPAQUE (88)
#     96      IPI: not 0 when an interrupt is to be handed down
#     104     two counters of 32 bits: fences REQUESTED of it, and how many of these are DONE
#     112     MTIMECMP, MSIP (120): addresses of its registers of the CLINT

        .equ    BLOCK, 128
        .equ    STATE, 64
        .equ    GO, 72
        .equ    ADDRESS, 80
        .equ    OPAQUE, 88
        .equ    IPI, 96
        .equ    REQUESTED, 104
        .equ    DONE, 108
        .equ    MTIMECMP, 112
        .equ    MSIP, 120
        .equ    STARTED, 0
        .equ    STOPPED, 1
        .equ    START_PENDING, 2
        .equ    SUSPENDED, 4

        .equ    NOT_SUPPORTED, -2
        .equ    INVALID_PARAM, -3
        .equ    ALREADY_AVAILABLE, -6

        .equ    TIME, 0x54494d45

        .section .rodata
        .balign 8
extensions:                             # number, what serves it
        .dword  0x10, base
        .dword  TIME, set_timer
        .dword  0x735049, send_ipi
        .dword  0x52464e43, remote_fence
        .dword  0x48534d, hart_state
        .dword  0x53525354, system_reset
        .dword  0x4442434e, debug_console
        .dword  0, legacy_set_timer
        .dword  1, legacy_putchar
        .dword  2, legacy_getchar
        .dword  3, legacy_clear_ipi
        .dword  8, legacy_shutdown
        .dword  -1, 0

        .section .text
        .balign 4
        .globl  firmware_trap
firmware_trap:
        csrrw   sp, mscratch, sp        # sp: the block of this hart
        sd      t0, 0(sp)
        sd      t1, 8(sp)
        csrr    t0, mcause
        bltz    t0, interrupted
        li      t1, 9                   # ecall from supervisor mode
        bne     t0, t1, lost
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        li      t0, TIME                # the call that is made most often
        beq     a7, t0, set_timer
        sd      t2, 16(sp)
        sd      t3, 24(sp)
        sd      t4, 32(sp)
        sd      t5, 40(sp)
        sd      t6, 48(sp)
        sd      ra, 56(sp)
        mv      t0, a7
        call    find_extension
        beqz    t1, unsupported
        jr      t1

invalid:
        li      a0, INVALID_PARAM
        j       failed
unsupported:
        li      a0, NOT_SUPPORTED
        j       failed
success:
        li      a0, 0
failed:
        li      a1, 0
answer:                                 # a0 and a1 are what the caller gets
        ld      t2, 16(sp)
        ld      t3, 24(sp)
        ld      t4, 32(sp)
        ld      t5, 40(sp)
        ld      t6, 48(sp)
        ld      ra, 56(sp)
leave:
        ld      t0, 0(sp)
        ld      t1, 8(sp)
        csrrw   sp, mscratch, sp
        mret

# t1 = what serves extension t0, 0 if nothing does.
find_extension:
        la      t2, extensions
1:      ld      t3, 0(t2)
        ld      t1, 8(t2)
        beqz    t1, 2f
        addi    t2, t2, 16
        bne     t3, t0, 1b
2:      ret

# --- interrupts -------------------------------------------------------------------------------

interrupted:
        andi    t0, t0, 15
        li      t1, 3
        beq     t0, t1, software
        li      t0, 0x80                # mtimecmp stays in the past: silence it, and hand it down
        csrc    mie, t0
        li      t0, 0x20
        csrs    mip, t0
        j       leave
software:
        ld      t0, MSIP(sp)            # first withdraw, then look: what comes later interrupts anew
        sw      zero, 0(t0)
        fence   iorw, iorw
        addi    t0, sp, IPI
        amoswap.w t1, zero, (t0)
        beqz    t1, 1f
        csrsi   mip, 2                  # SSIP
1:      lw      t0, REQUESTED(sp)
        lw      t1, DONE(sp)
        beq     t0, t1, leave
        fence   rw, rw
        sfence.vma
        fence.i
        sw      t0, DONE(sp)
        j       leave

# --- base: what there is ----------------------------------------------------------------------

base:
        mv      t0, a0
        li      a0, 0
        li      a1, 0x2000000           # 0 get_spec_version: 2.0
        beqz    a6, answer
        li      t1, 1
        li      a1, 0x41496f73          # 1 get_impl_id: "AIos"
        beq     a6, t1, answer
        li      t1, 2
        li      a1, 1                   # 2 get_impl_version
        beq     a6, t1, answer
        li      t1, 3                   # 3 probe_extension
        beq     a6, t1, probe
        li      t1, 4
        csrr    a1, mvendorid
        beq     a6, t1, answer
        li      t1, 5
        csrr    a1, marchid
        beq     a6, t1, answer
        li      t1, 6
        csrr    a1, mimpid
        beq     a6, t1, answer
        j       unsupported
probe:
        call    find_extension
        snez    a1, t1
        j       answer

# --- timer ------------------------------------------------------------------------------------

set_timer:                              # (time); entered with only t0 and t1 saved
        li      a1, 0
        bnez    a6, 1f
        jal     t1, arm
        j       leave
1:      li      a0, NOT_SUPPORTED
        j       leave

legacy_set_timer:
        jal     t1, arm
        j       answer

arm:                                    # set the timer to a0, which becomes 0; returns to t1
        li      t0, 0x20                # withdraw what the last one raised (STIP)
        csrc    mip, t0
        ld      t0, MTIMECMP(sp)
        sd      a0, 0(t0)
        li      t0, 0x80                # MTIE
        csrs    mie, t0
        li      a0, 0
        jr      t1

# --- other harts: interrupts and fences -------------------------------------------------------

# t2 = the harts that (a0 = mask, a1 = its first hart, -1 for all) names; t3 = the first block.
targets:
        la      t0, board_harts
        ld      t0, 0(t0)
        la      t3, blocks
        mv      t2, t0
        addi    t1, a1, 1
        beqz    t1, 1f
        li      t1, 64
        bgeu    a1, t1, invalid
        sll     t2, a0, a1
        srl     t1, t2, a1
        bne     t1, a0, invalid
        or      t1, t2, t0
        bne     t1, t0, invalid         # there is no such hart
1:      ret

send_ipi:                               # (mask, first)
        bnez    a6, unsupported
        call    targets
1:      beqz    t2, success
        andi    t0, t2, 1
        beqz    t0, 2f
        sw      t0, IPI(t3)
        fence   iorw, iorw
        ld      t1, MSIP(t3)
        sw      t0, 0(t1)
2:      srli    t2, t2, 1
        addi    t3, t3, BLOCK
        j       1b

# 0 remote_fence_i(mask, first), 1 remote_sfence_vma(mask, first, start, size), 2 the same with an
# ASID: every one does both fences of everything, and returns when all harts have done them.
remote_fence:
        li      t0, 3
        bgeu    a6, t0, unsupported
        call    targets
        mv      t4, t2
        fence   rw, rw                  # what the caller has changed comes first
1:      beqz    t2, 3f
        andi    t0, t2, 1
        beqz    t0, 2f
        addi    t1, t3, REQUESTED
        amoadd.w zero, t0, (t1)
        fence   iorw, iorw
        ld      t1, MSIP(t3)
        sw      t0, 0(t1)
2:      srli    t2, t2, 1
        addi    t3, t3, BLOCK
        j       1b
3:      la      t3, blocks
4:      beqz    t4, success
        andi    t0, t4, 1
        beqz    t0, 7f
        lw      t0, REQUESTED(t3)       # ours, and perhaps some that came later
5:      lw      t5, REQUESTED(sp)       # meanwhile others may wait for this hart
        fence   rw, rw
        sfence.vma
        fence.i
        sw      t5, DONE(sp)
        lw      t1, DONE(t3)
        subw    t1, t1, t0
        bgez    t1, 7f
        ld      t1, STATE(t3)           # one that has stopped fences when it starts
        beqz    t1, 5b
        addi    t1, t1, -SUSPENDED
        beqz    t1, 5b
7:      srli    t4, t4, 1
        addi    t3, t3, BLOCK
        j       4b

# --- harts: start, stop, sleep ----------------------------------------------------------------

hart_state:
        beqz    a6, hart_start
        li      t0, 1
        beq     a6, t0, hart_stop
        li      t0, 2
        beq     a6, t0, hart_get_status
        li      t0, 3
        beq     a6, t0, hart_suspend
        j       unsupported

# t3 = the block of hart a0, if there is one.
block_of:
        li      t0, 64
        bgeu    a0, t0, invalid
        la      t0, board_harts
        ld      t0, 0(t0)
        srl     t0, t0, a0
        andi    t0, t0, 1
        beqz    t0, invalid
        li      t0, BLOCK
        mul     t0, t0, a0
        la      t3, blocks
        add     t3, t3, t0
        ret

hart_start:                             # (hart, address, opaque)
        call    block_of
        addi    t0, t3, STATE
        li      t1, STOPPED
        li      t4, START_PENDING
1:      lr.d    t2, (t0)                # of several that start it, one is the first
        bne     t2, t1, 2f
        sc.d    t2, t4, (t0)
        bnez    t2, 1b
        sd      a1, ADDRESS(t3)
        sd      a2, OPAQUE(t3)
        fence   rw, rw
        sd      t1, GO(t3)
        fence   iorw, iorw
        ld      t0, MSIP(t3)
        sw      t1, 0(t0)
        j       success
2:      li      a0, ALREADY_AVAILABLE
        j       failed

hart_stop:                              # does not return
        sw      zero, IPI(sp)
        fence   rw, rw
        li      t0, STOPPED
        sd      t0, STATE(sp)
        j       stopped

hart_get_status:                        # (hart)
        call    block_of
        ld      a1, STATE(t3)
        li      a0, 0
        j       answer

hart_suspend:                           # (type, address, opaque)
        li      t0, 0x80000000          # may lose the registers: starts anew at the address
        beqz    a0, 1f
        bne     a0, t0, invalid
1:      li      t0, SUSPENDED
        sd      t0, STATE(sp)
        wfi                             # mie holds what supervisor mode has enabled too
        sd      zero, STATE(sp)         # STARTED
        beqz    a0, success
        csrr    a0, mhartid
        mv      t1, a1
        mv      a1, a2
        mv      t0, sp
        csrr    sp, mscratch
        j       enter_supervisor

# --- the end ----------------------------------------------------------------------------------

system_reset:                           # (type, reason)
        bnez    a6, unsupported
        li      t0, 3
        bgeu    a0, t0, invalid
        li      t1, 0x7777              # 1, 2: cold and warm reboot
        bnez    a0, finish
        li      t1, 0x5555              # 0: shutdown, for no reason
        beqz    a1, finish
        li      t1, 0x13333             # or because of a failure: code 1
finish:
        la      t0, board_finisher
        ld      t0, 0(t0)
        beqz    t0, unsupported
        sw      t1, 0(t0)
        fence   iorw, iorw              # the write must reach the finisher before anything follows
        j       lost
legacy_shutdown:
        li      t1, 0x5555
        j       finish

# --- the console ------------------------------------------------------------------------------

debug_console:
        li      t0, 3
        bgeu    a6, t0, unsupported
        la      t3, board_uart
        ld      t3, 0(t3)
        beqz    t3, unsupported
        li      t0, 2
        beq     a6, t0, write_byte
        bnez    a2, invalid             # (bytes, address, its upper half): must lie in memory
        la      t0, board_memory
        ld      t1, 0(t0)
        ld      t2, 8(t0)
        sub     t1, a1, t1              # how far into memory
        bgeu    t1, t2, invalid
        sub     t2, t2, t1
        bltu    t2, a0, invalid
        mv      t4, a1
        add     t5, a1, a0
        bnez    a6, read_some
1:      bgeu    t4, t5, 2f              # 0 console_write
        lbu     t0, 0(t4)
        call    put
        addi    t4, t4, 1
        j       1b
2:      sub     a1, t4, a1
        li      a0, 0
        j       answer
read_some:                              # 1 console_read: what has come, without waiting
        bgeu    t4, t5, 2b
        call    get
        bltz    t0, 2b
        sb      t0, 0(t4)
        addi    t4, t4, 1
        j       read_some
write_byte:                             # 2 console_write_byte (byte)
        andi    t0, a0, 255
        call    put
        j       success

legacy_putchar:
        la      t3, board_uart
        ld      t3, 0(t3)
        andi    t0, a0, 255
        li      a0, NOT_SUPPORTED
        beqz    t3, answer
        call    put
        li      a0, 0
        j       answer
legacy_getchar:
        la      t3, board_uart
        ld      t3, 0(t3)
        li      a0, NOT_SUPPORTED
        beqz    t3, answer
        call    get
        mv      a0, t0
        j       answer
legacy_clear_ipi:
        csrci   mip, 2                  # SSIP
        li      a0, 0
        j       answer

# put: the byte t0 to the UART at t3, when there is room. get: t0 = a byte from it, or -1.
put:
        lbu     t1, 5(t3)               # line status
        andi    t1, t1, 0x20            # the transmitter is empty
        beqz    t1, put
        sb      t0, 0(t3)
        ret
get:
        lbu     t1, 5(t3)
        andi    t1, t1, 1               # a byte has come
        li      t0, -1
        beqz    t1, 1f
        lbu     t0, 0(t3)
1:      ret
