"""Identify data structures (base specification 1.4, 5.15; by command set: 2.0, 5.17): what the
controller says about itself."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from emu.devices.nvme.events import EVENT_LIMIT
from emu.devices.nvme.features import CRITICAL_KELVIN, WARNING_KELVIN
from emu.devices.nvme.io import COPY_BLOCKS, COPY_BLOCKS_OF_RANGE, COPY_RANGES, MDTS
from emu.devices.nvme.logs import ERROR_ENTRIES
from emu.devices.nvme.namespace import ATOMIC_BLOCKS, Namespace
from emu.devices.nvme.registers import Vs
from emu.devices.nvme.status import CommandError, Status

if TYPE_CHECKING:
    from emu.devices.nvme.command import Command
    from emu.devices.nvme.controller import Nvme

BYTES = 4096
ABORT_LIMIT = 4
"""How many Abort commands may be under way."""
_VENDOR = 0x1B36
_IO_CONTROLLER = 1
_SQES, _CQES = 0x66, 0x44  # smallest and largest entry, as powers of two
_DOORBELL_BUFFERS = 1 << 8  # optional admin commands
# optional I/O commands and features
_COMPARE, _DATASET, _WRITE_ZEROES, _SAVE_SELECT = 1 << 0, 1 << 2, 1 << 3, 1 << 4
_TIMESTAMP, _VERIFY, _COPY = 1 << 6, 1 << 7, 1 << 8
_OPTIONAL = _COMPARE | _DATASET | _WRITE_ZEROES | _SAVE_SELECT | _TIMESTAMP | _VERIFY | _COPY
_WRITE_CACHE = 0b111  # there is one, and Flush may name all namespaces
_LOGS = 0b111  # health by namespace, command effects, offsets and long transfers
_FUSED_COMPARE_AND_WRITE = 1
_DEALLOCATED_READ_ZERO, _WRITE_ZEROES_DEALLOCATES = 0b001, 1 << 3
_NIDT_UUID, _NIDT_COMMAND_SET = 3, 4
_MAX_NSID = 0xFFFF_FFFE


def identify(nvme: Nvme, command: Command) -> bytes:
    """The structure that CNS (dword 10, bits 7:0) asks for; raises CommandError."""
    cns, nsid, command_set = command.cdw10 & 0xFF, command.nsid, command.cdw11 >> 24
    match cns:
        case 0x00:
            return _namespace(_named(nvme, nsid))
        case 0x01:
            return _controller(nvme)
        case 0x02:
            return _active_list(nvme, nsid)
        case 0x03:
            return _descriptors(nvme, nsid)
        case 0x05 if command_set == 0:  # what the NVM command set adds: nothing is formatted
            _named(nvme, nsid)
            return bytes(BYTES)
        case 0x06 if command_set == 0:  # no limits besides MDTS
            return bytes(BYTES)
        case 0x07 if command_set == 0:
            return _active_list(nvme, nsid)
        case 0x1C:  # command set combinations: number 0, NVM alone
            return (1).to_bytes(8, "little").ljust(BYTES, b"\0")
    raise CommandError(Status.INVALID_FIELD)


def _named(nvme: Nvme, nsid: int) -> Namespace | None:
    """The namespace, or None for a number that is free; raises CommandError for an impossible
    one."""
    if not 1 <= nsid <= nvme.last_nsid:
        raise CommandError(Status.INVALID_NAMESPACE)
    return nvme.namespaces.get(nsid)


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
    struct.pack_into("<H", out, 256, _DOORBELL_BUFFERS)
    out[258], out[259] = ABORT_LIMIT - 1, EVENT_LIMIT - 1
    out[260] = 3  # one firmware slot, read only
    out[261] = _LOGS
    out[262] = ERROR_ENTRIES - 1
    struct.pack_into("<HH", out, 266, WARNING_KELVIN, CRITICAL_KELVIN)
    out[512], out[513] = _SQES, _CQES
    struct.pack_into("<IHH", out, 516, nvme.last_nsid, _OPTIONAL, _FUSED_COMPARE_AND_WRITE)
    out[525] = _WRITE_CACHE
    # atomic write units, in blocks less one: always, at a power cut; compare and write
    struct.pack_into("<HH", out, 526, 0xFFFF, ATOMIC_BLOCKS - 1)
    struct.pack_into("<H", out, 532, 0xFFFF)
    struct.pack_into("<H", out, 534, 1)  # Copy takes descriptors of format 0
    name = f"nqn.2026-01.org.aios:{nvme.serial}".encode()
    out[768 : 768 + len(name)] = name
    struct.pack_into("<H", out, 2048, 2500)  # power state 0: 25 W in units of 10 mW
    return bytes(out)


def _namespace(namespace: Namespace | None) -> bytes:
    """A number without a namespace gives zeros, as the specification wants."""
    out = bytearray(BYTES)
    if namespace is None:
        return bytes(out)
    blocks = namespace.blocks
    struct.pack_into("<QQQ", out, 0, blocks, blocks, blocks)
    out[33] = _DEALLOCATED_READ_ZERO | _WRITE_ZEROES_DEALLOCATES
    struct.pack_into("<HIB", out, 74, COPY_BLOCKS_OF_RANGE, COPY_BLOCKS, COPY_RANGES - 1)
    out[99] = int(namespace.backing.readonly)  # namespace attributes: write protected
    struct.pack_into("<I", out, 128, namespace.shift << 16)  # LBA format 0
    return bytes(out)


def _active_list(nvme: Nvme, above: int) -> bytes:
    if above >= _MAX_NSID:
        raise CommandError(Status.INVALID_NAMESPACE)
    active = [nsid for nsid in sorted(nvme.namespaces) if nsid > above]
    return struct.pack(f"<{len(active)}I", *active).ljust(BYTES, b"\0")


def _descriptors(nvme: Nvme, nsid: int) -> bytes:
    """A UUID that depends on the drive's serial number alone, and the command set."""
    if _named(nvme, nsid) is None:
        raise CommandError(Status.INVALID_FIELD)
    import uuid  # few guests ask

    name = nvme.serial if nsid == 1 else f"{nvme.serial}/{nsid}"
    unique = bytes([_NIDT_UUID, 16, 0, 0]) + uuid.uuid5(uuid.NAMESPACE_OID, name).bytes
    return (unique + bytes([_NIDT_COMMAND_SET, 1, 0, 0, 0])).ljust(BYTES, b"\0")
