"""The GPU: AQL queues, copy engines and compute units behind PCIe.

Read `registers` for what a driver sees, `packets`, `signals` and `queues` for what lies in memory,
`processor` for what happens with it, `compute`, `links` and `copies` for how it shares what there
is, `timing` for how long it takes, `dispatch` for what an engine that executes kernels gets, and
`device` for how all that is one PCIe function.
"""

from emu.devices.gpu.device import Gpu
from emu.devices.gpu.engines import default_engine
from emu.devices.gpu.links import Fabric

__all__ = ["Fabric", "Gpu", "default_engine"]
