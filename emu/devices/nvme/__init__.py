"""The NVMe drive (NVM Express base specification 1.4), in the order in which a command meets it:

- `registers` (the BAR) and `controller` (enabling, doorbells, resets, power), `buffer` (the
  controller memory buffer), `shadow` (doorbells in memory);
- `queues`, `command`, `status` (what stands in queue entries), `pipeline` and `execution` (what is
  under way, from a doorbell to a completion), `interrupts`, `events`;
- `admin`, `identify`, `features`, `logs`, `io` (what commands do), `prp` (where their data lies);
- `namespace` (blocks), `cache`, `faults`, `backing` (the host file), `timing` (when commands are
  done), and `drives` (from `--drive` to controllers).
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.devices.nvme.controller import Nvme

__all__ = ["Nvme"]


def __getattr__(name: str) -> Any:
    """The controller, imported with the first drive: machines without any start sooner."""
    if name == "Nvme":
        from emu.devices.nvme.controller import Nvme

        return Nvme
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
