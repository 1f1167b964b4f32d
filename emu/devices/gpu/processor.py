"""The packet processor: takes packets from the queues, starts them, completes them.

One look at a queue handles one packet, then the next look is scheduled; looks of different queues
alternate, so that no queue keeps another from being served. A look ends in one of four ways:

* the packet is taken: its slot becomes INVALID, the read index moves on, and it runs (a kernel, a
  transfer, a call of the host) or is complete already (a barrier whose signals are there);
* it cannot start yet (its barrier bit, or too many under way): a completion causes the next look;
* it is not ready, or its signals are not: `Queue.next_look` says when to look again, and a
  doorbell or a signal that any GPU changes causes a look at once;
* the queue itself is broken: it stops until it is enabled anew.

A bad packet is taken like a good one, its signal gets the error, and the queue goes on.
"""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from emu.clock import PS_PER_NS
from emu.devices.gpu import copies, packets, signals
from emu.devices.gpu.dispatch import BadDispatch, Dispatch, Fault, FaultCode, KernelObject
from emu.devices.gpu.jobs import Job
from emu.devices.gpu.links import reserve
from emu.devices.gpu.packets import (
    AgentDispatch,
    BadPacket,
    Barrier,
    Header,
    KernelDispatch,
    PacketType,
    Transfer,
)
from emu.devices.gpu.queues import (
    QUEUE_FAULT,
    BrokenQueue,
    Feature,
    Queue,
    QueueError,
    open_queue,
)

if TYPE_CHECKING:
    from emu.devices.gpu.device import Gpu

PACKET_PS = 500 * PS_PER_NS
"""From one packet to the next: a read over PCIe. No product's figure."""
RUNNING_MAX = 64
"""Packets of a queue that may be under way."""
_SHARES = (1, 2, 4, 4)  # of the compute units, by priority


