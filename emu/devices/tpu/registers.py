"""The TPU's registers: what it is, the ring and its doorbell, completion, errors, counters."""

from __future__ import annotations

from enum import IntEnum

from emu.devices.registers import RO, RW, W1C, WO, Register, bits


class State(IntEnum):
    """The values of the field `state` of STATUS."""

    IDLE = 0
    RUNNING = 1
    WAITING = 2
    HALTED = 3
    FAILED = 4


class Magic(Register, offset=0x00, size=4):
    """How a driver recognises the register layout."""

    magic = bits[31:0](RO, reset=int.from_bytes(b"ATPU", "little"), doc='"ATPU", little-endian')


class Version(Register, offset=0x04, size=4):
    """Version of the register layout."""

    minor = bits[15:0](RO, doc="compatible additions")
    major = bits[31:16](RO, reset=2, doc="incompatible changes")


class ArraySize(Register, offset=0x08, size=4):
    """Shape of the systolic array."""

    columns = bits[15:0](RO, doc="columns of multiply-accumulate cells")
    rows = bits[31:16](RO, doc="rows of multiply-accumulate cells")


class ClockMhz(Register, offset=0x0C, size=4):
    """Clock of the array."""

    mhz = bits[31:0](RO, doc="megahertz")


class BufferSize(Register, offset=0x10, size=8):
    """Size of the unified buffer. A row has as many bytes as the longer side of the array."""

    bytes_ = bits[63:0](RO, doc="bytes")


class WeightSize(Register, offset=0x18, size=8):
    """Size of the weight memory, which lies behind BAR 2."""

    bytes_ = bits[63:0](RO, doc="bytes")


class Accumulators(Register, offset=0x20, size=4):
    """The accumulators."""

    rows = bits[31:0](RO, doc="rows, each with 32 bits for every column of the array")


class Fifo(Register, offset=0x24, size=4):
    """The weight FIFO."""

    tiles = bits[31:0](RO, doc="tiles of 8-bit weights that it holds")


class Control(Register, offset=0x28, size=4):
    """What the driver wants."""

    interrupt = bits[0](RW, doc="raise INTx while STATUS has an event")
    reset_ = bits[1](WO, doc="1: stop at once, as after power-on; memories keep what they hold")
    clear = bits[2](WO, doc="1: all counters become 0")
    reserved = bits[31:3]


class Status(Register, offset=0x2C, size=4):
    """What the TPU does, and what has happened."""

    state = bits[2:0](RO, doc="0 idle, 1 running, 2 waiting for the host, 3 halted, 4 failed")
    done = bits[8](W1C, doc="an `interrupt` was executed (MSI-X vector 0)")
    failed = bits[9](W1C, doc="a program failed (MSI-X vector 1)")
    reserved = bits[7:3], bits[31:10]


class RingBase(Register, offset=0x30, size=8):
    """Where the ring of instructions lies."""

    address = bits[63:0](RW, doc="bus address")


class RingEntries(Register, offset=0x38, size=4):
    """Size of the ring. Writing it makes HEAD and TAIL 0; an error while the TPU runs."""

    entries = bits[16:0](RW, doc="instructions of 12 bytes, up to 65536")
    reserved = bits[31:17]


class Tail(Register, offset=0x3C, size=4):
    """The doorbell: instructions from HEAD up to this entry may be executed."""

    entry = bits[31:0](RW, doc="the first entry that may not; below the ring's size")


class Head(Register, offset=0x40, size=4):
    """How far the TPU is; after an error, at the instruction that failed."""

    entry = bits[31:0](RO, doc="the entry that is executed next")


class Completed(Register, offset=0x44, size=4):
    """The tag of the last `interrupt`."""

    tag = bits[31:0](RO, doc="tag")


class CompletionAddress(Register, offset=0x48, size=8):
    """Where tags are written besides, for a driver that polls memory."""

    address = bits[63:0](RW, doc="bus address of 32 bits; 0: nowhere")


class HostSync(Register, offset=0x50, size=4):
    """What `wait_host` waits for."""

    value_ = bits[31:0](RW, doc="a number that grows")


class Watchdog(Register, offset=0x54, size=4):
    """How long a program may take from its doorbell, or from one `interrupt` to the next."""

    us = bits[31:0](RW, reset=1_000_000, doc="microseconds; 0: for ever")


class DebugTag(Register, offset=0x58, size=4):
    """The tag of the last `debug`."""

    tag = bits[31:0](RO, doc="tag")


class Error(Register, offset=0x60, size=4):
    """Why the ring stopped. The instruction's address and the value stand in the next two."""

    code = bits[7:0](RO, doc="0: no error; the codes stand in docs/tpu.md")
    reserved = bits[31:8]


class ErrorAddress(Register, offset=0x68, size=8):
    """Which instruction failed."""

    address = bits[63:0](RO, doc="its bus address")


class ErrorValue(Register, offset=0x70, size=8):
    """What was wrong about it."""

    value_ = bits[63:0](RO, doc="depends on the code")


class Counter(Register, offset=0x80, size=8, count=13):
    """Performance counters, in cycles but for the last five: 0 all while the TPU was busy; of these
    1 array active, 2 weight stall, 3 weight shift, 4 non-matrix, and of the latter 5 waiting for
    results of the activation unit or of products, 6 waiting for input; 7 array active cycles that
    it would have been at full speed (8 bit by 8 bit); 8 instructions, 9 multiply-accumulates,
    10 bytes read from the host, 11 bytes written to it, 12 bytes of weights fetched."""

    count_ = bits[63:0](RO, doc="cycles, or a number")
