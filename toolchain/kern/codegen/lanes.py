"""What the lanes of a GPU run, as an LLVM module of its own.

Every `gpu fn` becomes a function of one pointer, its kernarg, into which all that it calls is
inlined, and a constant, its kernel object (docs/gpu.md). Lanes have no panic: a failing check is
an illegal instruction, whose line the debug information knows. Instructions that LLVM cannot
write are calls of symbols named `lane TEXT`; `toolchain.kern.lanes` makes them instructions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from emu.devices.gpu.dispatch import GROUP_BASE, GROUP_BYTES_MAX, KernelObject
from emu.errors import AiosError
from toolchain.kern import typed, types
from toolchain.kern.codegen import constants
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import Value, int_const, symbol
from toolchain.kern.codegen.lane_intrinsics import as_bits, from_bits
from toolchain.kern.codegen.module import ModuleEmitter, kernel_symbol

LANE_PREFIX = "lane "

_MAGIC = int.from_bytes(KernelObject.MAGIC, "little")
_KERNEL = (
    ' nounwind "frame-pointer"="none" "no-jump-tables"="true" "no-builtins"'
    ' "target-cpu"="generic-rv64"'
)
_INLINED = _KERNEL + " alwaysinline"
_UNROLLED = 128
"""Objects of more bytes are copied and cleared in a loop."""
_SCALARS = {"i1", "i8", "i16", "i32", "i64", "float", "double", "ptr"}


class LaneEmitter(FunctionEmitter):
    """A function that lanes run."""

    def panic(self, what: str) -> None:
        """Stops the dispatch: lanes have no one to tell."""
        self._stop()

    def panic_with(self, routine: str, *arguments: Value) -> None:
        """Stops the dispatch."""
        self._stop()

    def panic_saying(self, text: typed.Expr) -> None:
        """Stops the dispatch; the text is not made."""
        self._stop()

    def _stop(self) -> None:
        # nomerge: each failing check keeps a place, and so a source line, of its own
        self.call("void", "@llvm.trap", attributes=" nomerge")
        self.end("unreachable")

    def check_pointer(self, pointer: Value, align: int) -> None:
        """Nothing: a wrong address is a fault by itself, and any alignment is right."""

    def address(self, local: typed.Local) -> Value:
        """The address of a local; of one in group memory, a constant."""
        if not local.group:
            return super().address(local)
        offset = group_offsets(self.function)[local]
        return Value("ptr", f"inttoptr (i64 {GROUP_BASE + offset} to ptr)")

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """One of two values without a branch, for lanes would part at it: by a mask, which an
        empty piece of assembly keeps LLVM from seeing through."""
        if then.type not in _SCALARS:
            return super().select(condition, then, otherwise)
        wide = self.convert("sext", condition, "i64")
        mask = self.let("i64", f'call i64 asm "", "=r,0"({wide})')
        a, b = as_bits(self, then), as_bits(self, otherwise)
        if a.type != "i64":
            mask = self.convert("trunc", mask, a.type)
        both = a if b.ref in ("0", "null") else self.binary("xor", a, b)
        masked = self.binary("and", both, mask)
        chosen = masked if both is a else self.binary("xor", masked, b)
        return from_bits(self, chosen, then.type)

    def copy(self, to: Value, from_: Value, type_: types.Type) -> None:
        """Copies an object in memory, without a call."""
        size, align = types.size_of(type_), types.align_of(type_)
        if size > _UNROLLED:
            self._each_piece(type_, lambda unit, i, width: self.store(
                self.load(unit, self.index(from_, i, width), width),
                self.index(to, i, width), width))  # fmt: skip
            return
        self.do(
            f"call void @llvm.memcpy.inline.p0.p0.i64(ptr align {align} {to.ref},"
            f" ptr align {align} {from_.ref}, i64 {size}, i1 false)"
        )

    def clear(self, address: Value, type_: types.Type) -> None:
        """Makes all bytes of an object zero, without a call."""
        size, align = types.size_of(type_), types.align_of(type_)
        if size > _UNROLLED:
            self._each_piece(type_, lambda unit, i, width: self.store(
                int_const(0, unit), self.index(address, i, width), width))  # fmt: skip
            return
        self.do(
            f"call void @llvm.memset.inline.p0.i64(ptr align {align} {address.ref},"
            f" i8 0, i64 {size}, i1 false)"
        )

    def _each_piece(self, type_: types.Type, act: Callable[[str, Value, int], None]) -> None:
        """A loop over an object by integers of its alignment: their type, number and bytes."""
        width = min(types.align_of(type_), 8)
        pieces = int_const(types.size_of(type_) // width)
        self.count_to(pieces, lambda i: act(f"i{8 * width}", i, width))


def group_offsets(function: typed.Function) -> dict[typed.Local, int]:
    """Where each of a gpu function's locals in group memory lies."""
    offsets: dict[typed.Local, int] = {}
    end = 0
    for local in function.locals:
        if local.group:
            end += -end % max(types.align_of(local.type), 1)
            offsets[local] = end
            end += types.size_of(local.type)
    return offsets


