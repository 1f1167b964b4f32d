"""The relocation types (RISC-V ELF psABI, section 8.5) that LLVM, GNU as and our assembler emit."""

from __future__ import annotations

from enum import IntEnum


class R(IntEnum):
    """R_RISCV_* without its prefix (`ABS32` and `ABS64` are R_RISCV_32 and R_RISCV_64)."""

    NONE = 0
    ABS32 = 1
    ABS64 = 2
    BRANCH = 16
    JAL = 17
    CALL = 18
    CALL_PLT = 19
    PCREL_HI20 = 23
    PCREL_LO12_I = 24
    PCREL_LO12_S = 25
    HI20 = 26
    LO12_I = 27
    LO12_S = 28
    ADD8 = 33
    ADD16 = 34
    ADD32 = 35
    ADD64 = 36
    SUB8 = 37
    SUB16 = 38
    SUB32 = 39
    SUB64 = 40
    ALIGN = 43
    RVC_BRANCH = 44
    RVC_JUMP = 45
    RELAX = 51
    SUB6 = 52
    SET6 = 53
    SET8 = 54
    SET16 = 55
    SET32 = 56
    PCREL32 = 57
    SET_ULEB128 = 60
    SUB_ULEB128 = 61

    @property
    def full_name(self) -> str:
        """Its name in the psABI."""
        return "R_RISCV_" + self.name.removeprefix("ABS")
