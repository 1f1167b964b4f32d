"""The controller: its registers, its life from enabling to power cut, and its parts.

What a doorbell sets going is in `execution`. What the guest can get wrong ends in a status, in an
asynchronous event, or in CSTS.CFS; never in an exception.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.board import NvmeBoard
from emu.devices.device import on_read, on_write, register, register_array
from emu.devices.nvme import prp
from emu.devices.nvme import registers as r
from emu.devices.nvme.admin import Admin
from emu.devices.nvme.buffer import ControllerMemory
from emu.devices.nvme.command import (
    BROADCAST,
    Command,
)
from emu.devices.nvme.events import (
    ERROR,
    INVALID_DOORBELL,
    INVALID_DOORBELL_VALUE,
    SMART,
    TEMPERATURE,
    AsynchronousEvents,
)
from emu.devices.nvme.execution import Execution
from emu.devices.nvme.features import EVENT_CONFIGURATION, VECTORS, Features
from emu.devices.nvme.interrupts import Interrupts
from emu.devices.nvme.io import Io
from emu.devices.nvme.logs import TEMPERATURE_KELVIN, Logs
from emu.devices.nvme.namespace import Namespace
from emu.devices.nvme.pipeline import Pipeline
from emu.devices.nvme.queues import CompletionQueue, SubmissionQueue
from emu.devices.nvme.shadow import ShadowDoorbells
from emu.devices.nvme.status import CommandError, Status
from emu.devices.nvme.timing import Timing
from emu.devices.pcie import PciFunction
from emu.devices.system import System

_UNDER_WAY, _COMPLETE = 1, 2  # values of CSTS.SHST
_TEMPERATURE_EVENTS = 1 << 1  # of the event configuration


class Nvme(PciFunction, prefix="NVME"):
    """An NVMe drive with the given namespaces, as fast as the board says."""

    IDENTITY = (0x1B36, 0x0010, 0x010802, 2)
    BAR_SIZE = 0x4000
    MSIX_VECTORS = VECTORS
    state = (
        *("page", "submission_queues", "completion_queues", "features", "logs", "asynchronous"),
        *("interrupts", "shadow", "timing", "pipeline", "admin_only", "_ready_ps"),
    )

    cap = register(r.Cap)
    vs = register(r.Vs)
    intms = register(r.Intms)
    intmc = register(r.Intmc)
    cc = register(r.Cc)
    csts = register(r.Csts)
    nssr = register(r.Nssr)
    aqa = register(r.Aqa)
    asq = register(r.Asq)
    acq = register(r.Acq)
    cmbloc = register(r.Cmbloc)
    cmbsz = register(r.Cmbsz)
    cmbmsc = register(r.Cmbmsc)
    cmbsts = register(r.Cmbsts)
    sqtdbl = register_array(r.Sqtdbl)
    cqhdbl = register_array(r.Cqhdbl)

    def __init__(
        self, name: str, system: System, namespaces: Sequence[Namespace], board: NvmeBoard
    ) -> None:
        super().__init__(name, system)
        self.namespaces = {namespace.nsid: namespace for namespace in namespaces}
        self.last_nsid = max(self.namespaces)
        self.serial = f"AIOS-{name.upper()}"
        self.timing = Timing(board)
        self._ram = system.bus.memory.bytes
        self._window = 0, 0
        self.buffer = ControllerMemory(self, board.cmb)
        self.page = 4096
        """The memory page size that the guest has chosen, in bytes."""
        self.submission_queues: dict[int, SubmissionQueue] = {}
        self.completion_queues: dict[int, CompletionQueue] = {}
        self.features, self.logs = Features(), Logs()
        self.asynchronous, self.interrupts = AsynchronousEvents(), Interrupts()
        self.shadow = ShadowDoorbells()
        self.admin, self.io = Admin(self), Io(self)
        self.pipeline, self.execution = Pipeline(), Execution(self)
        self.admin_only = False
        """Whether the guest has chosen to do without I/O commands."""
        self._ready_ps: int | None = None

    # --- enabling and disabling -------------------------------------------------------------

    @on_write(cc)
    def _configure(self, value: int, old: int) -> None:
        was_enabled = old & r.Cc.en.mask
        if self.cc.en and not was_enabled:
            self.csts.shst = 0  # only a reset ends a shutdown
            self._ready_ps = self.now_ps + self.timing.enable_ps
            self.at(self._ready_ps, self._enable)
        elif was_enabled and not self.cc.en:
            self._disable()
        if self.cc.shn and not r.Cc.shn.of(old):
            self.csts.shst = _UNDER_WAY
            self.after(self.timing.admin_ps, self._shut_down)

    def _enable(self) -> None:
        """The time to become ready has passed: be it, or fail if the settings are impossible."""
        if self._ready_ps is None or self.now_ps < self._ready_ps:
            return  # disabled since, and perhaps enabled again
        self._ready_ps = None
        self.page = 4096 << self.cc.mps
        self.admin_only = self.cc.css == r.CSS_ADMIN
        misaligned = self.asq.value % self.page or self.acq.value % self.page
        sizes_fit = self.aqa.asqs and self.aqa.acqs
        known = self.cc.css in (r.CSS_NVM, r.CSS_ALL, r.CSS_ADMIN)
        if misaligned or not sizes_fit or not known or self.cc.ams or self.cc.mps > self.cap.mpsmax:
            self.fail()
            return
        acq = CompletionQueue(0, self.acq.value, self.aqa.acqs + 1, interrupts=True)
        self.completion_queues[0] = acq
        self.submission_queues[0] = SubmissionQueue(0, self.asq.value, self.aqa.asqs + 1, cqid=0)
        self.csts.rdy = 1

    def _disable(self) -> None:
        """Controller reset: queues and features go; the admin queue registers and what describes
        the controller memory buffer stay."""
        self._ready_ps = None
        self.pipeline.clear()
        self.submission_queues.clear()
        self.completion_queues.clear()
        self.asynchronous = AsynchronousEvents()
        self.shadow.clear()
        self.features = Features()
        for namespace in self.namespaces.values():
            namespace.cache.enabled = True
        self.csts.value &= r.Csts.nssro.mask
        self.intms.value = self.intmc.value = 0
        self.interrupts.reset(self)

    def _shut_down(self) -> None:
        """The guest has asked for it some time ago: everything is made durable, and what is still
        under way will not be done."""
        if self.csts.shst != _UNDER_WAY:
            return
        try:
            for namespace in self.namespaces.values():
                namespace.flush()
        except CommandError:
            self.fail()
        self.pipeline.clear()
        self.csts.shst = _COMPLETE

    @on_write(nssr)
    def _reset_subsystem(self, value: int, old: int) -> None:
        if value == r.SUBSYSTEM_RESET:
            self._reset_registers()
            self.csts.nssro = 1

    def _reset_registers(self) -> None:
        self._disable()
        for reg in self.registers:
            reg.reset()
        self.buffer.reset()

    def fail(self) -> None:
        """Something happened that only a reset can mend."""
        self.csts.cfs = 1

    def reset(self) -> None:
        """A reset of the function; the drive has power all the time and keeps what it was given."""
        self._disable()
        super().reset()
        self.pipeline.wake_ps, self.pipeline.wakes = None, 0  # they were forgotten with the rest
        self.timing.reset()
        self.buffer.reset()

    def power_cut(self) -> None:
        """The power fails and comes back: what was not flushed is lost, as the write cache and the
        fault plan say, the commands under way were never executed, and the function is as after
        power-on. AiosError when a host file cannot be written."""
        self.logs.power_cycles += 1
        self.logs.unsafe_shutdowns += self.csts.shst != _COMPLETE
        for namespace in self.namespaces.values():
            namespace.power_cut()
        self.reset()
        self.buffer.clear()

    def has_io_queues(self) -> bool:
        """Whether a queue other than the admin queues exists."""
        return len(self.submission_queues) > 1 or len(self.completion_queues) > 1

    # --- doorbells and commands ---------------------------------------------------------------

    def _listening(self) -> bool:
        """Whether doorbells are heard: ready, no fatal status, no shutdown."""
        return self.csts.value & 0b1111 == 1

    def running(self) -> bool:
        """Whether commands are executed: also until a shutdown is complete."""
        return self.csts.value & 0b1011 == 1

    def work(self) -> None:
        """Commands are done now."""
        self.execution.work()

    @on_write(sqtdbl)
    def _ring_tail(self, index: int, value: int, old: int) -> None:
        if not self._listening():
            return
        queue = self.submission_queues.get(index)
        if queue is None:
            self.report(ERROR, INVALID_DOORBELL)
            return
        if index and self.shadow.values is not None:
            accepted = self.shadow.tail(self.view, queue)
        else:
            accepted = queue.accept(value & 0xFFFF)
        if accepted:
            self.execution.fetch(queue)
        else:
            self.report(ERROR, INVALID_DOORBELL_VALUE)

    @on_write(cqhdbl)
    def _ring_head(self, index: int, value: int, old: int) -> None:
        if not self._listening():
            return
        queue = self.completion_queues.get(index)
        if queue is None:
            self.report(ERROR, INVALID_DOORBELL)
            return
        if index and self.shadow.values is not None:
            self.execution.look_at_head(queue)
        elif queue.accept(value & 0xFFFF):
            self.interrupts.consumed(self, queue)
        else:
            self.report(ERROR, INVALID_DOORBELL_VALUE)
        if queue.waiting:
            self.execution.drain(queue)

    # --- asynchronous events ------------------------------------------------------------------

    def report(self, kind: int, info: int) -> None:
        """There is news for the guest."""
        self.asynchronous.add(kind, info)
        self.announce()

    def announce(self) -> None:
        """Answer requests for events that have happened."""
        for cid, result in self.asynchronous.take():
            self.execution.answer_request(cid, result)

    def log_was_read(self, identifier: int) -> None:
        """The guest has read a log page: events that it tells of may come again."""
        self.asynchronous.unmask(identifier)
        self.announce()

    def temperature_is_fine(self) -> bool:
        """Whether the temperature lies between the thresholds."""
        over, under = self.features.thresholds
        return under < TEMPERATURE_KELVIN < over

    def check_temperature(self) -> None:
        """A threshold has changed: report if it is passed now, and the guest wants to know."""
        wanted = self.features.values[EVENT_CONFIGURATION] & _TEMPERATURE_EVENTS
        if wanted and not self.temperature_is_fine():
            self.report(SMART, TEMPERATURE)

    @property
    def commands_under_way(self) -> int:
        """How many commands have been fetched and not executed."""
        return len(self.pipeline.live)

    # --- interrupts -----------------------------------------------------------------------------

    def coalescing_expired(self, vector: int) -> None:
        """The time for which entries of a vector may wait is over."""
        self.interrupts.expired(self, vector)

    def _set_mask(self, mask: int) -> None:
        self.intms.value = self.intmc.value = mask
        self.interrupts.drive(self)

    @on_write(intms)
    def _mask(self, value: int, old: int) -> None:
        self._set_mask(self.intms.value)

    @on_write(intmc)
    def _unmask(self, value: int, old: int) -> None:
        self._set_mask(self.intmc.value)

    @on_read(intmc)
    def _read_mask(self) -> int:
        return self.intms.value

    # --- memory ---------------------------------------------------------------------------------

    def _config_changed(self) -> None:
        super()._config_changed()
        self.open_window()

    def open_window(self) -> None:
        """Find out anew whether RAM may be reached without asking `dma` each time: the guest has
        made the function bus master, and no address in commands means the buffer."""
        ram = self.system.bus.memory
        may = self.config.command.master and self.buffer.start is None
        self._window = (ram.base, ram.end) if may else (0, 0)

    def view(self, address: int, n: int) -> memoryview | None:
        """The `n` bytes at an address in a command or a register, or None."""
        first, end = self._window
        if first <= address and address + n <= end:
            return self._ram[address - first : address - first + n]
        if self.buffer.start is not None and self.buffer.holds(address, n):
            return self.buffer.view(address, n)
        return self.dma.view(address, n)

    def data(self, command: Command, n: int) -> list[memoryview]:
        """The `n` bytes of the command's data, where they lie; raises CommandError."""
        return prp.regions(self.view, command.prp1, command.prp2, n, self.page)

    def fetch(self, command: Command, n: int) -> bytes:
        """A copy of the `n` bytes of the command's data; raises CommandError."""
        return b"".join(self.data(command, n))

    def put(self, command: Command, data: bytes) -> None:
        """Return `data` to where the command wants it; raises CommandError."""
        done = 0
        for view in self.data(command, len(data)):
            view[:] = data[done : done + len(view)]
            done += len(view)

    @on_read(cmbloc)
    def _read_buffer_location(self) -> int:
        return self.buffer.location

    @on_read(cmbsz)
    def _read_buffer_size(self) -> int:
        return self.buffer.size_register

    @on_write(cmbmsc)
    def _place_buffer(self, value: int, old: int) -> None:
        self.buffer.place()

    # --- namespaces -----------------------------------------------------------------------------

    def no_namespace(self, nsid: int) -> CommandError:
        """What is wrong with a number that no namespace has: it is free, or all are meant by a
        command that is for one (both could have been right), or it can never be one."""
        sensible = 1 <= nsid <= self.last_nsid or nsid == BROADCAST
        return CommandError(Status.INVALID_FIELD if sensible else Status.INVALID_NAMESPACE)

    def namespaces_of(self, nsid: int) -> list[Namespace]:
        """The namespaces that a log page is about; raises CommandError."""
        if nsid in (0, BROADCAST):
            return list(self.namespaces.values())
        if nsid not in self.namespaces:
            raise self.no_namespace(nsid)
        return [self.namespaces[nsid]]

    def set_write_cache(self, enabled: bool) -> None:
        """Switch the volatile write cache; what it holds when it goes is made durable. Raises
        CommandError."""
        for namespace in self.namespaces.values():
            if not enabled:
                namespace.flush()
            namespace.cache.enabled = enabled

    # --- as a whole -----------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """All but the drive's blocks, which stay in their files."""
        namespaces = {nsid: ns.snapshot() for nsid, ns in self.namespaces.items()}
        return {**super().snapshot(), "namespaces": namespaces}

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave."""
        super().restore(saved)
        for nsid, namespace in self.namespaces.items():
            namespace.restore(saved["namespaces"][nsid])
        self.buffer.place()
