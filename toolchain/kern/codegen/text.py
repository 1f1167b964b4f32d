"""Format strings: the runtime's `Text` collects literal bytes and formatted values.

The values are evaluated before the buffer is chosen, because evaluating one may itself make an
error text. A `Text` is {ptr start; i64 capacity; i64 length} (runtime/text.kern).
"""

from __future__ import annotations

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import FALSE, STR_TYPE, TRUE, Value, int_const
from toolchain.kern.codegen.registry import emits

_STACK_BUFFER = 512


@emits(typed.Format)
def _format(f: FunctionEmitter, node: typed.Format) -> Value:
    if node.into == "stack" and all(isinstance(part, bytes) for part in node.parts):
        literal = b"".join(part for part in node.parts if isinstance(part, bytes))
        return f.module.string(literal[:_STACK_BUFFER])
    values = [None if isinstance(p, bytes) else f.value(p.value) for p in node.parts]
    start, capacity = _buffer(f, node.into)
    text = f.stack(24, 8)
    f.store(start, text, 8)
    f.store(capacity, f.offset(text, 8), 8)
    f.store(int_const(0), f.offset(text, 16), 8)
    for part, value in zip(node.parts, values, strict=True):
        if isinstance(part, bytes):
            f.runtime("text_put", "void", text, f.module.string(part))
        else:
            assert value is not None
            _put(f, text, value, part)
    return f.pack(STR_TYPE, start, f.load("i64", f.offset(text, 16), 8))


def _buffer(f: FunctionEmitter, into: str | typed.Expr) -> tuple[Value, Value]:
    """Address and size of the buffer."""
    if into == "stack":
        return f.stack(_STACK_BUFFER, 1), int_const(_STACK_BUFFER)
    if into == "error":
        buffer = f.runtime("error_buffer", STR_TYPE)
    else:
        assert not isinstance(into, str)
        buffer = f.value(into)
    return f.extract(buffer, 0, "ptr"), f.extract(buffer, 1, "i64")


def _put(f: FunctionEmitter, text: Value, value: Value, part: typed.FormatPart) -> None:
    """Appends one formatted value."""
    spec, type_ = part.spec, part.value.type
    is_text = isinstance(type_, types.Str | types.Slice | types.Bool | types.Enum)
    left = TRUE if (spec.align or ("<" if is_text else ">")) == "<" else FALSE
    shape = (int_const(spec.width), Value("i8 zeroext", str(ord(spec.fill))), _zeroext(left))
    base = int_const(16 if spec.base == "x" else 10)
    match type_:
        case types.Str() | types.Slice():
            f.runtime("text_put_str", "void", text, value, *shape)
        case types.Bool():
            true, false = f.module.string(b"true"), f.module.string(b"false")
            f.runtime("text_put_str", "void", text, f.select(value, true, false), *shape)
        case types.Enum():
            name = f.call(STR_TYPE, f.module.enum_name(type_), value)
            number = f.convert("sext", value, "i64")
            f.runtime("text_put_enum", "void", text, name, number, *shape)
        case types.Ptr() | types.Fn():
            number = f.convert("ptrtoint", value, "i64")
            f.runtime("text_put_ptr", "void", text, number, *shape)
        case types.Float(bits=bits):
            wide = f.convert("fpext", value, "double") if bits == 32 else value
            precision = -1 if spec.precision is None else spec.precision
            f.runtime("text_put_float", "void", text, wide, int_const(precision), *shape)
        case types.Int(bits=bits, signed=signed):
            # hexadecimal shows the bits of the type's own width
            if signed and base.ref == "10":
                f.runtime("text_put_int", "void", text, f.wide(value, type_), *shape)
            else:
                unsigned = f.wide(value, types.Int(bits, False))
                f.runtime("text_put_unsigned", "void", text, unsigned, base, *shape)
        case _:
            raise AssertionError(f"no format for {layout.value_type(type_)}")


def _zeroext(value: Value) -> Value:
    return Value(f"{value.type} zeroext", value.ref)
