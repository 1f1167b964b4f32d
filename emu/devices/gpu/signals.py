"""Signals: 64 bytes of memory by which host and device tell each other that something is done.

Laid out as ROCR's `amd_hsa_signal.h` has it: kind 0 (1: a user's signal), value 8, event mailbox
16, event id 24, start 32, end 40, all little-endian. Timestamps are nanoseconds of virtual time.

A completed packet's signal goes down by one; that of a packet that failed becomes the error's
negative code. The times are written before the value: whoever sees it change finds them in place.
"""

from __future__ import annotations

from emu.devices.dma import DmaPort

SIGNAL_BYTES = 64
USER = 1
_KIND, _VALUE, _MAILBOX, _EVENT_ID, _START, _END = 0, 8, 16, 24, 32, 40
_MASK = (1 << 64) - 1


def usable(port: DmaPort, address: int) -> bool:
    """Whether a user's signal lies at the address."""
    return address % SIGNAL_BYTES == 0 and port.read_int(address + _KIND, 8) == USER


def value(port: DmaPort, address: int) -> int | None:
    """The signal's value, signed; None where it cannot be read."""
    raw = port.read_int(address + _VALUE, 8)
    return None if raw is None else raw - ((raw & 1 << 63) << 1)


def complete(port: DmaPort, address: int, start_ns: int, end_ns: int, error: int = 0) -> int | None:
    """Say that a packet is done, or failed with the negative code `error`.

    Returns the event id that was written to the signal's mailbox; None when it has no mailbox, or
    when there is no signal any more.
    """
    if not usable(port, address):
        return None
    before = port.read_int(address + _VALUE, 8) or 0
    port.write_int(address + _START, 8, start_ns)
    port.write_int(address + _END, 8, end_ns)
    port.write_int(address + _VALUE, 8, (error or before - 1) & _MASK)
    mailbox = port.read_int(address + _MAILBOX, 8) or 0
    event = port.read_int(address + _EVENT_ID, 4) or 0
    if mailbox == 0 or mailbox % 8 or not port.write_int(mailbox, 8, event):
        return None
    return event
