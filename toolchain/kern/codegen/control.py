"""Statements, calls and what else decides where the program goes."""

from __future__ import annotations

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import NULL, VOID, Value
from toolchain.kern.codegen.registry import emits, emits_into, executes


@executes(typed.Block)
def _block(f: FunctionEmitter, node: typed.Block) -> None:
    f.open_scope(node.place)
    for statement in node.body:
        f.execute(statement)
    f.close_scope()


@executes(typed.Let)
def _let(f: FunctionEmitter, node: typed.Let) -> None:
    f.declare(node.local)
    f.value_into(node.value, f.address(node.local))


@executes(typed.Store)
def _store(f: FunctionEmitter, node: typed.Store) -> None:
    target = f.locate(node.target)
    if isinstance(node.value, typed.Zero | typed.Load):
        f.value_into(node.value, target)
    else:
        # a value in memory is made apart first: it may depend on what it replaces
        value = f.value(node.value)
        if value != VOID:
            f.put(value, target, node.target.type)


@executes(typed.Evaluate)
def _evaluate(f: FunctionEmitter, node: typed.Evaluate) -> None:
    f.value(node.value)


@executes(typed.If)
def _if(f: FunctionEmitter, node: typed.If) -> None:
    then, done = f.label("then"), f.label("endif")
    otherwise = f.label("else") if node.otherwise else done
    f.branch(f.value(node.condition), then, otherwise)
    f.enter(then)
    f.execute(node.then)
    if node.otherwise:
        if not f.terminated:
            f.jump(done)
        f.enter(otherwise)
        f.execute(node.otherwise)
    f.enter(done)


@executes(typed.Loop)
def _loop(f: FunctionEmitter, node: typed.Loop) -> None:
    head, step, done = f.label("loop"), f.label("step"), f.label("endloop")
    f.enter(head)
    if node.condition is not None:
        body = f.label("body")
        f.branch(f.value(node.condition), body, done)
        f.enter(body)
    f.loops.append((step, done))
    f.execute(node.body)
    f.loops.pop()
    f.enter(step)
    for statement in node.step:
        f.execute(statement)
    f.jump(head)
    f.enter(done)


@executes(typed.Break)
def _break(f: FunctionEmitter, node: typed.Break) -> None:
    f.jump(f.loops[-1][1])


@executes(typed.Continue)
def _continue(f: FunctionEmitter, node: typed.Continue) -> None:
    f.jump(f.loops[-1][0])


@executes(typed.Return)
def _return(f: FunctionEmitter, node: typed.Return) -> None:
    if node.value is None:
        f.end("ret void")
    elif f.returned is not None:
        f.value_into(node.value, f.returned)
        f.end("ret void")
    else:
        value = f.value(node.value)
        f.end("ret void" if value == VOID else f"ret {value}")


@executes(typed.Switch)
def _switch(f: FunctionEmitter, node: typed.Switch) -> None:
    value = f.value(node.value)
    done, default = f.label("endmatch"), f.label("default")
    labels = [f.label("case") for _ in node.cases]
    arms = " ".join(
        f"{value.type} {constant}, label %{label}"
        for (constants, _), label in zip(node.cases, labels, strict=True)
        for constant in constants
    )
    f.end(f"switch {value}, label %{default} [ {arms} ]")
    for (_, block), label in zip(node.cases, labels, strict=True):
        f.enter(label)
        f.execute(block)
        if not f.terminated:
            f.jump(done)
    f.enter(default)
    if node.default is None:
        kind = "sext" if layout.extension(node.value.type) == "signext " else "zext"
        wide = value if value.type == "i64" else f.convert(kind, value, "i64")
        f.panic_with("panic_no_case", wide)
    else:
        f.execute(node.default)
    f.enter(done)


# ── Calls ────────────────────────────────────────────────────────────────────────────────────


def _arguments(f: FunctionEmitter, arguments: tuple[typed.Expr, ...]) -> list[Value]:
    """The arguments in order; those in memory are copies of the callee's own."""
    values = []
    for argument in arguments:
        if layout.in_memory(argument.type):
            copy = f.object(argument.type)
            f.value_into(argument, copy)
            values.append(copy)
        else:
            value = f.value(argument)
            values.append(Value(value.type + " " + layout.extension(argument.type), value.ref))
    return values


def _call(f: FunctionEmitter, callee: str, type_: types.Fn, arguments: list[Value]) -> Value:
    result = layout.extension(type_.result) + layout.value_type(type_.result)
    if type_.result != types.NEVER:
        return f.call(result, callee, *arguments)
    f.call("void", callee, *arguments, attributes=" noreturn")
    f.end("unreachable")
    return VOID


