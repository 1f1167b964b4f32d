"""NVMe commands as somebody between the hart and the drive sees them, and as QEMU's trace has them.

`Witness` is a trace of our machine that looks at doorbells only: when the guest rings a submission
queue's, it reads the new entries from memory, and when it rings a completion queue's, those that
the guest has consumed. It knows the specification and nothing of the controller.
"""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace

from emu.bus import Target
from emu.memory import Memory
from emu.trace import Trace

FLUSH, WRITE, READ = 0x00, 0x01, 0x02
SET_FEATURES = 0x09
_CREATE_SQ, _CREATE_CQ, _IDENTIFY = 0x01, 0x05, 0x06
_AQA, _ASQ, _ACQ, _DOORBELLS = 0x24, 0x28, 0x30, 0x1000


@dataclass(frozen=True)
class Command:
    """One command and the status it ended with. `what` tells commands of one opcode apart: (first
    block, blocks) of a transfer, the low half of dword 10 of an admin command that has one."""

    queue: int
    opcode: int
    nsid: int
    what: tuple[int, ...]
    status: int | None = None


@dataclass
class _Ring:
    base: int
    entries: int
    at: int = 0


class Witness(Trace):
    """The commands of one controller, in the order in which each queue was given them."""

    def __init__(self, device: str = "nvme0") -> None:
        super().__init__(io.StringIO())
        self.memory: Memory | None = None
        self.commands: list[Command] = []
        self.times: list[int] = []
        """When the guest gave each of them, in picoseconds."""
        self._device = device
        self._registers: dict[int, int] = {}
        self._submissions: dict[int, _Ring] = {}
        self._completions: dict[int, _Ring] = {}
        self._pending: dict[tuple[int, int], int] = {}  # (queue, identifier) to place in the list

    def access(self, write: bool, target: Target, offset: int, size: int, value: int) -> None:
        """Look at doorbells, and at where the admin queues are."""
        if not write or target.name != self._device:
            return
        self._registers[offset] = value
        if offset == _ACQ + 4:
            sizes = self._registers[_AQA]
            self._submissions = {0: _Ring(self._address(_ASQ), (sizes & 0xFFF) + 1)}
            self._completions = {0: _Ring(self._address(_ACQ), (sizes >> 16 & 0xFFF) + 1)}
        elif offset >= _DOORBELLS:
            queue, is_head = divmod((offset - _DOORBELLS) // 4, 2)
            ring = (self._completions if is_head else self._submissions)[queue]
            while ring.at != value:
                (self._complete if is_head else self._submit)(queue, ring)
                ring.at = (ring.at + 1) % ring.entries

    def irq(self, line: str, level: bool, hart: int = 0) -> None:
        """Of no interest."""

    def trap(self, cause: int, tval: int, pc: int, handler: int) -> None:
        """Of no interest."""

    def event(self, device: str, what: str, **fields: object) -> None:
        """Of no interest."""

    def _address(self, register: int) -> int:
        return self._registers[register] | self._registers[register + 4] << 32

    def _submit(self, queue: int, ring: _Ring) -> None:
        assert self.memory is not None
        entry = bytes(self.memory.view(ring.base + 64 * ring.at, 64))
        opcode, _, cid, nsid, _, prp1, _, d10, d11, d12 = struct.unpack("<BBHI16sQQIII", entry[:52])
        if queue == 0:
            what = _admin_detail(opcode, d10)
            if opcode in (_CREATE_SQ, _CREATE_CQ):
                rings = self._submissions if opcode == _CREATE_SQ else self._completions
                rings[d10 & 0xFFFF] = _Ring(prp1, (d10 >> 16) + 1)
        else:
            what = () if opcode == FLUSH else (d10 | d11 << 32, (d12 & 0xFFFF) + 1)
        self._pending[queue, cid] = len(self.commands)
        self.commands.append(Command(queue, opcode, nsid, what))
        self.times.append(self.now())

    def _complete(self, queue: int, ring: _Ring) -> None:
        assert self.memory is not None
        entry = bytes(self.memory.view(ring.base + 16 * ring.at, 16))
        sqid, cid, status = struct.unpack("<10xHHH", entry)
        place = self._pending.pop((sqid, cid))
        self.commands[place] = replace(self.commands[place], status=status >> 1)


def _admin_detail(opcode: int, d10: int) -> tuple[int, ...]:
    return (d10 & 0xFF,) if opcode in (_IDENTIFY, SET_FEATURES) else ()


_ADMIN = re.compile(r"pci_nvme_admin_cmd cid (\d+) sqid 0 opc (0x\w+)")
_IO = re.compile(r"pci_nvme_io_cmd cid (\d+) nsid (0x\w+) sqid (\d+) opc (0x\w+)")
_IDENTIFIED = re.compile(r"pci_nvme_identify cid \d+ cns (0x\w+)")
_OF_NAMESPACE = re.compile(r"pci_nvme_identify_ns nsid (\d+)")
_FEATURE = re.compile(r"pci_nvme_setfeat cid \d+ nsid \w+ fid (0x\w+)")
_MOVED = re.compile(r"pci_nvme_(?:read|write) cid (\d+) .*nlb (\d+) count \d+ lba (0x\w+)")
_DONE = re.compile(r"pci_nvme_enqueue_req_completion cid (\d+) cqid (\d+) .* status (0x\w+)")


def from_qemu(lines: Iterable[str]) -> list[Command]:
    """The commands in the trace of `-trace 'pci_nvme*'` of one controller whose queues of a number
    belong together."""
    commands: list[Command] = []
    pending: dict[tuple[int, int], int] = {}
    for line in lines:
        if found := _ADMIN.search(line):
            pending[0, int(found[1])] = len(commands)
            commands.append(Command(0, int(found[2], 16), 0, ()))
        elif found := _IO.search(line):
            queue = int(found[3])
            pending[queue, int(found[1])] = len(commands)
            commands.append(Command(queue, int(found[4], 16), int(found[2], 16), ()))
        elif (found := _IDENTIFIED.search(line)) or (found := _FEATURE.search(line)):
            commands[-1] = replace(commands[-1], what=(int(found[1], 16),))
        elif found := _OF_NAMESPACE.search(line):
            commands[-1] = replace(commands[-1], nsid=int(found[1]))
        elif found := _MOVED.search(line):
            commands[-1] = replace(commands[-1], what=(int(found[3], 16), int(found[2])))
        elif found := _DONE.search(line):
            place = pending.pop((int(found[2]), int(found[1])))
            commands[place] = replace(commands[place], status=int(found[3], 16))
    return commands
