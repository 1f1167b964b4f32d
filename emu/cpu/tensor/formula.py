"""What one pass over memory computes: an expression, the types it reads, the type it writes.

`elementwise_rows` and `elementwise_tiles` decide where elements come from and go to; here is what
happens to them in between, for any number of lanes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from emu.cpu.tensor.descriptor import DType
from emu.cpu.tensor.emit import Emitter, Type, Value, bits_of, target, vector
from emu.cpu.tensor.expr import Expr, operations
from emu.cpu.tensor.vectors import Arithmetic, compute, convert, narrow, parameters, storage, widen


@dataclass(frozen=True)
class Formula:
    """`expr` over sources of the types `sources`; the outcome is stored as `result`.

    The arithmetic is done in one type, to which the other sources are converted, but for booleans.
    """

    name: str
    expr: Expr
    result: DType
    sources: tuple[DType, ...]

    @property
    def types(self) -> str:
        """The part of a kernel's name that says what it computes on."""
        return " ".join([self.name, *(d.name for d in self.sources), self.result.name])

    @property
    def dtype(self) -> DType:
        """The type of the arithmetic: a float if there is one."""
        numbers = [d for d in self.sources if d.kind != "bool"] or [self.sources[0]]
        return next((d for d in numbers if d.kind == "float"), numbers[0])

    @property
    def lanes(self) -> int:
        """How many elements fill a vector of the widest type in use."""
        widest = max(bits_of(storage(d.compute)) for d in (self.result, self.dtype))
        return target()[0] * 8 // widest

    @property
    def cheap(self) -> bool:
        """Whether it is so little work that a loop should do several vectors at a time."""
        return operations(self.expr) <= 4

    def loaded(self, k: int, lanes: int) -> Type:
        """The LLVM type of source `k` as it stands in memory."""
        return vector(storage(self.sources[k]), lanes)

    def params(self, e: Emitter, lanes: int) -> list[Value]:
        """The words alpha and beta as the arithmetic wants them."""
        if self.dtype.kind == "bool":
            return []
        return parameters(e, self.dtype, vector(compute(self.dtype), lanes), ("alpha", "beta"))

    def value(self, e: Emitter, held: Sequence[Value], params: Sequence[Value]) -> Value:
        """The elements to be stored, from the elements that were loaded."""
        values = [self._operand(e, h, d) for h, d in zip(held, self.sources, strict=True)]
        value = Arithmetic(e, self.dtype).lower(self.expr, values, params)
        compared = value.type != values[self.sources.index(self.dtype)].type  # to booleans already
        value = convert(e, value, self.result if compared else self.dtype, self.result)
        return narrow(e, value, self.result)

    def _operand(self, e: Emitter, held: Value, dtype: DType) -> Value:
        """A source's elements in the type of the arithmetic; booleans as they are."""
        value = widen(e, held, dtype)
        plain = dtype is self.dtype or dtype.kind == "bool"
        return value if plain else convert(e, value, dtype, self.dtype)
