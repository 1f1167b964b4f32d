"""Pseudo-instructions: other spellings of instructions (unprivileged specification, chapter 28).

`PSEUDO` maps a name and its number of operands to the instructions meant, `{0}` being the first
operand. `li` depends on its value and is computed. Those that need relocations (`la`, `call`,
`tail`) belong to `toolchain.asm`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

PSEUDO: dict[tuple[str, int], str] = {
    ("nop", 0): "addi x0, x0, 0",
    ("unimp", 0): "csrrw x0, cycle, x0",
    ("pause", 0): "fence w, 0",
    ("fence", 0): "fence iorw, iorw",
    ("sfence.vma", 0): "sfence.vma x0, x0",
    ("sfence.vma", 1): "sfence.vma {0}, x0",
    # values
    ("mv", 2): "addi {0}, {1}, 0",
    ("not", 2): "xori {0}, {1}, -1",
    ("neg", 2): "sub {0}, x0, {1}",
    ("negw", 2): "subw {0}, x0, {1}",
    ("sext.w", 2): "addiw {0}, {1}, 0",
    ("zext.b", 2): "andi {0}, {1}, 255",
    ("zext.w", 2): "add.uw {0}, {1}, x0",
    ("seqz", 2): "sltiu {0}, {1}, 1",
    ("snez", 2): "sltu {0}, x0, {1}",
    ("sltz", 2): "slt {0}, {1}, x0",
    ("sgtz", 2): "slt {0}, x0, {1}",
    # branches and jumps
    ("beqz", 2): "beq {0}, x0, {1}",
    ("bnez", 2): "bne {0}, x0, {1}",
    ("blez", 2): "bge x0, {0}, {1}",
    ("bgez", 2): "bge {0}, x0, {1}",
    ("bltz", 2): "blt {0}, x0, {1}",
    ("bgtz", 2): "blt x0, {0}, {1}",
    ("bgt", 3): "blt {1}, {0}, {2}",
    ("ble", 3): "bge {1}, {0}, {2}",
    ("bgtu", 3): "bltu {1}, {0}, {2}",
    ("bleu", 3): "bgeu {1}, {0}, {2}",
    ("j", 1): "jal x0, {0}",
    ("jal", 1): "jal x1, {0}",
    ("jr", 1): "jalr x0, 0({0})",
    ("jalr", 1): "jalr x1, 0({0})",
    ("jalr", 3): "jalr {0}, {2}({1})",
    ("ret", 0): "jalr x0, 0(x1)",
    # control and status registers
    ("csrr", 2): "csrrs {0}, {1}, x0",
    ("csrw", 2): "csrrw x0, {0}, {1}",
    ("csrs", 2): "csrrs x0, {0}, {1}",
    ("csrc", 2): "csrrc x0, {0}, {1}",
    ("csrwi", 2): "csrrwi x0, {0}, {1}",
    ("csrsi", 2): "csrrsi x0, {0}, {1}",
    ("csrci", 2): "csrrci x0, {0}, {1}",
    ("rdcycle", 1): "csrrs {0}, cycle, x0",
    ("rdtime", 1): "csrrs {0}, time, x0",
    ("rdinstret", 1): "csrrs {0}, instret, x0",
    ("frcsr", 1): "csrrs {0}, fcsr, x0",
    ("fscsr", 1): "csrrw x0, fcsr, {0}",
    ("fscsr", 2): "csrrw {0}, fcsr, {1}",
    ("frrm", 1): "csrrs {0}, frm, x0",
    ("fsrm", 1): "csrrw x0, frm, {0}",
    ("fsrm", 2): "csrrw {0}, frm, {1}",
    ("frflags", 1): "csrrs {0}, fflags, x0",
    ("fsflags", 1): "csrrw x0, fflags, {0}",
    ("fsflags", 2): "csrrw {0}, fflags, {1}",
    # floating point
    **{
        key: text
        for p in "sd"
        for key, text in {
            (f"fmv.{p}", 2): f"fsgnj.{p} {{0}}, {{1}}, {{1}}",
            (f"fneg.{p}", 2): f"fsgnjn.{p} {{0}}, {{1}}, {{1}}",
            (f"fabs.{p}", 2): f"fsgnjx.{p} {{0}}, {{1}}, {{1}}",
            (f"fgt.{p}", 3): f"flt.{p} {{0}}, {{2}}, {{1}}",
            (f"fge.{p}", 3): f"fle.{p} {{0}}, {{2}}, {{1}}",
        }.items()
    },
}


def load_immediate(register: str, value: int) -> list[str]:
    """The shortest sequence of LUI, ADDI(W) and SLLI, built from the top, that makes `value`.

    `value` may be given signed or unsigned, of 64 bits.
    """
    value = (value + (1 << 63)) % (1 << 64) - (1 << 63)
    if -2048 <= value < 2048:
        return [f"addi {register}, x0, {value}"]
    low = (value + 2048) % 4096 - 2048
    if -(1 << 31) <= value < 1 << 31:
        upper = (value - low) >> 12 & 0xFFFFF
        rest = [f"addiw {register}, {register}, {low}"] if low else []
        return [f"lui {register}, {upper:#x}", *rest]
    rest = [f"addi {register}, {register}, {low}"] if low else []
    high = (value - low) >> 12
    zeros = (high & -high).bit_length() - 1
    shift = f"slli {register}, {register}, {12 + zeros}"
    return [*load_immediate(register, high >> zeros), shift, *rest]


def expand(
    mnemonic: str, operands: Sequence[str], evaluate: Callable[[str], int]
) -> list[str] | None:
    """The instructions that a pseudo-instruction stands for, or None if it is not one."""
    if mnemonic == "li" and len(operands) == 2:
        return load_immediate(operands[0], evaluate(operands[1]))
    template = PSEUDO.get((mnemonic, len(operands)))
    return None if template is None else [template.format(*operands)]
