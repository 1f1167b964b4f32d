"""A small machine for tests of the tensor instructions: flat memory, NumPy arrays in and out.

`Bench` is a hart as `emu.cpu.tensor` sees one. Arrays are placed in its memory with any strides;
`run` loads descriptors, executes one instruction and gives the destination back as an array.
"""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from emu.cpu.tensor import execute
from emu.cpu.tensor.attributes import Attributes
from emu.cpu.tensor.descriptor import BF16, DTYPES, Descriptor, registers
from emu.cpu.tensor.plan import REGIONS, SCRATCH_REGION, Plan
from emu.cpu.tensor.semantics import BINARY
from emu.cpu.traps import Trap

Array = NDArray[np.generic]
BASE, SIZE, PAGE = 0x8000_0000, 1 << 26, 4096
CODES = {d.name: d.code for d in DTYPES.values()}
NUMPY = {
    "f32": np.float32, "f64": np.float64, "f16": np.float16, "bool": np.bool_, "u8": np.uint8,
    "i8": np.int8, "i16": np.int16, "i32": np.int32, "i64": np.int64, "bf16": np.uint16,
}  # fmt: skip
NAMES = {np.dtype(t): name for name, t in NUMPY.items()}


@dataclass
class Ram:
    """Flat host memory in the role of RAM."""

    base: int = BASE
    size: int = SIZE
    buffer: mmap.mmap = field(default_factory=lambda: mmap.mmap(-1, SIZE))

    @property
    def host_address(self) -> int:
        return ctypes.addressof(ctypes.c_char.from_buffer(self.buffer))


