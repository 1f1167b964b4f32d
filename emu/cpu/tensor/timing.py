"""How long a tensor instruction takes on the virtual clock: a roofline.

An instruction takes the longer of computing and moving its data, plus a fixed start; results are
the host's, *when* they are there is decided here, alike on every host. A board sets the rates as
attributes of the hart; the defaults are those of a small core with one 128-bit matrix unit.
"""

from __future__ import annotations

from emu.cpu.tensor.operands import Hart

FLOPS_PER_NS = 64
BYTES_PER_NS = 16
START_PS = 20_000


def duration(hart: Hart, flops: int, moved: int) -> int:
    """Picoseconds for an instruction that does `flops` operations and moves `moved` bytes."""
    peak = int(getattr(hart, "tensor_flops_per_ns", FLOPS_PER_NS))
    bandwidth = int(getattr(hart, "tensor_bytes_per_ns", BYTES_PER_NS))
    return START_PS + max(flops * 1000 // peak, moved * 1000 // bandwidth)
