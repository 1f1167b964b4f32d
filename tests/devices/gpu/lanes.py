"""Small kernels from text, in memory of their own, for any engine of lanes.

    bench = Bench()
    bench.run('''
        csrr    t0, lane_id
        slli    t1, t0, 2
        add     t1, t1, a0
        sw      t0, 0(t1)
        ret
    ''', grid=(64, 1, 1), workgroup=(32, 1, 1), kernarg=bench.DATA)
    assert bench.words(bench.DATA, 32) == list(range(32))

A line may have a label (`loop:`), which branches may name; `;` separates instructions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from emu.devices.gpu.dispatch import Dispatch, Engine, Extent, KernelObject, Outcome, Region
from emu.devices.gpu.simt import ReferenceEngine
from emu.isa.assemble import assemble_line
from emu.memory import Memory


def assemble(text: str, base: int = 0, symbols: Mapping[str, int] | None = None) -> bytes:
    """The code of a text at an address. Labels may be used before they stand."""
    lines = _lines(text)
    labels = dict.fromkeys((name for name, _ in lines if name), base)
    code = b""
    for final in (False, True):
        code = b""
        for label, line in lines:
            pc = base + len(code)
            if label:
                labels[label] = pc
            here = labels if final else dict.fromkeys(labels, pc)
            code += assemble_line(line, pc, {**here, **(symbols or {})}) if line else b""
    return code


def _lines(text: str) -> list[tuple[str, str]]:
    """Label and instruction of each line."""
    found = []
    for part in text.replace(";", "\n").splitlines():
        match = re.fullmatch(r"\s*(?:(\w+):)?\s*([^#]*?)\s*(?:#.*)?", part)
        assert match is not None
        found.append((match[1] or "", match[2]))
    return [pair for pair in found if any(pair)]


class Bench:
    """Two regions of memory with a gap between them, and a place for a kernel in the first."""

    CODE = 0x8000_0000
    DATA = CODE + 0x1_0000
    END = CODE + 0x10_0000
    FAR, FAR_SIZE = 0x100_0000_0000, 0x1000

    def __init__(self, engine: Engine | None = None) -> None:
        self.engine = engine or ReferenceEngine(units=4)
        self._near = Memory(self.CODE, self.END - self.CODE)
        self._far = Memory(self.FAR, self.FAR_SIZE)

    @property
    def regions(self) -> list[Region]:
        """What lanes reach."""
        return [(m.base, m.size, m.host_address) for m in (self._near, self._far)]

    def _of(self, address: int) -> Memory:
        return self._far if address >= self.FAR else self._near

    def bytes(self, address: int, size: int) -> bytes:
        """What memory holds."""
        return bytes(self._of(address).view(address, size))

    def put(self, address: int, data: bytes) -> None:
        """Change what memory holds."""
        self._of(address).view(address, len(data))[:] = data

    def words(self, address: int, count: int, size: int = 4) -> list[int]:
        """Unsigned words of `size` bytes."""
        data = self.bytes(address, count * size)
        return [int.from_bytes(data[i : i + size], "little") for i in range(0, len(data), size)]

    def kernel(self, code: bytes | str, **sizes: int) -> KernelObject:
        """A kernel whose code is put at `CODE`; `sizes` are those of the object."""
        if isinstance(code, str):
            code = assemble(code, self.CODE)
        self.put(self.CODE, code)
        return KernelObject(self.CODE, len(code), **sizes)

    def run(
        self,
        code: bytes | str,
        *,
        grid: Extent = (32, 1, 1),
        workgroup: Extent = (32, 1, 1),
        kernarg: int = DATA,
        limit: int = 1 << 20,
        **sizes: int,
    ) -> Outcome:
        """Execute a kernel over a grid."""
        kernel = self.kernel(code, **sizes)
        return self.engine.run(Dispatch(kernel, kernarg, grid, workgroup), self.regions, limit)


def load_registers(initial: int) -> str:
    """Code that gives each lane its registers: 64 words a lane from the address `initial`, the
    integer ones first."""
    return f"""
    csrr t6, local_id_x; slli t6, t6, 9; li t5, {initial}; add t6, t6, t5
    {"; ".join(f"fld f{i}, {256 + 8 * i}(t6)" for i in range(32))}
    {"; ".join(f"ld x{i}, {8 * i}(t6)" for i in range(1, 32))}
"""


STORE_REGISTERS = f"""
    addi sp, sp, 2040; addi sp, sp, 2040
    {"; ".join(f"sd x{i}, {8 * i}(sp)" for i in range(1, 32) if i != 2)}
    {"; ".join(f"fsd f{i}, {256 + 8 * i}(sp)" for i in range(32))}
    jr zero
"""
"""Code that stores a lane's registers, but for sp, 4080 bytes behind sp, and ends."""