class Bench:
    """A hart with memory; `pages` maps virtual pages elsewhere, `forbidden` takes their rights."""

    def __init__(self) -> None:
        self.memory = Ram()
        self.tr = registers()
        self.tcause = self.toperand = self.stall_ps = 0
        self.pages: dict[int, int] = {}
        self.forbidden: dict[tuple[int, str], int] = {}
        self._next = BASE + PAGE

    def mapping(self, vaddr: int, access: str) -> tuple[int, int]:
        """Identity, but for `pages` and `forbidden`."""
        page = vaddr // PAGE
        if cause := self.forbidden.get((page, access)):
            raise Trap(cause, vaddr)
        return self.pages.get(page, page) * PAGE + vaddr % PAGE, PAGE - vaddr % PAGE

    def extent(self, paddr: int, n: int = 1) -> tuple[int, int, int] | None:
        """The RAM, for addresses in it."""
        ram = self.memory
        end = ram.base + ram.size
        inside = ram.base <= paddr and paddr + n <= end
        return (ram.base, end, ram.host_address) if inside else None

    def take(self, size: int, align: int = 1) -> int:
        """Unused guest memory."""
        self._next = -(-self._next // align) * align
        address, self._next = self._next, self._next + size
        assert self._next < BASE + SIZE
        return address

    def write(self, vaddr: int, data: bytes) -> None:
        """Store bytes through the mapping."""
        for i, offset in enumerate(range(-(vaddr % PAGE), len(data), PAGE)):
            start = max(offset, 0)
            end = min(offset + PAGE, len(data))
            page = self.pages.get(vaddr // PAGE + i, vaddr // PAGE + i)
            at = page * PAGE + (vaddr + start) % PAGE - BASE
            self.memory.buffer[at : at + end - start] = data[start:end]

    def read(self, vaddr: int, size: int) -> bytes:
        """Load bytes through the mapping."""
        out = bytearray()
        while len(out) < size:
            at = vaddr + len(out)
            n = min(PAGE - at % PAGE, size - len(out))
            place = self.pages.get(at // PAGE, at // PAGE) * PAGE + at % PAGE - BASE
            out += self.memory.buffer[place : place + n]
        return bytes(out)

    def place(
        self, array: Array, dtype: str | None = None, *, offset: int = 0, address: int | None = None
    ) -> Descriptor:
        """Put an array with its strides (even 0 or negative) into memory."""
        size = array.dtype.itemsize
        low = sum(min(0, (n - 1) * s) for n, s in zip(array.shape, array.strides, strict=True))
        high = sum(max(0, (n - 1) * s) for n, s in zip(array.shape, array.strides, strict=True))
        length = (high - low + size) if array.size else 0
        if address is None:
            address = self.take(length + 64, 64) + offset
        if array.size:
            first = array.__array_interface__["data"][0]
            self.write(address, ctypes.string_at(first + low, length))
        return descriptor(
            address - low, dtype or NAMES[array.dtype], array.shape,
            [s // size for s in array.strides],
        )  # fmt: skip

    def empty(self, shape: tuple[int, ...], dtype: str, **kwargs: int) -> Descriptor:
        """A destination, filled with a pattern that no result equals by chance."""
        filler = np.full(shape, 0x5A, np.uint8).astype(NUMPY[dtype])
        return self.place(np.ascontiguousarray(filler).reshape(shape), dtype, **kwargs)

    def array(self, d: Descriptor) -> Array:
        """The elements a descriptor names."""
        name = DTYPES[d.dtype].name
        dtype = np.dtype(NUMPY[name])
        dims, strides = d.dims[: d.rank], [s * dtype.itemsize for s in d.strides[: d.rank]]
        if 0 in dims:
            return np.zeros(dims, dtype)
        low = sum(min(0, (n - 1) * s) for n, s in zip(dims, strides, strict=True))
        high = sum(max(0, (n - 1) * s) for n, s in zip(dims, strides, strict=True))
        data = np.frombuffer(self.read(d.base + low, high - low + dtype.itemsize), np.uint8)
        view = np.ndarray(dims, dtype, data, -low, strides)  # type: ignore[call-overload]
        return np.array(view)

    def block(self, attributes: Attributes | None) -> int:
        """The guest address of an attribute block."""
        if attributes is None:
            return 0
        address = self.take(128, 128)
        self.write(address, attributes.encode())
        return address

    def execute(
        self,
        mnemonic: str,
        *tensors: Descriptor,
        attributes: Attributes | None = None,
        bias: Descriptor | None = None,
    ) -> None:
        """Execute with descriptors in tr0, tr1, …; the bias goes to tr9."""
        for number, tensor in enumerate(tensors):
            self.tr[number] = tensor
        if bias is not None:
            self.tr[9] = bias
        operands = [*range(len(tensors))]
        if mnemonic not in BINARY:
            operands.append(self.block(attributes))
        execute(self, mnemonic, *operands)

    def name_extras(
        self, attributes: Attributes, extras: Sequence[Array | Descriptor | None]
    ) -> Attributes:
        """Put extra operands into tr9 and up; the attributes that name them."""
        numbers = [0] * (1 + len(attributes.extras))
        for at, extra in enumerate(extras):
            if extra is not None:
                self.tr[9 + at] = extra if isinstance(extra, Descriptor) else self.place(extra)
                numbers[at] = 9 + at + 1
        return replace(attributes, bias=numbers[0], extras=tuple(numbers[1:]))

    def run(
        self,
        mnemonic: str,
        shape: tuple[int, ...],
        dtype: str,
        *sources: Array | Descriptor,
        attributes: Attributes | None = None,
        bias: Array | None = None,
        extras: Sequence[Array | Descriptor | None] = (),
    ) -> Array:
        """Place the sources, execute, and give the destination's elements. `extras` are the extra
        operands that the attribute block names, in tr9 and up; None is left out."""
        if extras:
            attributes = self.name_extras(attributes or Attributes(), extras)
        placed = [s if isinstance(s, Descriptor) else self.place(s) for s in sources]
        target = self.empty(shape, dtype)
        self.execute(
            mnemonic, target, *placed, attributes=attributes,
            bias=None if bias is None else self.place(bias),
        )  # fmt: skip
        return self.array(target)


def descriptor(address: int, dtype: str, dims: tuple[int, ...], strides: list[int]) -> Descriptor:
    """A descriptor; strides in elements."""
    pad = [0] * (8 - len(dims))
    return Descriptor(address, CODES[dtype], len(dims), [*dims, *pad], [*strides, *pad])


def bf16_to_f32(bits: Array) -> NDArray[np.float32]:
    """Elements of dtype bf16, which NumPy does not know, as f32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


_KERNEL = ctypes.CFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


def run_in_parts(plan: Plan, places: Mapping[int, Array], parts: int) -> None:
    """Run a plan over arrays, by region; parallel steps in `parts` parts, one after the other."""
    scratch = np.zeros(plan.scratch + 64, np.uint8)
    bases = [0] * REGIONS
    bases[SCRATCH_REGION] = -(-scratch.ctypes.data // 64) * 64
    for region, array in places.items():
        bases[region] = array.__array_interface__["data"][0]
    for step in plan.steps:
        words = step.words[:]
        for index, region in step.holes:
            words[index] += bases[region]
        run, count = _KERNEL(step.kernel.address), parts if step.parallel else 1
        for part in range(count):
            run(words.buffer_info()[0], part, count)


assert BF16.size == 2
