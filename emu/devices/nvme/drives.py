"""From host files to controllers: which file becomes which namespace of which drive.

A `Drive` is a file. Each makes a controller of its own, with the file as namespace 1, unless it
names a controller that it shares with others: the files of one controller become its namespaces, in
their order, or under the numbers that they ask for. Numbers left free in between are inactive.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from emu.devices.nvme import faults
from emu.devices.nvme.backing import BLOCK, Backing
from emu.devices.nvme.namespace import Namespace
from emu.errors import AiosError

BLOCKS = (512, 4096)
"""Sizes of a block."""
MAX_NSID = 256


@dataclass(frozen=True)
class Drive:
    """A host file to be seen as an NVMe namespace: `block` is the size of its blocks, `controller`
    the number of the drive that it belongs to, `nsid` its number there, `faults` the path of a
    fault plan."""

    path: str
    readonly: bool = False
    block: int = BLOCK
    controller: int | None = None
    nsid: int | None = None
    faults: str | None = None


def controllers(drives: Sequence[Drive]) -> list[dict[int, Drive]]:
    """The namespaces of each controller by their numbers; AiosError if that cannot be."""
    named: dict[int, list[Drive]] = {}
    found: list[list[Drive]] = []
    for drive in drives:
        if drive.controller is None:
            found.append([drive])
        elif drive.controller in named:
            named[drive.controller].append(drive)
        else:
            found.append(named.setdefault(drive.controller, [drive]))
    return [_number(group) for group in found]


def _number(group: Iterable[Drive]) -> dict[int, Drive]:
    """Every file gets the number that it asks for, or the next after the one before."""
    numbered: dict[int, Drive] = {}
    following = 1
    for drive in group:
        nsid = following if drive.nsid is None else drive.nsid
        if not 1 <= nsid <= MAX_NSID:
            raise AiosError(
                f"The drive file {drive.path} cannot be namespace {nsid}: 1 to {MAX_NSID} can be."
            )
        if nsid in numbered:
            raise AiosError(
                f"The drive files {numbered[nsid].path} and {drive.path} cannot both be namespace "
                f"{nsid} of one controller."
            )
        numbered[nsid] = drive
        following = nsid + 1
    return numbered


def open_namespaces(numbered: dict[int, Drive], cache_bytes: int) -> list[Namespace]:
    """Open the files of one controller; AiosError says which of them cannot be used."""
    opened: list[Namespace] = []
    try:
        for nsid, drive in numbered.items():
            if drive.block not in BLOCKS:
                raise AiosError(
                    f"The drive file {drive.path} cannot have blocks of {drive.block} bytes; "
                    f"choose {' or '.join(map(str, BLOCKS))}."
                )
            plan = None if drive.faults is None else faults.load(drive.faults)
            backing = Backing(drive.path, readonly=drive.readonly, block=drive.block)
            opened.append(Namespace(nsid, backing, cache_bytes, plan))
    except BaseException:
        for namespace in opened:
            namespace.backing.close()
        raise
    return opened
