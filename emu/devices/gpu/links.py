"""What the copy engines' bytes travel over, and who waits for whom.

Every GPU has five links: its own memory, and to and from the host (PCIe) and its peers. A
transfer holds the links on its way one piece at a time, first come, first served: two transfers
over the same link take turns, piece by piece, and each takes twice as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from emu.devices.gpu.timing import Route


class Link(StrEnum):
    """The links of a GPU, as seen from it."""

    MEMORY = "memory"
    HOST_IN = "host_in"
    HOST_OUT = "host_out"
    PEER_IN = "peer_in"
    PEER_OUT = "peer_out"


class Node(Protocol):
    """A GPU as its fellows see it."""

    links_free: dict[Link, int]
    """When each link is free, in picoseconds of virtual time."""

    def holds(self, address: int) -> bool:
        """Whether the address is in its memory now."""

    def signal_changed(self) -> None:
        """A signal somewhere has changed: queues that wait for one look again."""


Way = list[tuple[Node, Link]]
"""The links that a transfer needs at the same time."""


@dataclass
class Fabric:
    """All GPUs of a machine; each joins when it is made."""

    has_peer_links: bool = True
    """Whether peers have links of their own; without them they use PCIe."""
    nodes: list[Node] = field(default_factory=list)

    def join(self, node: Node) -> None:
        """Make one more GPU known to the others."""
        self.nodes.append(node)

    def signal_changed(self) -> None:
        """A GPU has changed a signal, for which another may wait."""
        for node in self.nodes:
            node.signal_changed()

    def route(self, me: Node, source: int, destination: int) -> tuple[Route, Way]:
        """The way from address to address for a copy engine of `me`, and the links on it."""
        start, end = self._node(source), self._node(destination)
        if start is not None and start is end:
            return Route.VRAM, [(start, Link.MEMORY)]
        if start is not None and end is not None and self.has_peer_links:
            return Route.LINK, [(start, Link.PEER_OUT), (end, Link.PEER_IN)]
        out, into = (start or me, Link.HOST_OUT), (end or me, Link.HOST_IN)
        if end is None and start is not None:
            return Route.HOST, [out]
        return Route.HOST, [into] if start is None and end is not None else [out, into]

    def _node(self, address: int) -> Node | None:
        return next((node for node in self.nodes if node.holds(address)), None)


def reserve(way: Way, now_ps: int, duration_ps: int) -> int:
    """Hold all links of a way as soon as all are free; returns when they are free again."""
    start = max(now_ps, *(node.links_free[link] for node, link in way))
    for node, link in way:
        node.links_free[link] = start + duration_ps
    return start + duration_ps
