"""The reference engine of the GPU's lanes: slow and obvious, the judge of the lifted one.

Read `source` (what an instruction means for a lane), `memory` (what lanes reach), `warp` (which
lanes run), `collective` (what lanes do together), then `reference`, which puts them together.
"""

from emu.devices.gpu.simt.reference import ReferenceEngine

__all__ = ["ReferenceEngine"]
