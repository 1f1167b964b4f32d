# Traps of supervisor mode, and the guarded call that survives them.
#
# The kernel polls and never enables interrupts, so what arrives here is a fault. The whole register
# file goes into a frame on a stack of its own (the kernel's may be what faulted) in the layout of
# `Frame` in kernel_src/trap.kern; `kern_trap` reads it, may edit it, and the frame is loaded back.

        .section .text
        .globl  trap_vector
        .balign 4
trap_vector:
        csrrw   sp, sscratch, sp
        addi    sp, sp, -544
        sd      ra, 8(sp)
        sd      gp, 24(sp)
        sd      tp, 32(sp)
        sd      t0, 40(sp)
        sd      t1, 48(sp)
        sd      t2, 56(sp)
        sd      s0, 64(sp)
        sd      s1, 72(sp)
        sd      a0, 80(sp)
        sd      a1, 88(sp)
        sd      a2, 96(sp)
        sd      a3, 104(sp)
        sd      a4, 112(sp)
        sd      a5, 120(sp)
        sd      a6, 128(sp)
        sd      a7, 136(sp)
        sd      s2, 144(sp)
        sd      s3, 152(sp)
        sd      s4, 160(sp)
        sd      s5, 168(sp)
        sd      s6, 176(sp)
        sd      s7, 184(sp)
        sd      s8, 192(sp)
        sd      s9, 200(sp)
        sd      s10, 208(sp)
        sd      s11, 216(sp)
        sd      t3, 224(sp)
        sd      t4, 232(sp)
        sd      t5, 240(sp)
        sd      t6, 248(sp)
        csrr    t0, sscratch            # the interrupted stack pointer
        sd      t0, 16(sp)
        csrr    t0, sepc
        sd      t0, 256(sp)
        csrr    t0, scause
        sd      t0, 264(sp)
        csrr    t0, stval
        sd      t0, 272(sp)
        csrr    t0, sstatus
        sd      t0, 280(sp)
        fsd     ft0, 288(sp)
        fsd     ft1, 296(sp)
        fsd     ft2, 304(sp)
        fsd     ft3, 312(sp)
        fsd     ft4, 320(sp)
        fsd     ft5, 328(sp)
        fsd     ft6, 336(sp)
        fsd     ft7, 344(sp)
        fsd     fs0, 352(sp)
        fsd     fs1, 360(sp)
        fsd     fa0, 368(sp)
        fsd     fa1, 376(sp)
        fsd     fa2, 384(sp)
        fsd     fa3, 392(sp)
        fsd     fa4, 400(sp)
        fsd     fa5, 408(sp)
        fsd     fa6, 416(sp)
        fsd     fa7, 424(sp)
        fsd     fs2, 432(sp)
        fsd     fs3, 440(sp)
        fsd     fs4, 448(sp)
        fsd     fs5, 456(sp)
        fsd     fs6, 464(sp)
        fsd     fs7, 472(sp)
        fsd     fs8, 480(sp)
        fsd     fs9, 488(sp)
        fsd     fs10, 496(sp)
        fsd     fs11, 504(sp)
        fsd     ft8, 512(sp)
        fsd     ft9, 520(sp)
        fsd     ft10, 528(sp)
        fsd     ft11, 536(sp)
        mv      a0, sp
        call    kern_trap               # kern_trap(frame)
        fld     ft0, 288(sp)
        fld     ft1, 296(sp)
        fld     ft2, 304(sp)
        fld     ft3, 312(sp)
        fld     ft4, 320(sp)
        fld     ft5, 328(sp)
        fld     ft6, 336(sp)
        fld     ft7, 344(sp)
        fld     fs0, 352(sp)
        fld     fs1, 360(sp)
        fld     fa0, 368(sp)
        fld     fa1, 376(sp)
        fld     fa2, 384(sp)
        fld     fa3, 392(sp)
        fld     fa4, 400(sp)
        fld     fa5, 408(sp)
        fld     fa6, 416(sp)
        fld     fa7, 424(sp)
        fld     fs2, 432(sp)
        fld     fs3, 440(sp)
        fld     fs4, 448(sp)
        fld     fs5, 456(sp)
        fld     fs6, 464(sp)
        fld     fs7, 472(sp)
        fld     fs8, 480(sp)
        fld     fs9, 488(sp)
        fld     fs10, 496(sp)
        fld     fs11, 504(sp)
        fld     ft8, 512(sp)
        fld     ft9, 520(sp)
        fld     ft10, 528(sp)
        fld     ft11, 536(sp)
        ld      t0, 280(sp)
        csrw    sstatus, t0
        ld      t0, 256(sp)
        csrw    sepc, t0
        ld      t0, 16(sp)
        csrw    sscratch, t0
        ld      ra, 8(sp)
        ld      gp, 24(sp)
        ld      tp, 32(sp)
        ld      t0, 40(sp)
        ld      t1, 48(sp)
        ld      t2, 56(sp)
        ld      s0, 64(sp)
        ld      s1, 72(sp)
        ld      a0, 80(sp)
        ld      a1, 88(sp)
        ld      a2, 96(sp)
        ld      a3, 104(sp)
        ld      a4, 112(sp)
        ld      a5, 120(sp)
        ld      a6, 128(sp)
        ld      a7, 136(sp)
        ld      s2, 144(sp)
        ld      s3, 152(sp)
        ld      s4, 160(sp)
        ld      s5, 168(sp)
        ld      s6, 176(sp)
        ld      s7, 184(sp)
        ld      s8, 192(sp)
        ld      s9, 200(sp)
        ld      s10, 208(sp)
        ld      s11, 216(sp)
        ld      t3, 224(sp)
        ld      t4, 232(sp)
        ld      t5, 240(sp)
        ld      t6, 248(sp)
        addi    sp, sp, 544
        csrrw   sp, sscratch, sp
        sret

