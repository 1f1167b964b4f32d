"""The GPU's registers, in its BAR 0.

    0x0000  what the device is
    0x0020  control, interrupts, watchdog, counters
    0x0080  the fault registers
    0x0100  the mailbox of agent dispatches
    0x1000  a block of registers for each queue
    0x10000 the doorbells, a page each, so that one can be given to a program by itself

A queue is the 256 bytes of ROCR's `amd_queue_t` in memory; its registers only point there.
"""

from __future__ import annotations

from emu.devices.registers import RO, RW, W1C, W1S, WO, Register, bits

QUEUES = 16
QUEUE_STRIDE, DOORBELL_STRIDE = 0x40, 0x1000
BAR_BYTES = 0x2_0000


class Magic(Register, offset=0x00, size=4):
    """How a driver recognises the register layout."""

    magic = bits[31:0](RO, reset=int.from_bytes(b"AGPU", "little"), doc='"AGPU", little-endian')


class Version(Register, offset=0x04, size=4):
    """Version of the register layout."""

    minor = bits[15:0](RO, reset=1, doc="compatible additions")
    major = bits[31:16](RO, reset=1, doc="incompatible changes")


class VramSize(Register, offset=0x08, size=8):
    """Size of the device memory, which is behind BAR 2."""

    bytes_ = bits[63:0](RO, doc="bytes")


class ComputeUnits(Register, offset=0x10, size=4):
    """How many multiprocessors there are."""

    count_ = bits[31:0](RO, doc="number of compute units")


class ClockMhz(Register, offset=0x14, size=4):
    """Clock of the compute units."""

    mhz = bits[31:0](RO, doc="megahertz")


class QueueCount(Register, offset=0x18, size=4):
    """How many queues there may be at a time."""

    count_ = bits[31:0](RO, reset=QUEUES, doc="queue register blocks and doorbells")


class Control(Register, offset=0x20, size=4):
    """Control of the device as a whole."""

    reset_ = bits[0](
        W1S, doc="end all that is under way, disable all queues, forget faults; at once"
    )
    reserved = bits[31:1]


class InterruptStatus(Register, offset=0x24, size=4):
    """What has happened. Each bit is also the number of an MSI-X vector."""

    signal = bits[0](W1C, doc="a signal with an event mailbox was completed")
    fault = bits[1](W1C, doc="a fault is in the fault registers; clearing frees them")
    agent = bits[2](W1C, doc="an agent dispatch waits in the mailbox")
    reserved = bits[31:3]


class InterruptEnable(Register, offset=0x28, size=4):
    """Which of them raise the INTx interrupt."""

    signal = bits[0](RW, doc="completed signals")
    fault = bits[1](RW, doc="faults")
    agent = bits[2](RW, doc="agent dispatches")
    reserved = bits[31:3]


class EventId(Register, offset=0x2C, size=4):
    """The event id of the signal that was completed last."""

    id = bits[31:0](RO, doc="event id")


class Watchdog(Register, offset=0x30, size=8):
    """How many warp instructions a dispatch may execute before it is ended. The board says what
    it is after a reset."""

    limit = bits[63:0](RW, doc="warp instructions; 0 is taken as 1")


class Dispatches(Register, offset=0x38, size=8):
    """Kernel dispatches since the reset."""

    count_ = bits[63:0](RO, doc="started, those that failed included")


class WarpInstructions(Register, offset=0x40, size=8):
    """What they executed."""

    count_ = bits[63:0](RO, doc="warp instructions since the reset")


class CopiedBytes(Register, offset=0x48, size=8):
    """What the copy engines moved or filled."""

    count_ = bits[63:0](RO, doc="bytes since the reset")


class FaultCode(Register, offset=0x80, size=4):
    """Why the first packet failed since `INTERRUPT_STATUS.fault` was cleared."""

    code = bits[31:0](RO, doc="the negative code that its completion signal got, 0 for none")


class FaultQueue(Register, offset=0x84, size=4):
    """Where that packet was."""

    queue = bits[31:0](RO, doc="number of the queue")


class FaultAddress(Register, offset=0x88, size=8):
    """What it was about."""

    address = bits[63:0](RO, doc="the bad address, or the instruction's bits, or 0")


class FaultPc(Register, offset=0x90, size=8):
    """Where the kernel was."""

    pc = bits[63:0](RO, doc="address of the instruction, 0 when no kernel ran")


class FaultWorkgroup(Register, offset=0x98, size=4, count=3):
    """Which workgroup it was: x, y, z."""

    id = bits[31:0](RO, doc="workgroup id")


class FaultLane(Register, offset=0xA4, size=4):
    """Which work-item of it."""

    id = bits[31:0](RO, doc="number in the workgroup")


class FaultCount(Register, offset=0xA8, size=4):
    """How many packets and queues failed since the reset, the registers' one included."""

    count_ = bits[31:0](RO, doc="faults")


class AgentStatus(Register, offset=0x100, size=4):
    """The agent dispatch in the mailbox."""

    pending = bits[0](RO, doc="there is one")
    function = bits[31:16](RO, doc="its function number")
    queue = bits[7:4](RO, doc="the queue it came by")
    reserved = (bits[3:1], bits[15:8])


class AgentDone(Register, offset=0x104, size=4):
    """Writing says that the dispatch in the mailbox is done; the next one moves in."""

    error = bits[7:0](WO, doc="0, or what the completion signal becomes the negative of")
    reserved = bits[31:8]


class AgentReturn(Register, offset=0x108, size=8):
    """Where its caller wants results."""

    address = bits[63:0](RO, doc="the packet's return address")


class AgentArgument(Register, offset=0x110, size=8, count=4):
    """Its arguments."""

    value_ = bits[63:0](RO, doc="argument")


class QueueAddress(Register, offset=0x1000, size=8, count=QUEUES, stride=QUEUE_STRIDE):
    """Where the queue's `amd_queue_t` is. Looked at when the queue is enabled."""

    address = bits[63:0](RW, doc="bus address, a multiple of 64")


class QueueControl(Register, offset=0x1008, size=4, count=QUEUES, stride=QUEUE_STRIDE):
    """Makes and ends a queue."""

    enable = bits[0](RW, doc="0 to 1: read the queue from memory; to 0: end what is under way")
    priority = bits[5:4](RW, reset=1, doc="0 low, 1 normal, 2 or 3 high: a share of 1, 2, 4")
    reserved = (bits[3:1], bits[31:6])


class QueueStatus(Register, offset=0x100C, size=4, count=QUEUES, stride=QUEUE_STRIDE):
    """How it is doing."""

    active = bits[0](RO, doc="enabled and without an error")
    waiting = bits[1](RO, doc="holds at a packet that is not ready, or whose signals are not")
    error = bits[15:8](RO, doc="why it stopped; enabling it again clears that")
    running = bits[31:16](RO, doc="packets started and not complete")
    reserved = bits[7:2]


class QueueRead(Register, offset=0x1010, size=8, count=QUEUES, stride=QUEUE_STRIDE):
    """How far it is."""

    next_ = bits[63:0](RO, doc="number of the packet that it takes next")


class Doorbell(
    Register, offset=0x1_0000, size=8, count=QUEUES, stride=DOORBELL_STRIDE, side="write"
):
    """Writing the number of a packet says that it is ready, and all before it soon."""

    packet = bits[63:0](WO, doc="number of the packet, counted from 0 since the ring was made")
