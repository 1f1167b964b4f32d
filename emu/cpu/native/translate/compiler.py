"""From a request to machine code: what the background process does (`emu.cpu.background`)."""

from __future__ import annotations

import pickle

from emu.cpu.jit import compile_code
from emu.cpu.native.translate import shelf
from emu.cpu.native.translate.budget import checkpoints
from emu.cpu.native.translate.emit import emit
from emu.cpu.native.translate.region import discover
from emu.cpu.native.translate.translation import Entry, Request, Translation


def answer(request: bytes) -> bytes:
    """Translate a pickled `Request`; gives a packed `Translation`, nothing for no region. It is
    also kept for later runs."""
    translation = translate(pickle.loads(request))
    if translation is None:
        return b""
    shelf.keep(translation)
    return translation.pack()


def translate(request: Request) -> Translation | None:
    """The translation of the region around the seed, if there is one."""
    region = discover(request.image, request.seeds, request.taken)
    if region is None:
        return None
    sizes = {pc: len(block.instructions) for pc, block in region.blocks.items()}
    stops, needed = checkpoints(sizes, region.successors, region.heads)
    module = emit(region, {pc: needed[pc] for pc in stops}, request.window_start)
    entries = [region.blocks[pc] for pc in region.entries]
    bytes_at = request.image.bytes_at
    return Translation(
        code=compile_code(str(module), opt=2),
        entries=tuple(Entry(b.start, b.instructions[0][1].raw, needed[b.start]) for b in entries),
        spans=tuple((start, bytes_at(start, end - start)) for start, end in region.spans()),
        targets=region.targets,
        size=region.size,
        window_start=request.window_start,
    )