class Processor:
    """The packet processor of `gpu`; what it has under way is in `gpu.work`."""

    def __init__(self, gpu: Gpu) -> None:
        self._gpu = gpu

    # --- queues ---------------------------------------------------------------------------------

    def open(self, number: int, address: int, priority: int) -> QueueError:
        """Enable the queue whose `amd_queue_t` is at the address."""
        gpu, work = self._gpu, self._gpu.work
        self.close(number)
        try:
            queue = open_queue(gpu.dma, number, work.number(), address, priority)
        except BrokenQueue as broken:
            gpu.report(number, QUEUE_FAULT, address=address)
            return broken.error
        work.queues[number] = queue
        return QueueError.NONE

    def close(self, number: int) -> None:
        """Disable a queue. What it has under way ends; its signals are not touched any more, since
        their memory may be somebody else's already."""
        work = self._gpu.work
        work.queues.pop(number, None)
        dropped = {job.number for job in work.jobs.values() if job.queue == number}
        for job in dropped:
            del work.jobs[job]
        work.compute.drop(self._gpu.now_ps, dropped)
        work.calls = [call for call in work.calls if call not in dropped]
        self._gpu.show_call()
        self._plan_compute()

    def ring(self, number: int, packet: int) -> None:
        """The doorbell of a queue."""
        queue = self._gpu.work.queues.get(number)
        if queue is None or queue.error:
            return
        idle = queue.read >= queue.rung and not queue.running
        try:
            queue.ring_doorbell(packet)
        except BrokenQueue as broken:
            self._stop(queue, broken.error)
            return
        self._look_in(queue, self._gpu.timing.launch_ps if idle else PACKET_PS)

    def wake_waiting(self) -> None:
        """A signal has changed: look again wherever something is waited for."""
        for number in sorted(self._gpu.work.queues):
            queue = self._gpu.work.queues[number]
            if queue.waiting_since >= 0:
                self._look_in(queue, PACKET_PS)

    def _stop(self, queue: Queue, error: QueueError) -> None:
        queue.error, queue.look_ps, queue.waiting_since = error, -1, -1
        self._gpu.report(queue.number, QUEUE_FAULT, address=queue.address)

    def _look_in(self, queue: Queue, delay_ps: int, *, timer: bool = False) -> None:
        at_ps = self._gpu.now_ps + delay_ps
        if not queue.error and queue.should_look(at_ps):
            self._gpu.at(at_ps, self._gpu.look, queue.number, queue.born, at_ps, timer=timer)

    # --- packets --------------------------------------------------------------------------------

    def look(self, number: int, born: int, at_ps: int) -> None:
        """Look at the next packet of a queue, unless the look was superseded."""
        queue = self._gpu.work.queues.get(number)
        if queue is None or queue.born != born or queue.look_ps != at_ps:
            return
        queue.look_ps = -1
        try:
            if queue.read < queue.rung and self._take(queue, queue.fetch(self._gpu.dma)):
                queue.advance(self._gpu.dma)
                self._look_in(queue, PACKET_PS)
        except BrokenQueue as broken:
            self._stop(queue, broken.error)

    def _take(self, queue: Queue, raw: bytes) -> bool:
        """Start the packet, or find what is wrong with it; whether it is done with."""
        header, completion = raw[0] | raw[1] << 8, 0
        if header & 0xFF == PacketType.INVALID:
            return self._wait(queue)
        if header & 0xFF in packets.PACKET_TYPES:
            completion = int.from_bytes(raw[packets.COMPLETION_AT :], "little")
        try:
            head = Header.parse(header)
            if queue.running >= RUNNING_MAX or (head.barrier and queue.running):
                return False
            packet = packets.parse(raw, head.type)
            if completion and not signals.usable(self._gpu.dma, completion):
                raise BadPacket(f"No signal of a user lies at {completion:#x}.")
            if not self._start(queue, packet):
                return False
            self._gpu.note("packet", queue=queue.number, number=queue.read, type=head.type.name)
        except BadPacket:
            self._fail(queue, completion, Fault(FaultCode.BAD_PACKET))
        except BadDispatch as bad:
            self._fail(queue, completion, Fault(bad.code))
        return True

    def _start(self, queue: Queue, packet: packets.Packet) -> bool:
        """Start a packet that is well-formed. Raises BadPacket and BadDispatch."""
        if isinstance(packet, Barrier):
            return self._pass(queue, packet)
        if isinstance(packet, Transfer):
            self._transfer(queue, packet)
        elif isinstance(packet, AgentDispatch):
            self._call(queue, packet)
        else:
            self._dispatch(queue, packet)
        return True

    def _wait(self, queue: Queue) -> bool:
        delay_ps = queue.next_look(self._gpu.now_ps)
        if delay_ps is not None:
            self._look_in(queue, delay_ps, timer=True)
        return False

    def _pass(self, queue: Queue, barrier: Barrier) -> bool:
        """Complete a barrier packet, or wait. A dependency that failed fails those that need it."""
        dma = self._gpu.dma
        values = [signals.value(dma, s) for s in barrier.signals if signals.usable(dma, s)]
        if len(values) < len(barrier.signals):
            raise BadPacket("A barrier depends on something that is no signal.")
        errors = [v for v in values if v is not None and v < 0]
        ready = 0 in values if barrier.any_of else not any(values)
        hopeless = bool(errors) and (not barrier.any_of or len(errors) == len(values))
        if values and not ready and not hopeless:
            return self._wait(queue)
        error = errors[0] if errors and not ready else 0
        self._signal(barrier.completion, self._gpu.now_ps, error)
        return True

    def _dispatch(self, queue: Queue, packet: KernelDispatch) -> None:
        """Run a kernel now; its time is over, and its signal changes, later."""
        gpu = self._gpu
        dispatch = self._prepare(queue, packet)
        outcome = gpu.engine.run(dispatch, gpu.dma.regions(), max(1, gpu.watchdog.limit))
        counts = outcome.counts
        gpu.dispatches.value += 1
        gpu.warp_instructions.value += counts.warp_instructions
        job = self._begin(queue, packet.completion)
        job.fault = outcome.fault
        groups, share = prod(dispatch.groups), _SHARES[queue.priority]
        work_ps = gpu.timing.dispatch_ps(counts, groups, dispatch.warps)
        gpu.work.compute.start(gpu.now_ps, job.number, work_ps, groups, share)
        self._plan_compute()

    def _prepare(self, queue: Queue, packet: KernelDispatch) -> Dispatch:
        if Feature.KERNEL_DISPATCH not in queue.features:
            raise BadPacket("The queue takes no kernel dispatches.")
        form = self._gpu.dma.read(packet.kernel_object, KernelObject.SIZE)
        if form is None:
            text = f"No kernel object can be read at {packet.kernel_object:#x}."
            raise BadDispatch(FaultCode.BAD_KERNEL, text)
        kernel = KernelObject.parse(form, packet.kernel_object)
        if kernel.kernarg_size and self._gpu.dma.view(packet.kernarg, kernel.kernarg_size) is None:
            raise BadPacket(f"Kernel arguments at {packet.kernarg:#x} cannot be read.")
        sizes = packet.group_bytes, packet.private_bytes
        dispatch = Dispatch(kernel, packet.kernarg, packet.grid, packet.workgroup, *sizes)
        dispatch.check()
        return dispatch

    # --- transfers ------------------------------------------------------------------------------

    def _transfer(self, queue: Queue, transfer: Transfer) -> None:
        if transfer.size and (bad := copies.find_bad_address(self._gpu.dma, transfer)) is not None:
            fault = Fault(FaultCode.DMA_ADDRESS, bad)
            self._fail(queue, transfer.completion, fault)
            return
        job = self._begin(queue, transfer.completion)
        job.transfer = transfer
        if transfer.size:
            self._plan_piece(job, transfer)
        else:
            self._gpu.after(PACKET_PS, self._gpu.end_piece, job.number)

    def _plan_piece(self, job: Job, transfer: Transfer) -> None:
        """Reserve the way for the next piece; it moves when it has arrived."""
        gpu = self._gpu
        piece = copies.piece_at(transfer, job.moved)
        start = transfer.destination if transfer.pattern is not None else transfer.source
        route, way = gpu.fabric.route(gpu, start, transfer.destination)
        before, after = (
            gpu.timing.transfer_ps(copies.weight(transfer, at), route)
            for at in (job.moved, job.moved + piece.size)
        )
        start_ps = gpu.now_ps + (0 if job.moved else gpu.timing.copy_ps(0, route))
        end_ps = reserve(way, start_ps, max(1, after - before))
        gpu.at(end_ps, gpu.end_piece, job.number)

    def end_piece(self, number: int) -> None:
        """A piece has arrived: move it, plan the next, or complete."""
        job = self._gpu.work.jobs.get(number)
        if job is None or job.transfer is None:
            return
        transfer = job.transfer
        if job.moved < transfer.size:
            piece = copies.piece_at(transfer, job.moved)
            if copies.move(self._gpu.dma, transfer, piece):
                job.moved += piece.size
                self._gpu.copied_bytes.value += piece.size
            else:
                address = copies.find_bad_address(self._gpu.dma, transfer)
                job.fault = Fault(FaultCode.DMA_ADDRESS, address or transfer.destination)
        if job.moved < transfer.size and job.fault is None:
            self._plan_piece(job, transfer)
        else:
            self._finish(job)

    # --- calls of the host ----------------------------------------------------------------------

    def _call(self, queue: Queue, call: AgentDispatch) -> None:
        if Feature.AGENT_DISPATCH not in queue.features:
            raise BadPacket("The queue takes no agent dispatches.")
        job = self._begin(queue, call.completion)
        job.call = call
        self._gpu.work.calls.append(job.number)
        if len(self._gpu.work.calls) == 1:
            self._gpu.show_call()

    def answer_call(self, error: int) -> None:
        """The host is done with the call in the mailbox."""
        work = self._gpu.work
        if not work.calls:
            return
        job = work.jobs[work.calls.pop(0)]
        self._finish(job, -error)
        self._gpu.show_call()

    # --- completing -----------------------------------------------------------------------------

    def _begin(self, queue: Queue, completion: int) -> Job:
        work = self._gpu.work
        job = Job(work.number(), queue.number, completion, self._gpu.now_ps)
        work.jobs[job.number] = job
        queue.running += 1
        return job

    def compute_due(self, planned_ps: int) -> None:
        """Complete the dispatches whose time is over, unless the plan has changed since."""
        work = self._gpu.work
        if work.compute.next_end() != planned_ps:
            return
        for number in work.compute.take_finished(self._gpu.now_ps):
            self._finish(work.jobs[number])
        self._plan_compute()

    def _plan_compute(self) -> None:
        end_ps = self._gpu.work.compute.next_end()
        if end_ps is not None:
            self._gpu.at(end_ps, self._gpu.compute_due, end_ps)

    def _finish(self, job: Job, error: int = 0) -> None:
        work = self._gpu.work
        del work.jobs[job.number]
        queue = work.queues[job.queue]
        queue.running -= 1
        if job.fault is not None:
            self._report(queue, job.fault)
            error = job.fault.code
        self._signal(job.completion, job.start_ps, error)
        if queue.read < queue.rung:
            self._look_in(queue, PACKET_PS)

    def _fail(self, queue: Queue, completion: int, fault: Fault) -> None:
        """A packet that did not start."""
        self._report(queue, fault)
        self._signal(completion, self._gpu.now_ps, fault.code)

    def _report(self, queue: Queue, fault: Fault) -> None:
        self._gpu.report(
            *(queue.number, fault.code, fault.address, fault.pc, fault.workgroup, fault.lane)
        )

    def _signal(self, completion: int, start_ps: int, error: int) -> None:
        if completion:
            gpu = self._gpu
            start_ns, end_ns = start_ps // PS_PER_NS, gpu.now_ps // PS_PER_NS
            event = signals.complete(gpu.dma, completion, start_ns, end_ns, error)
            if event is not None:
                gpu.announce(event)
            gpu.fabric.signal_changed()
