# Reset: every hart begins here in machine mode, and the first one starts the kernel.
#
# The boot ROM (QEMU's or ours) jumps to _start with a0 = hart number, a1 = device tree. Machine
# mode hands everything it can to supervisor mode and stays behind it as the SBI (asm/sbi.s). Hart 0
# runs the kernel; the others wait in `stopped` until somebody asks the SBI to start them.
# _start must be the first instruction of the image, for QEMU jumps to the base of RAM.

        .equ    HARTS, 8                # as many as the firmware has room for
        .equ    BLOCK, 128              # a hart's block: asm/sbi.s says what is in it
        .equ    STATE, 64
        .equ    GO, 72
        .equ    ADDRESS, 80
        .equ    OPAQUE, 88
        .equ    IPI, 96
        .equ    REQUESTED, 104
        .equ    DONE, 108
        .equ    MSIP, 120

        .section .text
        .globl  _start
_start:
        csrw    mie, zero
        csrr    t0, mhartid
        li      t1, HARTS
        bgeu    t0, t1, lost
        bnez    t0, stopped

        la      t0, __bss_start         # RAM is not zero after the finisher's reset
        la      t1, __bss_end
1:      bgeu    t0, t1, 2f
        sd      zero, 0(t0)
        addi    t0, t0, 8
        j       1b
2:
        call    find_board              # these two keep a0 and a1
        call    make_blocks
        call    prepare
        la      t1, supervisor_start
        j       start

# A hart that runs nothing waits for its software interrupt, and then for a reason to start. Memory
# holds nothing of use to it until hart 0 has sent that.
        .globl  stopped
stopped:
        call    prepare
        csrwi   mie, 8                  # MSIE ends the wait; nothing traps in machine mode
1:      wfi
        csrr    t1, mip
        andi    t1, t1, 8
        beqz    t1, 1b
        fence   rw, rw
        ld      t1, MSIP(t0)
        sw      zero, 0(t1)
        fence   iorw, iorw
        ld      t1, GO(t0)
        beqz    t1, 1b
        sd      zero, GO(t0)
        csrr    a0, mhartid
        ld      a1, OPAQUE(t0)
        ld      t1, ADDRESS(t0)

# Begin in supervisor mode at t1: nothing is pending, nothing enabled. t0 is the hart's block.
start:
        sw      zero, IPI(t0)
        lw      t2, REQUESTED(t0)       # it fences below, so what others have asked for is done
        sw      t2, DONE(t0)
        sd      zero, STATE(t0)         # STARTED
        li      t2, 0x22                # STIP, SSIP
        csrc    mip, t2
        csrwi   mie, 8                  # MSIE: other harts may want something

# To supervisor mode at t1, as the SBI says of a hart that starts or resumes: no translation,
# interrupts disabled. t0 is the hart's block; a0 = hart number.
        .globl  enter_supervisor
enter_supervisor:
        csrw    mscratch, t0
        csrw    mepc, t1
        csrw    satp, zero
        sfence.vma
        fence.i
        li      t0, 0x1f802             # MPP (12:11), FS (14:13), XS (16:15), SIE
        csrc    mstatus, t0
        li      t0, 0x2800              # supervisor mode, the FPU initial, tensors off
        csrs    mstatus, t0
        mret

# The registers of machine mode that never change, and t0 = this hart's block.
prepare:
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
        csrr    t0, mhartid
        li      t1, BLOCK
        mul     t0, t0, t1
        la      t1, blocks
        add     t0, t0, t1
        ret

# What is not meant to happen, a fault of the firmware itself or a hart too many: nobody is left to
# tell.
        .globl  lost
lost:
        csrw    mie, zero
1:      wfi
        j       1b

supervisor_start:
        csrw    sie, zero
        la      sp, kernel_stack_top
        la      t0, trap_stack_top      # sscratch holds the trap stack while the kernel runs
        csrw    sscratch, t0
        la      t0, trap_vector
        csrw    stvec, t0
        call    kernel_main             # kernel_main(hart number, device tree)
        call    kern_main               # the statements of main.kern; does not return
1:      wfi
        j       1b

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
        .zero   16