@emits(typed.Call)
def _call_value(f: FunctionEmitter, node: typed.Call) -> Value:
    callee = f.module.symbol(node.function)
    return _call(f, callee, node.function.type, _arguments(f, node.arguments))


@emits_into(typed.Call)
def _call_into(f: FunctionEmitter, node: typed.Call, to: Value) -> None:
    arguments = _arguments(f, node.arguments)
    f.call("void", f.module.symbol(node.function), to, *arguments)


def _target(f: FunctionEmitter, function: typed.Expr) -> str:
    pointer = f.value(function)
    bad = f.compare("icmp eq", pointer, NULL)
    f.guard(bad, lambda: f.panic("call of a null function"))
    return pointer.ref


@emits(typed.CallPointer)
def _call_pointer(f: FunctionEmitter, node: typed.CallPointer) -> Value:
    assert isinstance(node.function.type, types.Fn)
    callee = _target(f, node.function)
    return _call(f, callee, node.function.type, _arguments(f, node.arguments))


@emits_into(typed.CallPointer)
def _call_pointer_into(f: FunctionEmitter, node: typed.CallPointer, to: Value) -> None:
    callee = _target(f, node.function)
    f.call("void", callee, to, *_arguments(f, node.arguments))


@emits(typed.Seq)
def _seq(f: FunctionEmitter, node: typed.Seq) -> Value:
    f.open_scope(node.place)
    for statement in node.body:
        f.execute(statement)
    f.close_scope()
    return VOID if node.value is None else f.value(node.value)


@emits_into(typed.Seq)
def _seq_into(f: FunctionEmitter, node: typed.Seq, to: Value) -> None:
    f.open_scope(node.place)
    for statement in node.body:
        f.execute(statement)
    f.close_scope()
    assert node.value is not None
    f.value_into(node.value, to)


@emits(typed.Panic)
def _panic(f: FunctionEmitter, node: typed.Panic) -> Value:
    f.panic_saying(node.text)
    return VOID


# ── Results ──────────────────────────────────────────────────────────────────────────────────


def _error_of(f: FunctionEmitter, result: typed.Expr) -> Value:
    """The error text of a result, null when it is none."""
    value = f.value(result)
    if layout.in_memory(result.type):
        return f.get(value, types.STR)
    return f.extract(value, 0, layout.memory_type(types.STR))


@emits(typed.Ok)
def _ok(f: FunctionEmitter, node: typed.Ok) -> Value:
    type_ = layout.memory_type(node.type)
    if node.value is None:
        return Value(type_, "zeroinitializer")
    value = f.to_memory(f.value(node.value), node.value.type)
    return f.let(type_, f"insertvalue {type_} zeroinitializer, {value}, 1")


@emits_into(typed.Ok)
def _ok_into(f: FunctionEmitter, node: typed.Ok, to: Value) -> None:
    assert node.value is not None
    f.clear(to, types.STR)
    f.value_into(node.value, f.offset(to, types.offset_of(node.type, 1)))


def _error_text(f: FunctionEmitter, text: typed.Expr) -> Value:
    """The text of an error, its pointer not null even when it is empty."""
    value = f.value(text)
    pointer = f.extract(value, 0, "ptr")
    empty = f.extract(f.module.string(b""), 0, "ptr")
    real = f.select(f.compare("icmp eq", pointer, NULL), empty, pointer)
    return f.let(value.type, f"insertvalue {value}, {real}, 0")


@emits(typed.Err)
def _err(f: FunctionEmitter, node: typed.Err) -> Value:
    type_ = layout.memory_type(node.type)
    return f.let(type_, f"insertvalue {type_} zeroinitializer, {_error_text(f, node.text)}, 0")


@emits_into(typed.Err)
def _err_into(f: FunctionEmitter, node: typed.Err, to: Value) -> None:
    text = _error_text(f, node.text)
    f.clear(to, node.type)
    f.put(text, to, types.STR)


@emits(typed.IsError)
def _is_error(f: FunctionEmitter, node: typed.IsError) -> Value:
    return f.compare("icmp ne", f.extract(_error_of(f, node.result), 0, "ptr"), NULL)


@emits(typed.ErrorText)
def _error(f: FunctionEmitter, node: typed.ErrorText) -> Value:
    return _error_of(f, node.result)


@emits(typed.ResultValue)
def _result_value(f: FunctionEmitter, node: typed.ResultValue) -> Value:
    value = f.value(node.result)
    if node.type == types.VOID:
        return VOID
    memory = f.extract(value, 1, layout.memory_type(node.type))
    return f.from_memory(memory, node.type)


@emits_into(typed.ResultValue)
def _result_value_into(f: FunctionEmitter, node: typed.ResultValue, to: Value) -> None:
    value = f.value(node.result)
    f.copy(to, f.offset(value, types.offset_of(node.result.type, 1)), node.type)