def group_bytes(function: typed.Function) -> int:
    """The group memory that a gpu function's own locals take."""
    ends = [offset + types.size_of(x.type) for x, offset in group_offsets(function).items()]
    return max(ends, default=0)


class LaneModule(ModuleEmitter):
    """The LLVM module of a program's gpu functions and what they call."""

    emitter: ClassVar[type[FunctionEmitter]] = LaneEmitter

    def __init__(self, program: typed.Program, *, optimised: bool) -> None:
        super().__init__(program, optimised=optimised)
        self._used: dict[typed.Global, None] = {}
        kernels = [f for f in program.lanes if f.gpu]
        self._entries = {_entry(f): f for f in kernels}
        self._functions = [*program.lanes, *self._entries]

    def attributes(self, function: typed.Function) -> str:
        """All is inlined into the kernels."""
        return _KERNEL if function in self._entries else _INLINED

    def is_public(self, function: typed.Function) -> bool:
        """Whether it is a kernel, which its object must not lose."""
        return function in self._entries

    def symbol(self, function: typed.Function) -> str:
        """The LLVM name: a gpu function's own is its entry's."""
        return symbol(f"{function.symbol}.body" if function.gpu else function.symbol)

    def variable(self, variable: typed.Global) -> str:
        """The name of a constant in memory, of which this module has a copy."""
        self._used[variable] = None
        return symbol(variable.symbol)

    def instruction(self, text: str, arguments: int) -> str:
        """The routine that stands for assembly text."""
        super().instruction(text, arguments)
        return symbol(LANE_PREFIX + text)

    def _declare_instructions(self) -> None:
        for text, arguments in self._instructions.items():
            parameters = ", ".join(["i64"] * arguments)
            effects = "" if _touches_memory(text) else " memory(inaccessiblemem: readwrite)"
            self._head.append(
                f"declare i64 {symbol(LANE_PREFIX + text)}({parameters})"
                f" nounwind willreturn convergent{effects}"
            )

    def _data(self) -> None:
        for variable in self._used:
            assert variable.initial is not None
            value = constants.constant(self, variable.initial)
            align = max(types.align_of(variable.type), 1)
            self._head.append(
                f"{symbol(variable.symbol)} = internal constant {value}, align {align}"
            )
        for entry, function in self._entries.items():
            self._head.append(self._object(entry, function))

    def _object(self, entry: typed.Function, function: typed.Function) -> str:
        """The kernel object; the sizes of code and private memory are filled in at the end."""
        assert function.kernarg is not None
        if group_bytes(function) > GROUP_BYTES_MAX:
            raise AiosError(
                f"{function.place}: the local memory of '{function.name}' takes"
                f" {group_bytes(function)} bytes; a workgroup has at most {GROUP_BYTES_MAX}."
            )
        name = symbol(kernel_symbol(function))
        distance = f"sub (i64 ptrtoint (ptr {self.symbol(entry)} to i64), i64 ptrtoint"
        words = [
            f"i32 {_MAGIC}", f"i32 {KernelObject.VERSION}",
            f"i64 {distance} (ptr {name} to i64))",
            "i64 0",  # the bytes of code
            f"i32 {types.size_of(function.kernarg)}", f"i32 {group_bytes(function)}",
            "i32 0",  # the bytes of private memory
            "i32 0", "[24 x i8] zeroinitializer",
        ]  # fmt: skip
        kinds = "i32, i32, i64, i64, i32, i32, i32, i32, [24 x i8]"
        return f"{name} = constant {{ {kinds} }} {{ {', '.join(words)} }}, align 64"


def _entry(function: typed.Function) -> typed.Function:
    """The function that a dispatch starts: it reads the kernarg and calls the gpu function."""
    assert function.kernarg is not None
    place = function.place
    struct = function.kernarg
    kernarg = typed.Local("kernarg", types.Ptr(struct), place, hidden=True, parameter=True)
    pointer = typed.Load(kernarg.type, place, typed.LocalVar(kernarg.type, place, kernarg))
    block = typed.Deref(struct, place, pointer, checked=False)
    arguments = tuple(
        typed.Load(f.type, place, typed.FieldOf(f.type, place, block, i))
        for i, f in enumerate(struct.fields)
    )
    call = typed.Evaluate(place, typed.Call(types.VOID, place, function, arguments))
    entry = typed.Function(
        function.name, function.module, function.symbol, (kernarg,), types.VOID, place, True
    )
    entry.body = typed.Block(place, (call,), place)
    return entry


def _touches_memory(text: str) -> bool:
    """Whether the lanes' memory may be another after an instruction: a barrier lets others go on,
    tensor instructions load and store."""
    return not text.startswith(("vote", "shfl"))
