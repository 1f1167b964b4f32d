"""Lowering of the operations that are the machine's or LLVM's own.

What takes one instruction that LLVM cannot write becomes a call of a symbol whose name is the
assembly text; the linker makes a leaf routine of it. LLVM knows nothing of such a routine, so
that it keeps their order and lets memory be settled before each.
"""

from __future__ import annotations

from collections.abc import Callable

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import VOID, Value
from toolchain.kern.codegen.registry import emits

_Lowering = Callable[[FunctionEmitter, typed.Intrinsic, list[Value]], Value]


@emits(typed.Intrinsic)
def _intrinsic(f: FunctionEmitter, node: typed.Intrinsic) -> Value:
    arguments = [f.value(a) for a in node.arguments]
    return LOWERINGS[node.name](f, node, arguments)


def _wide(f: FunctionEmitter, value: Value, type_: types.Type) -> Value:
    """A value as it fills a register."""
    return f.wide(value, type_) if isinstance(type_, types.Int) else value


def _assembly(text: str) -> _Lowering:
    """A call of the text; `{}` in it is the intrinsic's immediate."""

    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        callee = f.module.instruction(text.format(*node.immediates), len(arguments))
        wide = [_wide(f, v, a.type) for v, a in zip(arguments, node.arguments, strict=True)]
        result = f.call("i64", callee, *wide)
        return VOID if node.type == types.VOID else result

    return lower


def _llvm(name: str, *extra: str) -> _Lowering:
    """A call of an LLVM intrinsic overloaded by its first operand."""

    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        type_ = layout.value_type(node.type)
        suffix = {"float": "f32", "double": "f64"}.get(type_, type_)
        more = [Value(*text.split()) for text in extra]
        return f.call(type_, f"@llvm.{name}.{suffix}", *arguments, *more)

    return lower


def _void(text: str) -> _Lowering:
    """An instruction of LLVM without operands."""

    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        f.do(text)
        return VOID

    return lower


def _extreme(name: str) -> _Lowering:
    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        if isinstance(node.type, types.Float):
            return _llvm(f"{name}num")(f, node, arguments)
        signed = isinstance(node.type, types.Int) and node.type.signed
        return _llvm(f"{'s' if signed else 'u'}{name}")(f, node, arguments)

    return lower


def _float_bits(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    return f.convert("bitcast", arguments[0], layout.value_type(node.type))


def _atomic(operation: str, unsigned: str = "") -> _Lowering:
    """An atomic read-modify-write that gives the old value; it orders no other access."""

    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        assert isinstance(node.type, types.Int)
        name = operation if node.type.signed or not unsigned else unsigned
        pointer, value = arguments
        align = types.align_of(node.type)
        return f.let(value.type, f"atomicrmw {name} {pointer}, {value} monotonic, align {align}")

    return lower


def _compare_and_swap(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    pointer, expected, new = arguments
    align = types.align_of(node.type)
    pair = f.let(
        f"{{ {new.type}, i1 }}",
        f"cmpxchg {pointer}, {expected}, {new} monotonic monotonic, align {align}",
    )
    return f.extract(pair, 0, new.type)


def _absolute(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    if isinstance(node.type, types.Float):
        return _llvm("fabs")(f, node, arguments)
    return _llvm("abs", "i1 false")(f, node, arguments)


def _mmio_read(bits: int) -> _Lowering:
    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        value = f.load(f"i{bits}", _pointer(f, arguments[0]), bits // 8, volatile=True)
        type_ = layout.value_type(node.type)
        return value if type_ == value.type else f.convert("zext", value, type_)

    return lower


def _mmio_write(bits: int) -> _Lowering:
    def lower(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
        value, type_ = arguments[1], f"i{bits}"
        if value.type != type_:
            narrower = int(value.type[1:]) > bits
            value = f.convert("trunc" if narrower else "zext", value, type_)
        f.store(value, _pointer(f, arguments[0]), bits // 8, volatile=True)
        return VOID

    return lower


def _pointer(f: FunctionEmitter, address: Value) -> Value:
    return address if address.type == "ptr" else f.convert("inttoptr", address, "ptr")


def _volatile_load(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    return f.get(arguments[0], node.type, volatile=True)


def _volatile_store(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    f.put(arguments[1], arguments[0], node.arguments[1].type, volatile=True)
    return VOID


def _unreachable(f: FunctionEmitter, node: typed.Intrinsic, arguments: list[Value]) -> Value:
    """Said to be unreachable; when it is reached all the same, that is told."""
    f.panic("unreachable code was reached")
    return VOID


LOWERINGS: dict[str, _Lowering] = {
    "insn": _assembly("{}"),
    "csr_read": _assembly("csrrs a0, {}, x0"),
    "csr_write": _assembly("csrrw x0, {}, a0"),
    "csr_set": _assembly("csrrs x0, {}, a0"),
    "csr_clear": _assembly("csrrc x0, {}, a0"),
    "csr_swap": _assembly("csrrw a0, {}, a0"),
    "fence": _void("fence seq_cst"),
    "fence_io": _assembly("fence iorw, iorw"),
    "fence_i": _assembly("fence.i"),
    "wfi": _assembly("wfi"),
    "sfence_vma": _assembly("sfence.vma x0, x0"),
    "ebreak": _void("call void @llvm.debugtrap()"),
    "pause": _assembly("pause"),
    "unreachable": _unreachable,
    "ecall": _assembly("mv a7, a0; mv a0, a1; mv a1, a2; ecall"),
    "rdtime": _assembly("csrrs a0, time, x0"),
    "rdcycle": _assembly("csrrs a0, cycle, x0"),
    "rdinstret": _assembly("csrrs a0, instret, x0"),
    "min": _extreme("min"),
    "max": _extreme("max"),
    "abs": _absolute,
    "sqrt": _llvm("sqrt"),
    "floor": _llvm("floor"),
    "ceil": _llvm("ceil"),
    "fma": _llvm("fma"),
    "float_bits": _float_bits,
    "bits_float": _float_bits,
    "volatile_load": _volatile_load,
    "volatile_store": _volatile_store,
    **{f"mmio_read{bits}": _mmio_read(bits) for bits in (8, 16, 32, 64)},
    **{f"mmio_write{bits}": _mmio_write(bits) for bits in (8, 16, 32, 64)},
    **{f"atomic_{name}": _atomic(name) for name in ("add", "and", "or", "xor")},
    "atomic_min": _atomic("min", "umin"),
    "atomic_max": _atomic("max", "umax"),
    "atomic_swap": _atomic("xchg"),
    "atomic_cas": _compare_and_swap,
}
"""How each intrinsic is written, by name; `lanes` adds those of lanes."""
