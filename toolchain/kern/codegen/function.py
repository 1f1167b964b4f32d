"""Writing one function: its locals, its scopes for the debugger, its checks.

`FunctionEmitter` is what every emitter gets. It adds to `Body` what belongs to Kern: the values of
typed-tree nodes, source locations, the texts of panics. The emitters themselves stand in the
other modules of this package, by subject.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from toolchain.kern import typed, types
from toolchain.kern.codegen import layout
from toolchain.kern.codegen.ir import NULL, VOID, Body, Value, int_const
from toolchain.kern.codegen.registry import INTO, STATEMENTS, VALUES
from toolchain.kern.diagnostics import Place

if TYPE_CHECKING:
    from toolchain.kern.codegen.module import ModuleEmitter

_POINTER_SIZE = 8


class FunctionEmitter(Body):
    """The function being written."""

    def __init__(self, module: ModuleEmitter, function: typed.Function) -> None:
        super().__init__()
        self.module = module
        self.function = function
        self.returned: Value | None = None  # where an in-memory result goes
        self.loops: list[tuple[str, str]] = []  # labels for continue and break
        self._addresses: dict[typed.Local, Value] = {}
        self._debug = module.debug
        self._subprogram = self._debug.subprogram(function)
        self._scopes: list[tuple[Place, str | None]] = [(function.place, self._subprogram)]
        self._place = function.place
        self._at(function.place)

    def emit(self) -> list[str]:
        """The lines of the whole function."""
        function = self.function
        header = self.module.prototype(function, names=True)
        if layout.in_memory(function.result):
            self.returned = Value("ptr", "%result")
        for number, parameter in enumerate(function.parameters):
            self._bind_parameter(number, parameter)
        assert function.body is not None
        self.execute(function.body)
        if not self.terminated:
            self._at(function.end or function.place)
            self.end("ret void" if function.result == types.VOID else "unreachable")
        linkage = "" if self.module.is_public(function) else "internal "
        attributes = self.module.attributes(function)
        return [
            f"define {linkage}{header}{attributes} !dbg {self._subprogram} {{",
            *self.lines(),
            "}",
        ]

    def _bind_parameter(self, number: int, parameter: typed.Local) -> None:
        """Gives a parameter its stack object; one in memory already lies in the caller's copy,
        whose address is kept for the debugger: the register it came in is soon used again."""
        incoming = Value(layout.value_type(parameter.type), f"%p{number}")
        if layout.in_memory(parameter.type):
            self._addresses[parameter] = incoming
            pointer = self.stack(_POINTER_SIZE, _POINTER_SIZE)
            self.store(incoming, pointer, _POINTER_SIZE)
            self._declare(parameter, number + 1, pointer)
        else:
            self.put(incoming, self.address(parameter), parameter.type)
            self._declare(parameter, number + 1)

    # ── Nodes of the typed tree ──────────────────────────────────────────────────────────────

    def value(self, expression: typed.Expr) -> Value:
        """The value of an expression; for one in memory, an address to be read at once."""
        if layout.in_memory(expression.type) and not isinstance(expression, typed.Load):
            address = self.object(expression.type)
            self.value_into(expression, address)
            return address
        return self._within(expression.place, VALUES[type(expression)], expression)

    def value_into(self, expression: typed.Expr, address: Value) -> None:
        """Writes the value of an expression to an object that it does not depend on."""
        if layout.in_memory(expression.type):
            saved = self._place
            self._at(expression.place)
            INTO[type(expression)](self, expression, address)
            self._at(saved)
        else:
            value = self.value(expression)
            if value != VOID:
                self.put(value, address, expression.type)

    def locate(self, lvalue: typed.Lvalue) -> Value:
        """The address of an object."""
        return self._within(lvalue.place, VALUES[type(lvalue)], lvalue)

    def execute(self, statement: typed.Stmt) -> None:
        """Writes a statement."""
        saved = self._place
        self._at(statement.place)
        STATEMENTS[type(statement)](self, statement)
        self._at(saved)

    def _within(
        self,
        place: Place,
        emitter: Callable[[FunctionEmitter, typed.Expr | typed.Lvalue], Value],
        node: typed.Expr | typed.Lvalue,
    ) -> Value:
        saved = self._place
        self._at(place)
        value = emitter(self, node)
        self._at(saved)
        return value

    # ── Objects ──────────────────────────────────────────────────────────────────────────────

    def object(self, type_: types.Type) -> Value:
        """The address of a fresh stack object for a value of the type."""
        if layout.in_memory(type_):
            return self.stack(types.size_of(type_), types.align_of(type_))
        return self.stack_of(layout.memory_type(type_), max(1, types.align_of(type_)))

    def address(self, local: typed.Local) -> Value:
        """The address of a local's stack object."""
        if local not in self._addresses:
            self._addresses[local] = self.object(local.type)
        return self._addresses[local]

    def get(self, address: Value, type_: types.Type, *, volatile: bool = False) -> Value:
        """The value in an object (itself, for a type in memory)."""
        if layout.in_memory(type_):
            return address
        memory = layout.memory_type(type_)
        loaded = self.load(memory, address, types.align_of(type_), volatile=volatile)
        return self.from_memory(loaded, type_)

    def put(
        self, value: Value, address: Value, type_: types.Type, *, volatile: bool = False
    ) -> None:
        """Puts a value in an object; one in memory is copied."""
        if layout.in_memory(type_):
            self.copy(address, value, type_)
        else:
            stored = self.to_memory(value, type_)
            self.store(stored, address, types.align_of(type_), volatile=volatile)

    def to_memory(self, value: Value, type_: types.Type) -> Value:
        """A first-class value as objects hold it: a bool becomes a byte."""
        return self.convert("zext", value, "i8") if type_ == types.BOOL else value

    def from_memory(self, value: Value, type_: types.Type) -> Value:
        """The inverse of `to_memory`."""
        return self.convert("trunc", value, "i1") if type_ == types.BOOL else value

    def copy(self, to: Value, from_: Value, type_: types.Type) -> None:
        """Copies an object in memory."""
        size, align = types.size_of(type_), types.align_of(type_)
        self.do(
            f"call void @llvm.memmove.p0.p0.i64(ptr align {align} {to.ref},"
            f" ptr align {align} {from_.ref}, i64 {size}, i1 false)"
        )

    def clear(self, address: Value, type_: types.Type) -> None:
        """Makes all bytes of an object zero."""
        size, align = types.size_of(type_), types.align_of(type_)
        self.do(
            f"call void @llvm.memset.p0.i64(ptr align {align} {address.ref},"
            f" i8 0, i64 {size}, i1 false)"
        )

    # ── Scopes and places ────────────────────────────────────────────────────────────────────

    def _at(self, place: Place) -> None:
        """Makes `place` the source location of what follows."""
        self._place = place
        self.location = f", !dbg {self._debug.location(place, self._scope())}"

    def _scope(self) -> str:
        """The debugger's scope; a block gets one of its own when it first declares a local."""
        return next(scope for _, scope in reversed(self._scopes) if scope is not None)

    def open_scope(self, place: Place) -> None:
        """Begins a block of the source."""
        self._scopes.append((place, None))

    def close_scope(self) -> None:
        """Ends the innermost block of the source."""
        self._scopes.pop()
        self._at(self._place)

    def declare(self, local: typed.Local) -> None:
        """Tells the debugger of a local, where it is first bound."""
        if local.hidden or local in self._addresses:
            return
        place, scope = self._scopes[-1]
        if scope is None:
            scope = self._debug.lexical_block(self._scope(), place)
            self._scopes[-1] = (place, scope)
            self._at(self._place)
        self._declare(local, 0)

    def _declare(self, local: typed.Local, number: int, pointer: Value | None = None) -> None:
        """The debug record of a local that lies at its address, or where `pointer` points."""
        address = pointer or self.address(local)
        expression = "!DIExpression(DW_OP_deref)" if pointer else "!DIExpression()"
        if local.hidden:
            return
        node = self._debug.local(local, self._scope(), number)
        at = self._debug.location(local.place, self._scope())
        self.record(f"#dbg_declare({address}, {node}, {expression}, {at})")

    # ── Checks ───────────────────────────────────────────────────────────────────────────────

    def panic(self, what: str) -> None:
        """Calls the panic routine with "file:line: what"; does not return."""
        self._never("kern_panic", self.module.string(f"{self._where()}: {what}".encode()))

    def panic_with(self, routine: str, *arguments: Value) -> None:
        """Calls a panic of the runtime, which formats its arguments; does not return."""
        self._never(routine, self.module.string(self._where().encode()), *arguments)

    def panic_saying(self, text: typed.Expr) -> None:
        """Calls the panic routine with a text of the program's; does not return."""
        self.panic_with("panic_text", self.value(text))

    def _where(self) -> str:
        return f"{self._place.file}:{self._place.line}"

    def _never(self, routine: str, *arguments: Value) -> None:
        callee = self.module.runtime(routine)
        self.call("void", callee, *arguments, attributes=" noreturn cold")
        self.end("unreachable")

    def runtime(self, routine: str, result: str, *arguments: Value) -> Value:
        """Calls a routine of the runtime (see runtime/)."""
        return self.call(result, self.module.runtime(routine), *arguments)

    def check_index(self, index: Value, length: Value) -> None:
        """Panics unless 0 <= index < length (both i64)."""
        if index.ref.isdigit() and length.ref.isdigit() and int(index.ref) < int(length.ref):
            return
        bad = self.compare("icmp uge", index, length)
        self.guard(bad, lambda: self.panic_with("panic_index", index, length))

    def check_pointer(self, pointer: Value, align: int) -> None:
        """Panics when a pointer is null or not aligned."""
        bad = self.compare("icmp eq", pointer, NULL)
        self.guard(bad, lambda: self.panic("null pointer"))
        if align > 1:
            address = self.convert("ptrtoint", pointer, "i64")
            low = self.binary("and", address, int_const(align - 1))
            bad = self.compare("icmp ne", low, int_const(0))
            self.guard(bad, lambda: self.panic("misaligned pointer"))

    def wide(self, value: Value, type_: types.Type) -> Value:
        """An integer value as an i64."""
        assert isinstance(type_, types.Int)
        if type_.bits == 64:
            return value
        if value.ref.isdigit():
            return Value("i64", value.ref)
        return self.convert("sext" if type_.signed else "zext", value, "i64")

    # ── Loops over counters, for what is written inline ──────────────────────────────────────

    def count_to(self, length: Value, body: Callable[[Value], None]) -> None:
        """Writes `body` in a loop over 0..length."""
        counter = self.object(types.INT)
        self.store(int_const(0), counter, 8)
        test, work, done = self.label("test"), self.label("work"), self.label("done")
        self.enter(test)
        i = self.load("i64", counter, 8)
        self.branch(self.compare("icmp ult", i, length), work, done)
        self.enter(work)
        body(i)
        self.store(self.binary("add", i, int_const(1)), counter, 8)
        self.jump(test)
        self.enter(done)
