"""How a tensor instruction says no: causes and operand numbers, as the guest reads them in CSRs.

Checks raise `TensorFault`; `execute` turns it into the tensor exception, with `tcause` and
`toperand` set. Page and access faults are ordinary traps and do not pass through here.
"""

from __future__ import annotations

from enum import IntEnum

TENSOR_EXCEPTION = 24
"""The exception's number in mcause: the first that the privileged specification leaves to us."""


class Cause(IntEnum):
    """The values of the CSR `tcause`."""

    DTYPE = 1
    RANK = 2
    SHAPE = 3
    ATTRIBUTE = 4
    ALIGNMENT = 5
    OFF = 6
    DESCRIPTOR = 7
    INDEX = 8
    LIMIT = 9
    """More work, scratch memory or mappings than one instruction may ask for: `limits.py`."""


class Operand(IntEnum):
    """The values of the CSR `toperand`."""

    DESTINATION = 0
    FIRST = 1
    SECOND = 2
    ATTRIBUTE = 3
    BIAS = 4
    """The first of the extra operands, which the attribute block names."""
    EXTRA1 = 5
    EXTRA2 = 6
    EXTRA3 = 7
    EXTRA4 = 8
    EXTRA5 = 9
    EXTRA6 = 10


class TensorFault(Exception):
    """A check that failed: why, for which operand, and the address at fault (0 for none)."""

    def __init__(self, cause: Cause, operand: Operand, address: int = 0) -> None:
        super().__init__(f"tensor exception: {cause.name} of operand {operand.name}")
        self.cause, self.operand, self.address = cause, operand, address
