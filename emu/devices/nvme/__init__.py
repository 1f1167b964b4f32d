"""The NVMe drive (NVM Express base specification 1.4), in the order in which a command meets it:
`registers` (the BAR), `controller` (enable, doorbells, fetching, completing), `queues`, `command`
and `status` (what stands in queue entries), `admin`, `identify`, `features`, `logs`, `io` (what
commands do), `prp` (where their data lies), `backing` (the host file), `timing` (when they are
done).
"""

from emu.devices.nvme.controller import Nvme

__all__ = ["Nvme"]
