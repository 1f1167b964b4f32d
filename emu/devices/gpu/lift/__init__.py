"""The lifted engine of the GPU's lanes: a kernel's RISC-V code as vector code of the host.

A warp's 32 lanes execute the same instruction on 32 values: so an instruction becomes an operation
on vectors, from the same table of semantics as everywhere (`readings`). Files in the order of the
data: `program` (code to basic blocks), `values` and `lanes` (what is known of 32 values, and the
arithmetic on them), `readings`, `floating`, `world` (an instruction on lanes), `analysis` (what is
known where a block begins), `runtime` (the parameter block, slow ways), `memory` and `collective`
(accesses; votes, shuffles, atomics), `writer` (a warp's code), `driver` (the loops around it),
`kernel` (compiled), `engine` (called).
"""

from emu.devices.gpu.lift.engine import LiftedEngine

__all__ = ["LiftedEngine"]