# guarded_call(function, argument) -> what the function returns, or the argument of guarded_abort.
# It keeps all that a call must preserve, so that guarded_abort can come back here from any depth:
# a model that makes the kernel panic or fault costs its inference, not the machine.
        .globl  guarded_call
guarded_call:
        addi    sp, sp, -224
        sd      ra, 0(sp)
        sd      s0, 8(sp)
        sd      s1, 16(sp)
        sd      s2, 24(sp)
        sd      s3, 32(sp)
        sd      s4, 40(sp)
        sd      s5, 48(sp)
        sd      s6, 56(sp)
        sd      s7, 64(sp)
        sd      s8, 72(sp)
        sd      s9, 80(sp)
        sd      s10, 88(sp)
        sd      s11, 96(sp)
        fsd     fs0, 104(sp)
        fsd     fs1, 112(sp)
        fsd     fs2, 120(sp)
        fsd     fs3, 128(sp)
        fsd     fs4, 136(sp)
        fsd     fs5, 144(sp)
        fsd     fs6, 152(sp)
        fsd     fs7, 160(sp)
        fsd     fs8, 168(sp)
        fsd     fs9, 176(sp)
        fsd     fs10, 184(sp)
        fsd     fs11, 192(sp)
        la      t0, guard_frame
        ld      t1, 0(t0)               # guards nest: the outer one is kept
        sd      t1, 200(sp)
        sd      sp, 0(t0)
        mv      t1, a0
        mv      a0, a1
        jalr    ra, 0(t1)
leave_guard:
        ld      t1, 200(sp)
        la      t0, guard_frame
        sd      t1, 0(t0)
        ld      ra, 0(sp)
        ld      s0, 8(sp)
        ld      s1, 16(sp)
        ld      s2, 24(sp)
        ld      s3, 32(sp)
        ld      s4, 40(sp)
        ld      s5, 48(sp)
        ld      s6, 56(sp)
        ld      s7, 64(sp)
        ld      s8, 72(sp)
        ld      s9, 80(sp)
        ld      s10, 88(sp)
        ld      s11, 96(sp)
        fld     fs0, 104(sp)
        fld     fs1, 112(sp)
        fld     fs2, 120(sp)
        fld     fs3, 128(sp)
        fld     fs4, 136(sp)
        fld     fs5, 144(sp)
        fld     fs6, 152(sp)
        fld     fs7, 160(sp)
        fld     fs8, 168(sp)
        fld     fs9, 176(sp)
        fld     fs10, 184(sp)
        fld     fs11, 192(sp)
        addi    sp, sp, 224
        ret

# guarded_abort(code): makes the innermost guarded_call return `code`.
        .globl  guarded_abort
guarded_abort:
        la      t0, guard_frame
        ld      sp, 0(t0)
        j       leave_guard

# guard_armed() -> not 0 inside a guarded call.
        .globl  guard_armed
guard_armed:
        la      t0, guard_frame
        ld      a0, 0(t0)
        ret

# abort_address() -> where a trap frame must continue to abort the guarded call.
        .globl  abort_address
abort_address:
        la      a0, guarded_abort
        ret

        .section .bss
        .balign 8
guard_frame:
        .zero   8
