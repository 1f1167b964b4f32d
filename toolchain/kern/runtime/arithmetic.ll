; Routines that LLVM's RISC-V back end may call and that Kern cannot write: 128-bit division,
; shift by shift, and the remainder of floats.

define internal { i128, i128 } @kern.udivmod(i128 %n, i128 %d) nounwind {
entry:
  br label %loop
loop:
  %i = phi i32 [ 127, %entry ], [ %next, %loop ]
  %q = phi i128 [ 0, %entry ], [ %q2, %loop ]
  %r = phi i128 [ 0, %entry ], [ %r2, %loop ]
  %wide = zext i32 %i to i128
  %down = lshr i128 %n, %wide
  %bit = and i128 %down, 1
  %up = shl i128 %r, 1
  %r1 = or i128 %up, %bit
  %top = icmp slt i128 %r, 0
  %ge = icmp uge i128 %r1, %d
  %fits = or i1 %top, %ge
  %less = sub i128 %r1, %d
  %r2 = select i1 %fits, i128 %less, i128 %r1
  %one = zext i1 %fits to i128
  %q1 = shl i128 %q, 1
  %q2 = or i128 %q1, %one
  %next = sub i32 %i, 1
  %done = icmp eq i32 %i, 0
  br i1 %done, label %out, label %loop
out:
  %a = insertvalue { i128, i128 } poison, i128 %q2, 0
  %b = insertvalue { i128, i128 } %a, i128 %r2, 1
  ret { i128, i128 } %b
}

define i128 @__udivti3(i128 %n, i128 %d) nounwind {
  %both = call { i128, i128 } @kern.udivmod(i128 %n, i128 %d)
  %q = extractvalue { i128, i128 } %both, 0
  ret i128 %q
}

define i128 @__umodti3(i128 %n, i128 %d) nounwind {
  %both = call { i128, i128 } @kern.udivmod(i128 %n, i128 %d)
  %r = extractvalue { i128, i128 } %both, 1
  ret i128 %r
}

define i128 @__divti3(i128 %n, i128 %d) nounwind {
  %an = call i128 @llvm.abs.i128(i128 %n, i1 false)
  %ad = call i128 @llvm.abs.i128(i128 %d, i1 false)
  %q = call i128 @__udivti3(i128 %an, i128 %ad)
  %signs = xor i128 %n, %d
  %negative = icmp slt i128 %signs, 0
  %minus = sub i128 0, %q
  %result = select i1 %negative, i128 %minus, i128 %q
  ret i128 %result
}

define i128 @__modti3(i128 %n, i128 %d) nounwind {
  %an = call i128 @llvm.abs.i128(i128 %n, i1 false)
  %ad = call i128 @llvm.abs.i128(i128 %d, i1 false)
  %r = call i128 @__umodti3(i128 %an, i128 %ad)
  %negative = icmp slt i128 %n, 0
  %minus = sub i128 0, %r
  %result = select i1 %negative, i128 %minus, i128 %r
  ret i128 %result
}
