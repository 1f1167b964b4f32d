"""A lifted kernel: its code compiled, in memory by content and on disk, and called.

`lift` goes through the passes: `program.read`, `Analysis`, `Writer`, `write_driver`. What comes out
depends on nothing but the code, where it stands and `Shapes`, so it serves every later dispatch.
"""

from __future__ import annotations

import ctypes
import hashlib
from dataclasses import dataclass

from emu.cpu.jit import Code, compile_cached, source_key
from emu.cpu.tensor.emit import Block, Emitter
from emu.devices.gpu.lift import program, runtime
from emu.devices.gpu.lift.analysis import Analysis
from emu.devices.gpu.lift.driver import write_driver
from emu.devices.gpu.lift.program import Program
from emu.devices.gpu.lift.runtime import SAVED_ROOM, Slow
from emu.devices.gpu.lift.world import Shapes
from emu.devices.gpu.lift.writer import Writer

_PASSES = ("sroa", "instruction_combine", "simplify_cfg")
"""Variables become values, what we wrote too generally becomes simple. LLVM's first level takes
five times as long, for code that is a few percent faster."""


@dataclass(frozen=True)
class Kernel:
    """Machine code and the names of the words of its block."""

    code: Code
    block: Block
    sites: int
    saved_bytes: int

    def call(self, block: int) -> int:
        """Execute all groups: 0 at the end, 1 for a fault, or NO_ROOM. `block` is the host's
        address of it."""
        function = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
        return int(function(self.code.address("kernel"))(block, 0, 1))


def _memory_sites(found: Program) -> dict[int, int]:
    """A number for every instruction that accesses memory, by its address."""
    places = [place for block in found.blocks.values() for place in block.places if place.insn]
    accessing = [
        place.pc
        for place in places
        if place.insn and any(step.op in ("load", "store") for step in place.insn.insn.steps)
    ]
    return {pc: i for i, pc in enumerate(accessing)}


def module(found: Program, shapes: Shapes, block: Block) -> str:
    """The LLVM module of a kernel. Raises Refused."""
    e = Emitter(block)
    slow = Slow(e)
    has_barriers = any(b.is_barrier for b in found.blocks.values())
    analysis = Analysis(found, shapes)
    if shapes.roomy and (slots := analysis.slots()):
        found.use_slots(slots)
        analysis = Analysis(found, shapes)
    warp = Writer(e, analysis, _memory_sites(found), slow).write()
    write_driver(
        e, warp, has_barriers=has_barriers,
        stack=-min((number for number, _ in found.slots.values()), default=0),
        clears_private=analysis.uses_private_memory,
    )  # fmt: skip
    return e.finish()


def lift(entry: int, code: bytes, shapes: Shapes) -> Kernel:
    """The kernel of this code at this address. Raises Refused for what is the reference's."""
    found = program.read(entry, code)
    sites = len(_memory_sites(found))
    block = runtime.layout(len(found.blocks), sites)
    text = f"{entry} {shapes} ".encode() + code
    key = f"lifted {hashlib.sha256(text).hexdigest()} {_sources()}"
    compiled = compile_cached(key, lambda: module(found, shapes, block), opt=1, passes=_PASSES)
    barriers = any(b.is_barrier for b in found.blocks.values())
    return Kernel(compiled, block, sites, SAVED_ROOM if barriers else 0)


def _sources() -> str:
    """A hash of everything that a kernel's module is made of."""
    names = ("emu.devices.gpu.lift", "emu.devices.gpu.dispatch", "emu.isa", "emu.cpu.tensor.emit")
    return source_key(*names)
