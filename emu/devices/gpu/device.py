"""The GPU as a PCIe function: its registers, its memory, its interrupts.

What the registers mean is in `registers`; what they set going is in `processor`. This file joins
the two, and holds what a snapshot must: `work` is plain data, and everything that is to happen is
an event of this device.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emu.devices.device import on_read, on_write, register, register_array
from emu.devices.gpu.compute import ComputeUnits as Units
from emu.devices.gpu.dispatch import Engine
from emu.devices.gpu.jobs import Work
from emu.devices.gpu.links import Fabric, Link
from emu.devices.gpu.processor import Processor
from emu.devices.gpu.queues import QueueError
from emu.devices.gpu.registers import (
    BAR_BYTES,
    QUEUES,
    AgentArgument,
    AgentDone,
    AgentReturn,
    AgentStatus,
    ClockMhz,
    ComputeUnits,
    Control,
    CopiedBytes,
    Dispatches,
    Doorbell,
    EventId,
    FaultAddress,
    FaultCode,
    FaultCount,
    FaultLane,
    FaultPc,
    FaultQueue,
    FaultWorkgroup,
    InterruptEnable,
    InterruptStatus,
    Magic,
    QueueAddress,
    QueueControl,
    QueueCount,
    QueueRead,
    QueueStatus,
    Version,
    VramSize,
    WarpInstructions,
    Watchdog,
)
from emu.devices.gpu.timing import Timing
from emu.devices.memory import DeviceMemory
from emu.devices.pcie import PciFunction
from emu.devices.system import System

if TYPE_CHECKING:
    from emu.board import GpuBoard

VRAM_BAR = 2
_ONES_32 = 0xFFFF_FFFF


class Gpu(PciFunction, prefix="GPU"):
    """A GPU with memory, queues, compute units and copy engines. The figures come from the
    board; `fabric` knows its fellows, `engine` executes kernels."""

    IDENTITY = (0x1DE5, 0x0001, 0x030200, 0)
    BAR_SIZE = BAR_BYTES
    MSIX_VECTORS = 3
    state = ("work", "links_free")

    magic = register(Magic)
    version = register(Version)
    vram_size = register(VramSize)
    compute_units = register(ComputeUnits)
    clock_mhz = register(ClockMhz)
    queue_count = register(QueueCount)
    control = register(Control)
    interrupt_status = register(InterruptStatus)
    interrupt_enable = register(InterruptEnable)
    event_id = register(EventId)
    watchdog = register(Watchdog)
    dispatches = register(Dispatches)
    warp_instructions = register(WarpInstructions)
    copied_bytes = register(CopiedBytes)
    fault_code = register(FaultCode)
    fault_queue = register(FaultQueue)
    fault_address = register(FaultAddress)
    fault_pc = register(FaultPc)
    fault_workgroup = register_array(FaultWorkgroup)
    fault_lane = register(FaultLane)
    fault_count = register(FaultCount)
    agent_status = register(AgentStatus)
    agent_done = register(AgentDone)
    agent_return = register(AgentReturn)
    agent_argument = register_array(AgentArgument)
    queue_address = register_array(QueueAddress)
    queue_control = register_array(QueueControl)
    queue_status = register_array(QueueStatus)
    queue_read = register_array(QueueRead)
    doorbell = register_array(Doorbell)

    def __init__(
        self, name: str, system: System, board: GpuBoard, fabric: Fabric, engine: Engine
    ) -> None:
        super().__init__(name, system)
        self._board, self.fabric, self.engine = board, fabric, engine
        self.timing = Timing(board)
        self.vram = DeviceMemory(f"{name}.vram", board.vram)
        self.add_bar(VRAM_BAR, max(4096, 1 << (board.vram - 1).bit_length()), self.vram)
        self.work = Work(Units(board.compute_units))
        self.links_free: dict[Link, int] = dict.fromkeys(Link, 0)
        self.processor = Processor(self)
        fabric.join(self)
        self._identify()

    def _identify(self) -> None:
        board = self._board
        self.vram_size.value, self.clock_mhz.value = board.vram, board.clock_mhz
        self.compute_units.value, self.watchdog.value = board.compute_units, board.watchdog

    # --- what the fabric and the processor ask --------------------------------------------------

    def note(self, what: str, **fields: int | str) -> None:
        """Write to the trace, if there is one."""
        if self.system.trace is not None:
            self.system.trace.event(self.name, what, **fields)

    def holds(self, address: int) -> bool:
        """Whether the bus address lies in this GPU's memory now."""
        base = self.vram.base
        return base is not None and base <= address < base + self.vram.size

    def signal_changed(self) -> None:
        """A signal somewhere has changed."""
        self.processor.wake_waiting()

    def look(self, number: int, born: int, at_ps: int) -> None:
        """Event: time to look at a queue."""
        self.processor.look(number, born, at_ps)

    def compute_due(self, planned_ps: int) -> None:
        """Event: a dispatch should be over."""
        self.processor.compute_due(planned_ps)

    def end_piece(self, job: int) -> None:
        """Event: a piece of a transfer has arrived."""
        self.processor.end_piece(job)

    def announce(self, event: int) -> None:
        """A signal with a mailbox was completed."""
        self.event_id.value = event & _ONES_32
        self._interrupt(InterruptStatus.signal.shift)

    def report(
        self,
        queue: int,
        code: int,
        address: int = 0,
        pc: int = 0,
        workgroup: tuple[int, int, int] = (0, 0, 0),
        lane: int = 0,
    ) -> None:
        """Note a fault; the registers keep the first one until they are freed."""
        self.note("fault", queue=queue, code=code, address=address, pc=pc)
        self.fault_count.value = min(self.fault_count.value + 1, _ONES_32)
        if not self.interrupt_status.fault:
            self.fault_code.value, self.fault_queue.value = code & _ONES_32, queue
            self.fault_address.value, self.fault_pc.value = address, pc
            for reg, number in zip(self.fault_workgroup, workgroup, strict=True):
                reg.value = number & _ONES_32
            self.fault_lane.value = lane
        self._interrupt(InterruptStatus.fault.shift)

    def show_call(self) -> None:
        """Put the first waiting agent dispatch into the mailbox, or empty it."""
        self.agent_status.value = 0
        if self.work.calls:
            job = self.work.jobs[self.work.calls[0]]
            assert job.call is not None
            self.agent_status.pending, self.agent_status.queue = 1, job.queue
            self.agent_status.function = job.call.function
            self.agent_return.value = job.call.return_address
            for reg, argument in zip(self.agent_argument, job.call.arguments, strict=True):
                reg.value = argument
            self._interrupt(InterruptStatus.agent.shift)

    # --- interrupts and the registers -----------------------------------------------------------

    def _interrupt(self, number: int) -> None:
        self.interrupt_status.value |= 1 << number
        self.signal(number)
        self._update_interrupt()

    def _update_interrupt(self) -> None:
        self.set_interrupt(bool(self.interrupt_status.value & self.interrupt_enable.value))

    @on_write(interrupt_enable)
    def _enable_interrupts(self, value: int, old: int) -> None:
        self._update_interrupt()

    @on_write(interrupt_status)
    def _clear_interrupts(self, value: int, old: int) -> None:
        if InterruptStatus.fault.of(value):
            self._forget_fault()
        self._update_interrupt()

    def _forget_fault(self) -> None:
        for reg in (
            *(self.fault_code, self.fault_queue, self.fault_address, self.fault_pc),
            *(*self.fault_workgroup, self.fault_lane),
        ):
            reg.reset()

    @on_write(control)
    def _control(self, value: int, old: int) -> None:
        if Control.reset_.of(value):
            self._restart()

    def _restart(self) -> None:
        """Everything but the configuration space and memory as after power-on."""
        for event in self.scheduled():
            event.cancel()
        for reg in self.registers:
            reg.reset()
        made = self.work.made
        self.work = Work(Units(self._board.compute_units), made=made)
        self.links_free = dict.fromkeys(Link, 0)
        self._identify()
        self._update_interrupt()

    def reset(self) -> None:
        """As after power-on; memory keeps what is in it, as RAM does."""
        super().reset()
        self._restart()

    def power_cut(self) -> None:
        """As `reset`, and memory is lost."""
        self.reset()
        self.vram.clear()

    @on_write(agent_done)
    def _answer(self, value: int, old: int) -> None:
        self.processor.answer_call(AgentDone.error.of(value))

    # --- queues ---------------------------------------------------------------------------------

    @on_write(queue_control)
    def _control_queue(self, index: int, value: int, old: int) -> None:
        control, status = self.queue_control[index], self.queue_status[index]
        queue = self.work.queues.get(index)
        if queue is not None:
            queue.priority = control.priority
        if QueueControl.enable.of(old) == control.enable:
            return
        status.value = 0
        if control.enable:
            address = self.queue_address[index].value
            status.error = self.processor.open(index, address, control.priority)
        else:
            self.processor.close(index)

    @on_read(queue_status)
    def _read_status(self, index: int) -> int:
        queue, status = self.work.queues.get(index), self.queue_status[index]
        if queue is not None:
            status.active, status.error = queue.error == QueueError.NONE, queue.error
            status.waiting, status.running = queue.waiting_since >= 0, queue.running
        return status.value

    @on_read(queue_read)
    def _read_index(self, index: int) -> int:
        queue = self.work.queues.get(index)
        return 0 if queue is None else queue.read

    @on_write(doorbell)
    def _ring(self, index: int, value: int, old: int) -> None:
        self.processor.ring(index, value)


assert AgentStatus.queue.limit + 1 >= QUEUES
