# Reset, and the firmware: the only code that runs in machine mode.
#
# The boot ROM (QEMU's or ours) jumps to _start with a0 = hart number, a1 = device tree. Machine
# mode hands everything it can to supervisor mode and keeps two services, called by `ecall` with a7:
#
#   0  set_timer(a0 = address of mtimecmp, a1 = time)   raises STIP when mtime reaches a1; -1: never
#   8  shutdown(a0 = address of the finisher, a1 = word) writes the word, which ends the machine
#
# The firmware knows no addresses: what it writes to comes with the call, from the device tree.
# _start must be the first instruction of the image, for QEMU jumps to the base of RAM.

        .section .text
        .globl  _start
_start:
        csrw    mie, zero
        csrr    t0, mhartid
        bnez    t0, park                # one hart runs the kernel

        la      t0, __bss_start         # RAM is not zero after the finisher's reset
        la      t1, __bss_end
1:      bgeu    t0, t1, 2f
        sd      zero, 0(t0)
        addi    t0, t0, 8
        j       1b
2:
        la      t0, firmware_stack_top
        csrw    mscratch, t0
        la      t0, firmware_trap
        csrw    mtvec, t0

        li      t0, -1                  # PMP entry 0: all of memory, for supervisor mode too
        csrw    pmpaddr0, t0
        li      t0, 0x1f                # NAPOT, read, write, execute
        csrw    pmpcfg0, t0

        li      t0, -1                  # all exceptions to supervisor mode, but its own ecall
        xori    t0, t0, 0x200
        csrw    medeleg, t0
        li      t0, 0x222               # software, timer and external interrupts of that mode
        csrw    mideleg, t0
        li      t0, 7                   # cycle, time and instret may be read below
        csrw    mcounteren, t0
        csrw    scounteren, t0

        li      t0, 0x1f800             # MPP (12:11), FS (14:13), XS (16:15)
        csrc    mstatus, t0
        li      t0, 0x2800              # to supervisor mode, the FPU initial, tensors off
        csrs    mstatus, t0
        csrw    satp, zero
        la      t0, supervisor_start
        csrw    mepc, t0
        mret

supervisor_start:
        csrw    sie, zero
        la      sp, kernel_stack_top
        la      t0, trap_stack_top      # sscratch holds the trap stack while the kernel runs
        csrw    sscratch, t0
        la      t0, trap_vector
        csrw    stvec, t0
        call    kernel_main             # kernel_main(hart number, device tree)
        call    kern_main               # the statements of main.kern; does not return
park:
        wfi
        j       park

# Machine mode's trap handler: the timer, the two services, and nothing else.
        .balign 4
firmware_trap:
        csrrw   sp, mscratch, sp
        addi    sp, sp, -16
        sd      t0, 0(sp)
        sd      t1, 8(sp)
        csrr    t0, mcause
        bltz    t0, timer_expired
        li      t1, 9                   # ecall from supervisor mode
        bne     t0, t1, park            # a fault of the firmware itself: nobody is left to tell
        csrr    t0, mepc
        addi    t0, t0, 4
        csrw    mepc, t0
        beqz    a7, set_timer
        li      t1, 8
        bne     a7, t1, unknown_service
        sw      a1, 0(a0)
        fence   iorw, iorw              # the write must reach the finisher before anything follows
        j       service_done

set_timer:
        li      t0, 0x20                # withdraw what the last timer raised (STIP)
        csrc    mip, t0
        li      t0, 0x80                # MTIE
        csrc    mie, t0
        sd      a1, 0(a0)
        li      t1, -1
        beq     a1, t1, service_done
        csrs    mie, t0
service_done:
        li      a0, 0
        j       firmware_return
unknown_service:
        li      a0, -2                  # SBI_ERR_NOT_SUPPORTED
        j       firmware_return

timer_expired:
        li      t0, 0x80                # mtimecmp stays in the past: silence it, and hand it down
        csrc    mie, t0
        li      t0, 0x20
        csrs    mip, t0
firmware_return:
        ld      t0, 0(sp)
        ld      t1, 8(sp)
        addi    sp, sp, 16
        csrrw   sp, mscratch, sp
        mret

# Two facts that only the linker and this file know.
        .globl  image_end
image_end:                              # image_end() -> the first address after the image
        la      a0, _end
        ret
        .globl  stack_guard
stack_guard:                            # stack_guard() -> the page below the stack, left unmapped
        la      a0, kernel_stack_guard
        ret

        .section .bss
        .balign 4096
kernel_stack_guard:
        .zero   4096
        .zero   131072
kernel_stack_top:
        .zero   8192
trap_stack_top:
        .zero   512
firmware_stack_top:
        .zero   16
