"""Words for writing a kernel's LLVM IR: vectors of a run-time-free width, loops, masks, parameters.

A *kernel* is one function `kernel(ptr, part, parts)`; the pointer leads to its **parameter block**,
64-bit words whose names a `Block` declares once: Python fills them by name, the emitter reads them
by name. A kernel that can do so does one `part` of `parts` equal ones; it gives 0, or 1 for a check
that failed.

    block = Block("dst src count dims:8")
    e = Emitter(block)
    with e.loop(0, e.word("count"), 16) as at: ...

`lanes` is a number known while emitting; a vector of one lane is a plain scalar, so the same code
writes both. Loops are in SSA form from the start (values they change are *carried*), so that the
optimiser has little to do and kernels compile in milliseconds. Offsets and strides are in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from llvmlite import binding, ir

from emu.cpu.jit import host_architecture

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
HALF, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
POINTER = ir.PointerType()

Value = Any
"""An llvmlite value (llvmlite ships no types)."""
Type = Any
"""An llvmlite type."""


@cache
def target() -> tuple[int, int]:
    """The host's vector registers: (bytes in one, how many). The lowering's only knob."""
    features = binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64, 32
    if features.get("avx2"):
        return 32, 16
    return 16, 32 if features.get("neon") else 16


class Block:
    """The names of a parameter block's words: 'name' is one word, 'name:8' is eight."""

    def __init__(self, names: str) -> None:
        self.index: dict[str, int] = {}
        self.size = 0
        for name in names.split():
            name, _, count = name.partition(":")
            if name in self.index:
                raise ValueError(f"the parameter '{name}' is declared twice")
            self.index[name] = self.size
            self.size += int(count or 1)


def vector(element: Type, lanes: int) -> Type:
    """The type of `lanes` elements; the element itself when there is one lane."""
    return element if lanes == 1 else ir.VectorType(element, lanes)


def element_of(type_: Type) -> Type:
    """The type of one lane."""
    return type_.element if isinstance(type_, ir.VectorType) else type_


def lanes_of(type_: Type) -> int:
    """How many lanes a type has."""
    return int(type_.count) if isinstance(type_, ir.VectorType) else 1


def like(type_: Type, element: Type) -> Type:
    """`element` in as many lanes as `type_` has."""
    return vector(element, lanes_of(type_))


def bits_of(type_: Type) -> int:
    """Width of one lane in bits."""
    element = element_of(type_)
    if isinstance(element, ir.IntType):
        return int(element.width)
    return {"half": 16, "float": 32, "double": 64}[str(element)]


def is_float(type_: Type) -> bool:
    """Whether the lanes are floating-point numbers."""
    return not isinstance(element_of(type_), ir.IntType)


class Loop:
    """A loop while its body is being written: `index`, the carried `values`, and `next`."""

    def __init__(self, index: Value, values: list[Value]) -> None:
        self.index, self.values = index, values
        self.following: list[Value] = list(values)

    def next(self, *values: Value) -> None:
        """Give the carried values for the next iteration."""
        self.following = list(values)


