"""A host file to be seen as a virtio disk."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class VirtioDrive:
    """The file at `path`; `legacy` chooses the older layout of the registers, which QEMU's machines
    show unless told otherwise."""

    path: str
    readonly: bool = False
    legacy: bool = False
