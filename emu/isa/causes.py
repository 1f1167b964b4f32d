"""The numbers of privilege modes, exceptions and interrupts (privileged specification, tables 1.1
and 3.6), on which CSRs, traps and translation all agree."""

from __future__ import annotations

from enum import IntEnum

U_MODE, S_MODE, M_MODE = 0, 1, 3


class Cause(IntEnum):
    """Exception codes of mcause and scause."""

    FETCH_MISALIGNED = 0
    FETCH_ACCESS = 1
    ILLEGAL = 2
    BREAKPOINT = 3
    LOAD_MISALIGNED = 4
    LOAD_ACCESS = 5
    STORE_MISALIGNED = 6
    STORE_ACCESS = 7
    ECALL_U = 8
    ECALL_S = 9
    ECALL_M = 11
    FETCH_PAGE = 12
    LOAD_PAGE = 13
    STORE_PAGE = 15
    TENSOR = 24


class Interrupt(IntEnum):
    """Interrupt numbers: bits of mip and mie."""

    SSI = 1
    MSI = 3
    STI = 5
    MTI = 7
    SEI = 9
    MEI = 11


INTERRUPT_BIT = 1 << 63
"""Set in mcause and scause for an interrupt."""

PRIORITY = (
    Interrupt.MEI, Interrupt.MSI, Interrupt.MTI, Interrupt.SEI, Interrupt.SSI, Interrupt.STI,
)  # fmt: skip
"""The order in which simultaneous interrupts to one mode are taken (section 3.1.9)."""