class Emitter:
    """Writes one kernel. `b` is llvmlite's builder, for plain arithmetic."""

    def __init__(self, block: Block) -> None:
        self.block = block
        self.module = ir.Module("kernel")
        self.function = ir.Function(
            self.module, ir.FunctionType(I64, [POINTER, I64, I64]), "kernel"
        )
        self.part, self.parts = self.function.args[1:]
        self.b = ir.IRBuilder(self.function.append_basic_block("entry"))

    def finish(self) -> str:
        """End the function; the module's text."""
        self.b.ret(self.const(I64, 0))
        return str(self.module)

    def fail_if(self, condition: Value) -> None:
        """Return 1 if `condition` (i1): what was looked at is not as it must be."""
        with self.b.if_then(condition):
            self.b.ret(self.const(I64, 1))

    @contextmanager
    def subroutine(self, name: str, *types: Type) -> Iterator[Any]:
        """Write another function of the module: what is emitted inside the `with` is its body.

        Gives the function, whose arguments are the parameter block and values of `types`, to be
        called with `self.call`. A large loop body on its own keeps its registers to itself.
        """
        outer = self.function, self.b
        kind = ir.FunctionType(ir.VoidType(), [POINTER, *types])
        function = ir.Function(self.module, kind, name)
        function.linkage = "internal"
        function.attributes.add("noinline")
        self.function, self.b = function, ir.IRBuilder(function.append_basic_block("entry"))
        yield function
        self.b.ret_void()
        self.function, self.b = outer

    def call(self, function: Any, *values: Value) -> None:
        """Call a subroutine."""
        self.b.call(function, [self.function.args[0], *values])

    # parameters and constants

    def word(self, name: str, index: Value | int = 0) -> Value:
        """A word of the parameter block, as i64; `index` counts within 'name:n'."""
        first = self.block.index[name]
        if isinstance(index, int):
            place = self.const(I64, (first + index) * 8)
        else:
            place = self.b.add(self.b.shl(index, self.const(I64, 3)), self.const(I64, first * 8))
        return self.b.load(self.offset(self.function.args[0], place), typ=I64, align=8)

    def pointer(self, name: str) -> Value:
        """A word of the parameter block that holds a place."""
        return self.b.inttoptr(self.word(name), POINTER)

    def number(self, name: str, type_: Type) -> Value:
        """A word that holds the bits of an f64, converted to `type_` in every lane."""
        element = element_of(type_)
        value = self.b.bitcast(self.word(name), F64)
        if element == F32:
            value = self.b.fptrunc(value, F32)
        elif isinstance(element, ir.IntType):
            value = self.intrinsic(f"llvm.fptosi.sat.{element}.f64", element, value, suffix=False)
        return self.splat(value, lanes_of(type_))

    def const(self, type_: Type, value: float) -> Value:
        """A constant in every lane."""
        if not is_float(type_):
            value = int(value)
        if isinstance(type_, ir.VectorType):
            return ir.Constant(type_, [ir.Constant(type_.element, value)] * type_.count)
        return ir.Constant(type_, value)

    def iota(self, element: Type, lanes: int) -> Value:
        """0, 1, 2, … in the lanes."""
        if lanes == 1:
            return self.const(element, 0)
        return ir.Constant(
            vector(element, lanes), [ir.Constant(element, lane) for lane in range(lanes)]
        )

    def splat(self, value: Value, lanes: int) -> Value:
        """A scalar in every lane."""
        if lanes == 1:
            return value
        type_ = vector(value.type, lanes)
        one = self.b.insert_element(ir.Constant(type_, ir.Undefined), value, self.const(I32, 0))
        return self.b.shuffle_vector(
            one, ir.Constant(type_, ir.Undefined), self.const(vector(I32, lanes), 0)
        )

    def shuffle(self, x: Value, y: Value, picks: Sequence[int]) -> Value:
        """The lanes of `x`, followed by those of `y`, that `picks` names by number."""
        lanes = ir.Constant(vector(I32, len(picks)), [ir.Constant(I32, pick) for pick in picks])
        return self.b.shuffle_vector(x, y, lanes)

    def intrinsic(
        self,
        name: str,
        result: Type,
        *args: Value,
        suffix: bool = True,
        flags: Sequence[str] = (),
    ) -> Value:
        """Call an LLVM intrinsic, by default the overload for `result`'s type; `flags` are
        fast-math flags."""
        if suffix:
            name = f"{name}.{mangled(result)}"
        function = self.module.globals.get(name)
        if function is None:
            kind = ir.FunctionType(result, [a.type for a in args])
            function = ir.Function(self.module, kind, name)
        return self.b.call(function, args, fastmath=flags)

    def fma(self, x: Value, y: Value, z: Value) -> Value:
        """x * y + z: rounded once for floats, wrapping for integers."""
        if is_float(x.type):
            return self.intrinsic("llvm.fma", x.type, x, y, z)
        return self.b.add(self.b.mul(x, y), z)

    # memory

    def offset(self, pointer: Value, offset: Value | int) -> Value:
        """`pointer` moved by bytes."""
        if isinstance(offset, int):
            offset = self.const(I64, offset)
        return self.b.gep(pointer, [offset], source_etype=I8)

    def local(self, size: int) -> Value:
        """`size` bytes on the stack, aligned to a cache line, taken when the kernel starts."""
        with self.b.goto_entry_block():
            place = self.b.alloca(ir.ArrayType(I8, size))
        place.align = 64
        place.type = POINTER  # llvmlite still gives it the type of a typed pointer
        return place

    def mask_below(self, count: Value, lanes: int) -> Value:
        """Lanes whose index is below `count` (an i64)."""
        if lanes == 1:
            return self.b.icmp_signed(">", count, self.const(I64, 0))
        limit = self.b.trunc(self.intrinsic("llvm.smin", I64, count, self.const(I64, lanes)), I32)
        return self.b.icmp_signed("<", self.iota(I32, lanes), self.splat(limit, lanes))

    def load(self, pointer: Value, type_: Type, mask: Value | None = None) -> Value:
        """Load adjacent elements, of any alignment; lanes outside `mask` are 0 and not touched."""
        if mask is None:
            return self.b.load(pointer, typ=type_, align=1)
        if not isinstance(type_, ir.VectorType):
            with self.branch(mask, [self.const(type_, 0)]) as taken:
                taken.next(self.b.load(pointer, typ=type_, align=1))
            return taken.values[0]
        return self.intrinsic(
            f"llvm.masked.load.{mangled(type_)}.p0", type_,
            pointer, self.const(I32, 1), mask, self.const(type_, 0), suffix=False,
        )  # fmt: skip

    def store(self, value: Value, pointer: Value, mask: Value | None = None) -> None:
        """Store adjacent elements, of any alignment; lanes outside `mask` are not touched."""
        if mask is None:
            self.b.store(value, pointer, align=1)
        elif isinstance(value.type, ir.VectorType):
            self.intrinsic(
                f"llvm.masked.store.{mangled(value.type)}.p0", ir.VoidType(),
                value, pointer, self.const(I32, 1), mask, suffix=False,
            )  # fmt: skip
        else:
            with self.b.if_then(mask):
                self.b.store(value, pointer, align=1)

    def stream(self, value: Value, pointer: Value) -> None:
        """Store past the caches; the place must be aligned to the value's size. `drain` follows."""
        store = self.b.store(value, pointer, align=lanes_of(value.type) * bits_of(value.type) // 8)
        store.set_metadata("nontemporal", self.module.add_metadata([self.const(I32, 1)]))

    def drain(self) -> None:
        """Make what was streamed visible to other threads before anything stored later."""
        if host_architecture() == "x86_64":
            self.intrinsic("llvm.x86.sse.sfence", ir.VoidType(), suffix=False)

    def prefetch(self, pointer: Value, *, write: bool = False) -> None:
        """Bring a cache line near that will be read (or written) soon; any address will do."""
        hints = [self.const(I32, hint) for hint in (int(write), 3, 1)]
        self.intrinsic("llvm.prefetch.p0", ir.VoidType(), pointer, *hints, suffix=False)

    def gather(self, base: Value, offsets: Value, element: Type, mask: Value) -> Value:
        """Load the elements at `base` + `offsets` (bytes, i64 lanes); 0 outside `mask`."""
        lanes = lanes_of(offsets.type)
        if lanes == 1:
            return self.load(self.offset(base, offsets), element, mask)
        pointers = self.b.gep(base, [offsets], source_etype=I8)
        # llvmlite types a gep by its base; LLVM's result has the lanes of the offsets
        pointers.type = ir.VectorType(POINTER, lanes)
        type_ = vector(element, lanes)
        return self.intrinsic(
            f"llvm.masked.gather.{mangled(type_)}.v{lanes}p0", type_,
            pointers, self.const(I32, 1), mask, self.const(type_, 0), suffix=False,
        )  # fmt: skip

    # control

    @contextmanager
    def loop(
        self, start: Value | int, stop: Value, step: Value | int = 1, carry: Sequence[Value] = ()
    ) -> Iterator[Loop]:
        """for (index = start; index < stop; index += step), signed i64.

        After the `with`, `values` hold what the last iteration left.
        """
        start = self.const(I64, start) if isinstance(start, int) else start
        step = self.const(I64, step) if isinstance(step, int) else step
        before = self.b.block
        head, body, after = (self.function.append_basic_block(n) for n in ("head", "do", "done"))
        self.b.branch(head)
        self.b.position_at_end(head)
        index = self.b.phi(I64)
        phis = [self.b.phi(value.type) for value in carry]
        self.b.cbranch(self.b.icmp_signed("<", index, stop), body, after)
        self.b.position_at_end(body)
        loop = Loop(index, list(phis))
        yield loop
        following = self.b.add(index, step)
        for phi, first, later in zip(
            [index, *phis], [start, *carry], [following, *loop.following], strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(later, self.b.block)
        self.b.branch(head)
        self.b.position_at_end(after)
        loop.values = list(phis)

    @contextmanager
    def branch(self, condition: Value, otherwise: Sequence[Value]) -> Iterator[Loop]:
        """Code for when `condition` (i1) holds; it changes values that are `otherwise` else."""
        before = self.b.block
        then, after = (self.function.append_basic_block(n) for n in ("then", "join"))
        self.b.cbranch(condition, then, after)
        self.b.position_at_end(then)
        result = Loop(None, list(otherwise))
        yield result
        last = self.b.block
        self.b.branch(after)
        self.b.position_at_end(after)
        result.values = []
        for value, old in zip(result.following, otherwise, strict=True):
            phi = self.b.phi(old.type)
            phi.add_incoming(old, before)
            phi.add_incoming(value, last)
            result.values.append(phi)

    @contextmanager
    def walk(
        self, rank: str, dims: str, strides: Sequence[str], pointers: Sequence[Value]
    ) -> Iterator[list[Value]]:
        """Visit every index of a space of run-time rank, dimension 0 the fastest.

        `rank` names the word with the rank (0 to 8), `dims` the words with the extents (all
        positive), `strides` for each pointer the words with its strides in bytes. The body sees
        the moved pointers.
        """
        b = self.b
        counters = self.local(64)
        for d in range(8):
            b.store(self.const(I64, 0), self.offset(counters, d * 8), align=8)
        limit, before = self.word(rank), b.block
        body, carry, step, wrap, after = (
            self.function.append_basic_block(n) for n in ("visit", "carry", "step", "wrap", "end")
        )
        b.branch(body)
        b.position_at_end(body)
        here = [b.phi(POINTER) for _ in pointers]
        yield list(here)
        last = b.block
        b.branch(carry)
        b.position_at_end(carry)  # move one step in dimension d, unless there is none left
        d = b.phi(I64)
        moving = [b.phi(POINTER) for _ in pointers]
        b.cbranch(b.icmp_signed("<", d, limit), step, after)
        b.position_at_end(step)
        place = self.offset(counters, b.shl(d, self.const(I64, 3)))
        count = b.add(b.load(place, typ=I64, align=8), self.const(I64, 1))
        extent = self.word(dims, d)
        stepped = [self.offset(p, self.word(s, d)) for p, s in zip(moving, strides, strict=True)]
        b.store(count, place, align=8)
        b.cbranch(b.icmp_signed("<", count, extent), body, wrap)
        b.position_at_end(wrap)  # dimension d is through: back to its start, on to the next
        b.store(self.const(I64, 0), place, align=8)
        back = [
            self.offset(p, b.neg(b.mul(extent, self.word(s, d))))
            for p, s in zip(stepped, strides, strict=True)
        ]
        d_next = b.add(d, self.const(I64, 1))
        b.branch(carry)
        for phi, first, moved in zip(here, pointers, stepped, strict=True):
            phi.add_incoming(first, before)
            phi.add_incoming(moved, step)
        for phi, visited, wrapped in zip(moving, here, back, strict=True):
            phi.add_incoming(visited, last)
            phi.add_incoming(wrapped, wrap)
        d.add_incoming(self.const(I64, 0), last)
        d.add_incoming(d_next, wrap)
        b.position_at_end(after)


def mangled(type_: Type) -> str:
    """A type as it stands in the names of LLVM's intrinsics, such as v16f32."""
    element = element_of(type_)
    name = f"i{element.width}" if isinstance(element, ir.IntType) else f"f{bits_of(element)}"
    lanes = lanes_of(type_)
    return name if lanes == 1 else f"v{lanes}{name}"
