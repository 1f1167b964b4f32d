"""The registers' names, as the calling convention and the assembler write them.

Each bank is a tuple by number; `NUMBERS` gives the number of any spelling of a bank's registers.
"""

from __future__ import annotations

X_NAMES = (
    "zero", "ra", "sp", "gp", "tp", "t0", "t1", "t2", "s0", "s1",
    "a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7",
    "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11", "t3", "t4", "t5", "t6",
)  # fmt: skip
"""Integer registers."""

F_NAMES = (
    "ft0", "ft1", "ft2", "ft3", "ft4", "ft5", "ft6", "ft7", "fs0", "fs1",
    "fa0", "fa1", "fa2", "fa3", "fa4", "fa5", "fa6", "fa7",
    "fs2", "fs3", "fs4", "fs5", "fs6", "fs7", "fs8", "fs9", "fs10", "fs11",
    "ft8", "ft9", "ft10", "ft11",
)  # fmt: skip
"""Floating-point registers."""

T_NAMES = tuple(f"tr{i}" for i in range(16))
"""Tensor registers."""

NUMBERS: dict[str, dict[str, int]] = {
    "x": {
        **{name: i for i, name in enumerate(X_NAMES)},
        **{f"x{i}": i for i in range(32)},
        "fp": 8,
    },
    "f": {
        **{name: i for i, name in enumerate(F_NAMES)},
        **{f"f{i}": i for i in range(32)},
    },
    "t": {name: i for i, name in enumerate(T_NAMES)},
}
"""Spelling to number, for each bank: `x` integer, `f` floating-point, `t` tensor."""

NAMES: dict[str, tuple[str, ...]] = {"x": X_NAMES, "f": F_NAMES, "t": T_NAMES}
"""Number to preferred spelling, for each bank."""
