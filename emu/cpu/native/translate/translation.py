"""What is asked of the background process that translates, and what it gives.

A request is a pickle, sent from one end of a program to the other. A translation, which is also
kept on disk, is packed as data that can be nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emu.cpu.native.translate.image import Image


@dataclass(frozen=True)
class Request:
    """Translate around the first of `seeds`, with what is around the others. `taken` has the
    targets that indirect jumps were seen to take, by their addresses; `window_start` is where the
    memory window of the code begins."""

    image: Image
    seeds: tuple[int, ...]
    taken: dict[int, tuple[int, ...]]
    window_start: int


@dataclass(frozen=True)
class Entry:
    """A way into a translation: its address, the instruction's bits there, and how many
    instructions must be left to execute."""

    pc: int
    word: int
    needed: int


@dataclass(frozen=True)
class Translation:
    """Machine code for `emu.cpu.jit.load`, and what the guest's code must be for it to hold:
    `spans` are addresses with the bytes there. `targets` has the indirect jumps, by address, with
    the places in the region that they may go to; `size` is the number of instructions; with another
    window than at `window_start`, as in `Request`, it is right, but slow."""

    code: bytes
    entries: tuple[Entry, ...]
    spans: tuple[tuple[int, bytes], ...]
    targets: dict[int, tuple[int, ...]]
    size: int
    window_start: int = 0

    def includes(self, other: Translation) -> bool:
        """Whether all code of another one is translated in this one, too."""
        return all(
            any(
                mine <= start and data == code[start - mine : start - mine + len(data)]
                for mine, code in self.spans
            )
            for start, data in other.spans
        )

    def pack(self) -> bytes:
        """A line of JSON, and the machine code."""
        import json  # only where there is something to pack or unpack

        parts = {
            "entries": [[entry.pc, entry.word, entry.needed] for entry in self.entries],
            "spans": [[start, data.hex()] for start, data in self.spans],
            "targets": [*self.targets.items()],
            "size": self.size,
            "window": self.window_start,
        }
        return json.dumps(parts, separators=(",", ":")).encode() + b"\n" + self.code

    @staticmethod
    def unpack(packed: bytes) -> Translation:
        """What was packed; ValueError when it was something else."""
        import json

        line, _, code = packed.partition(b"\n")
        try:
            parts = json.loads(line)
            return Translation(
                code,
                tuple(Entry(*entry) for entry in parts["entries"]),
                tuple((start, bytes.fromhex(data)) for start, data in parts["spans"]),
                {site: tuple(places) for site, places in parts["targets"]},
                parts["size"],
                parts["window"],
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"{line[:40]!r} does not begin a translation") from error
