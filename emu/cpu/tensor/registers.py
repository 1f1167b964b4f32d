"""The tensor registers of a hart, which lie in its state block in the memory form of descriptors.

Emitted code works on the block; Python sees a sequence of `Descriptor`s. What it gets is a copy:
a descriptor that was changed is assigned back, `hart.tr[i] = changed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import overload

from emu.cpu.tensor.descriptor import SIZE, Descriptor


class Registers(Sequence[Descriptor]):
    """A view of `words` (a multiple of 16 64-bit ones, in the host's order) as descriptors."""

    def __init__(self, words: memoryview[int]) -> None:
        self._bytes = words.cast("B")

    def __len__(self) -> int:
        return len(self._bytes) // SIZE

    @overload
    def __getitem__(self, index: int) -> Descriptor: ...
    @overload
    def __getitem__(self, index: slice) -> list[Descriptor]: ...
    def __getitem__(self, index: int | slice) -> Descriptor | list[Descriptor]:
        places = range(len(self))[index]
        if isinstance(places, range):
            return [self[i] for i in places]
        return Descriptor.parse(bytes(self._bytes[places * SIZE : (places + 1) * SIZE]))

    def __setitem__(self, index: int, value: Descriptor) -> None:
        place = range(len(self))[index]
        self._bytes[place * SIZE : (place + 1) * SIZE] = value.encode()
