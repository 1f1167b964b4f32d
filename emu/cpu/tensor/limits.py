"""How much one tensor instruction may ask of the host: enough for any model, never hours.

An instruction is indivisible, so a guest that multiplies two zero-stride tensors of 2**31 rows
would hold the machine for days. Such an instruction is refused before it changes anything (`Cause.
LIMIT`); software splits it. The limits depend on the operands only, so that a program is refused on
every host or on none.
"""

from __future__ import annotations

from emu.cpu.tensor.faults import Cause, Operand, TensorFault

OPERATIONS = 1 << 40
"""Arithmetic operations: a matrix product of 8192 cubed, seconds to minutes of the host."""
START = 1 << 18
"""Operations that starting a matrix product, or a convolution's row, counts as."""
SCRATCH_BYTES = 1 << 31
"""Host memory for packed, converted and copied operands together."""
PHASES = 1 << 12
"""Convolutions that a transposed convolution with overlapping windows may be made of: one for each
position within a stride."""
STEPS = 1 << 16
"""Mappings walked for one operand, forbidden pages in its holes and places looked at in search of
an element on those included: 256 MiB in pages of 4 KiB, 64 TiB in pages of 1 GiB."""


def limit_operations(operations: int, starts: int = 0) -> None:
    """Refuse an instruction of more `operations`, in `starts` separate pieces, than is allowed."""
    if operations + starts * START > OPERATIONS:
        raise TensorFault(Cause.LIMIT, Operand.DESTINATION)


class Steps:
    """What is left of `STEPS` for one operand."""

    def __init__(self, address: int) -> None:
        self._left, self._address = STEPS, address

    def take(self) -> None:
        """One step more; raises TensorFault when none is left."""
        self._left -= 1
        if self._left < 0:
            raise TensorFault(Cause.LIMIT, Operand.DESTINATION, self._address)
