"""Identify data structures (base specification 1.4, 5.15): what the controller says about
itself."""

from __future__ import annotations

import struct
import uuid
from typing import TYPE_CHECKING

from emu.devices.nvme.backing import BLOCK
from emu.devices.nvme.registers import Vs
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

BYTES = 4096
MDTS = 7
"""Largest transfer: 2 ** MDTS of the smallest memory pages."""
ABORT_LIMIT = 4
EVENT_LIMIT = 4
ERROR_ENTRIES = 64
_VENDOR = 0x1B36
_IO_CONTROLLER = 1
_SQES, _CQES = 0x66, 0x44  # smallest and largest entry, as powers of two
_COMPARE, _WRITE_ZEROES, _SAVE_SELECT, _TIMESTAMP = 1 << 0, 1 << 3, 1 << 4, 1 << 6
_NIDT_UUID = 3
_MAX_NSID = 0xFFFF_FFFE
NAMESPACES = 1


def identify(nvme: Nvme, command: Command) -> bytes:
    """The structure that CNS (dword 10, bits 7:0) asks for; raises CommandError."""
    match command.cdw10 & 0xFF:
        case 0x00:
            _existing(command.nsid)
            return _namespace(nvme)
        case 0x01:
            return _controller(nvme)
        case 0x02:
            return _active_list(command.nsid)
        case 0x03:
            _existing(command.nsid)
            return _descriptors(nvme)
        case 0x05 | 0x06 if command.cdw11 >> 24 == 0:  # the NVM command set adds nothing here
            return bytes(BYTES)
    raise CommandError(Status.INVALID_FIELD)


def _existing(nsid: int) -> None:
    if not 1 <= nsid <= NAMESPACES:
        raise CommandError(Status.INVALID_NAMESPACE)


def _text(text: str, n: int) -> bytes:
    return text.encode("ascii", "replace")[:n].ljust(n)


def _controller(nvme: Nvme) -> bytes:
    out = bytearray(BYTES)
    struct.pack_into("<HH", out, 0, _VENDOR, _VENDOR)
    out[4:24] = _text(nvme.serial, 20)
    out[24:64] = _text("AIos NVMe drive", 40)
    out[64:72] = _text("1.0", 8)
    out[72] = 6  # recommended arbitration burst, as a power of two
    out[77] = MDTS
    struct.pack_into("<I", out, 80, Vs.reset_value)
    out[111] = _IO_CONTROLLER
    out[258], out[259] = ABORT_LIMIT - 1, EVENT_LIMIT - 1
    out[260] = 3  # one firmware slot, read only
    out[262] = ERROR_ENTRIES - 1
    struct.pack_into("<HH", out, 266, *nvme.features.temperature_limits)
    out[512], out[513] = _SQES, _CQES
    struct.pack_into("<I", out, 516, NAMESPACES)
    struct.pack_into("<H", out, 520, _COMPARE | _WRITE_ZEROES | _SAVE_SELECT | _TIMESTAMP)
    out[525] = 1  # a volatile write cache: the host's page cache
    name = f"nqn.2026-01.org.aios:{nvme.serial}".encode()
    out[768 : 768 + len(name)] = name
    struct.pack_into("<H", out, 2048, 2500)  # power state 0: 25 W in units of 10 mW
    return bytes(out)


def _namespace(nvme: Nvme) -> bytes:
    out = bytearray(BYTES)
    blocks = nvme.backing.blocks
    struct.pack_into("<QQQ", out, 0, blocks, blocks, blocks)
    out[99] = int(nvme.backing.readonly)  # namespace attributes: write protected
    struct.pack_into("<I", out, 128, (BLOCK.bit_length() - 1) << 16)  # LBA format 0
    return bytes(out)


def _active_list(above: int) -> bytes:
    if above >= _MAX_NSID:
        raise CommandError(Status.INVALID_NAMESPACE)
    active = [nsid for nsid in range(1, NAMESPACES + 1) if nsid > above]
    return struct.pack(f"<{len(active)}I", *active).ljust(BYTES, b"\0")


def _descriptors(nvme: Nvme) -> bytes:
    """One descriptor: a UUID that depends on the serial number alone."""
    name = uuid.uuid5(uuid.NAMESPACE_OID, nvme.serial)
    return (bytes([_NIDT_UUID, 16, 0, 0]) + name.bytes).ljust(BYTES, b"\0")
