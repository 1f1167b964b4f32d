"""From a request to machine code: what the background process does (`emu.cpu.background`).

Both are pickles of the dataclasses below, exchanged by the two ends of one program on one host.
"""

from __future__ import annotations

import pickle
from dataclasses import dataclass

from emu.cpu.jit import compile_code
from emu.cpu.native.translate import shelf
from emu.cpu.native.translate.budget import checkpoints
from emu.cpu.native.translate.image import Image
from emu.cpu.native.translate.region import LIMIT, discover

FUNCTION = "emu.cpu.native.translate.compiler:answer"
"""What a `Background` of translations runs."""


@dataclass(frozen=True)
class Request:
    """Translate around the first of `seeds`, with what is around the others. `taken` has the
    targets that indirect jumps were seen to take, by their addresses; `window_start` is where the
    memory window of the code begins."""

    image: Image
    seeds: tuple[int, ...]
    taken: dict[int, tuple[int, ...]]
    window_start: int
    limit: int = LIMIT


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
    the places in the region that they may go to."""

    code: bytes
    entries: tuple[Entry, ...]
    spans: tuple[tuple[int, bytes], ...]
    targets: dict[int, tuple[int, ...]]
    size: int


def answer(request: bytes) -> bytes:
    """Translate a pickled `Request`; gives a pickled `Translation`, or None for no region. It is
    also kept for later runs."""
    translation = translate(pickle.loads(request))
    if translation is not None:
        shelf.keep(translation)
    return pickle.dumps(translation)


def translate(request: Request) -> Translation | None:
    """The translation of the region around the seed, if there is one."""
    region = discover(request.image, request.seeds, request.taken, request.limit)
    if region is None:
        return None
    from emu.cpu.native.translate.emit import emit

    sizes = {pc: len(block.instructions) for pc, block in region.blocks.items()}
    needed = checkpoints(sizes, region.successors(), region.entries)
    entries = [region.blocks[pc] for pc in region.entries]
    return Translation(
        compile_code(str(emit(region, needed, request.window_start)), opt=2),
        tuple(Entry(b.start, b.instructions[0][1].raw, needed[b.start]) for b in entries),
        tuple((start, request.image.bytes_at(start, end - start)) for start, end in region.spans()),
        region.targets,
        region.size,
    )
