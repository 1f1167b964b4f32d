"""Writing a module: strings, globals, declarations, functions, and what they share."""

from __future__ import annotations

from typing import ClassVar

from toolchain.kern import typed, types
from toolchain.kern.codegen import constants, layout
from toolchain.kern.codegen.function import FunctionEmitter
from toolchain.kern.codegen.ir import STR_TYPE, Value, bytes_const, symbol
from toolchain.kern.debuginfo import DebugInfo, Metadata

TRIPLE = "riscv64-unknown-elf"
LAYOUT = "e-m:e-p:64:64-i64:64-i128:128-n32:64-S128"
"""LLVM's description of RV64 lp64d."""

_ATTRIBUTES = (
    ' nounwind "frame-pointer"="non-leaf" "target-cpu"="generic-rv64"'
    ' "no-builtin-strlen" "no-builtin-wcslen"'  # idioms whose routines the runtime does not have
)

KERNEL_OBJECT = 64
"""The bytes of a kernel object (docs/gpu.md)."""


def kernel_symbol(function: typed.Function) -> str:
    """The linker's name of a gpu function's kernel object."""
    return f"{function.symbol}.kernel"


_NO_BUILTINS = {"memcpy", "memmove", "memset", "memcmp"}
"""Routines whose loops must not be recognised as calls of themselves."""


class ModuleEmitter:
    """The LLVM module of what a program's harts run."""

    emitter: ClassVar[type[FunctionEmitter]] = FunctionEmitter

    def __init__(self, program: typed.Program, *, optimised: bool, tests: str = "") -> None:
        self._program = program
        self._metadata = Metadata()
        self.debug = DebugInfo(self._metadata, program, optimised)
        self._head: list[str] = []  # constants, globals and declarations
        self._strings: dict[bytes, str] = {}
        self._instructions: dict[str, int] = {}
        self._enum_names: dict[types.Enum, str] = {}
        self._kernels: dict[str, None] = {}
        self._functions = list(program.functions)
        if program.entry is not None and not tests:
            self._functions.append(program.entry)
        self._testing = tests == "bare"
        self._tests = program.tests if tests else ()
        self._functions += [test.function for test in self._tests]
        self._runtime = {
            f.name: symbol(f.symbol) for f in program.functions if f.module.startswith("kern.")
        }
        self._runtime["kern_panic"] = symbol("test_panic" if self._testing else "kern_panic")
        self._attributes = _ATTRIBUTES

    def emit(self) -> str:
        """The module's text."""
        defined = {self.symbol(f) for f in self._functions}
        bodies = [line for f in self._functions for line in self.emitter(self, f).emit()]
        for extern in self._program.externs:
            if self.symbol(extern) not in defined:
                attributes = self.attributes(extern)
                self._head.append(f"declare {self.prototype(extern, names=False)}{attributes}")
                defined.add(self.symbol(extern))
        self._declare_instructions()
        self._data()
        return "\n".join(
            [
                f'target triple = "{TRIPLE}"',
                f'target datalayout = "{LAYOUT}"',
                *self._head,
                *bodies,
                *self.debug.finish(),
                *self._metadata.lines(),
                "",
            ]
        )

    def _declare_instructions(self) -> None:
        for text, arguments in self._instructions.items():
            parameters = ", ".join(["i64"] * arguments)
            self._head.append(f"declare i64 {symbol(f'__insn {text}')}({parameters}) nounwind")

    def _data(self) -> None:
        for variable in self._program.globals:
            self._global(variable)
        for kernel in self._kernels:
            self._head.append(f"{kernel} = external constant [{KERNEL_OBJECT} x i8], align 64")
        self._test_table()

    # ── Functions ────────────────────────────────────────────────────────────────────────────

    def symbol(self, function: typed.Function) -> str:
        """The LLVM name of a function. In bare tests their own panic routine stands in."""
        if self._testing and function.symbol == "kern_panic" and function.body is None:
            return symbol("test_panic")
        return symbol(function.symbol)

    def is_public(self, function: typed.Function) -> bool:
        """Whether the linker sees it; in bare tests a program's exports are not wanted."""
        return function.exported and (not self._testing or function.module.startswith("kern."))

    def runtime(self, routine: str) -> str:
        """The LLVM name of a routine of the runtime, by its Kern name."""
        return self._runtime[routine]

    def prototype(self, function: typed.Function, *, names: bool) -> str:
        """Result, name and parameters of a function; the first is the result's address when that
        is in memory."""
        result = layout.extension(function.result) + layout.value_type(function.result)
        parameters = []
        if layout.in_memory(function.result):
            result = "void"
            parameters.append("ptr" + " %result" * names)
        for i, parameter in enumerate(function.parameters):
            type_ = layout.value_type(parameter.type) + " " + layout.extension(parameter.type)
            parameters.append(type_ + f" %p{i}" * names)
        return f"{result} {self.symbol(function)}({', '.join(parameters)})"

    def attributes(self, function: typed.Function) -> str:
        """The attributes of a function."""
        text = self._attributes
        if function.symbol in _NO_BUILTINS:
            text += ' "no-builtins"'
        if function.symbol in ("kern_panic", "test_panic") or function.name.startswith("panic_"):
            text += " cold noinline"
        return text

    def instruction(self, text: str, arguments: int) -> str:
        """The routine that the linker makes of assembly text, taking i64s in a0 and after."""
        known = self._instructions.setdefault(text, arguments)
        assert known == arguments, text
        return symbol(f"__insn {text}")

    def kernel_object(self, function: typed.Function) -> str:
        """The name of a gpu function's kernel object."""
        name = symbol(kernel_symbol(function))
        self._kernels[name] = None
        return name

    def enum_name(self, enum: types.Enum) -> str:
        """The function that gives the name of an enum's value, an empty text for none."""
        if enum not in self._enum_names:
            name = f"@kern.enum_name.{len(self._enum_names)}"
            self._enum_names[enum] = name
            values = {value: member for member, value in reversed(enum.members.items())}
            arms = " ".join(f"i32 {value}, label %m{i}" for i, value in enumerate(values))
            lines = [f"define internal {STR_TYPE} {name}(i32 %value){self._attributes} {{"]
            lines.append(f"  switch i32 %value, label %none [ {arms} ]")
            for i, member in enumerate(values.values()):
                lines.append(f"m{i}:\n  ret {self.string(member.encode())}")
            lines.append(f"none:\n  ret {STR_TYPE} zeroinitializer\n}}")
            self._head += lines
        return self._enum_names[enum]

    # ── Data ─────────────────────────────────────────────────────────────────────────────────

    def string(self, data: bytes) -> Value:
        """A str constant; equal ones share their bytes."""
        if data not in self._strings:
            name = f"@.str.{len(self._strings)}"
            self._strings[data] = name
            stored = data or b"\0"
            self._head.append(
                f"{name} = private unnamed_addr constant [{len(stored)} x i8]"
                f" {bytes_const(stored)}, align 1"
            )
        return Value(STR_TYPE, f"{{ ptr {self._strings[data]}, i64 {len(data)} }}")

    def anonymous(self, value: Value, align: int) -> str:
        """The name of a nameless global with an initial value."""
        name = f"@.data.{len(self._head)}"
        self._head.append(f"{name} = private global {value}, align {align}")
        return name

    def variable(self, variable: typed.Global) -> str:
        """The name of a global variable."""
        return symbol(variable.symbol)

    def _global(self, variable: typed.Global) -> None:
        type_ = variable.type
        if variable.initial is None:
            value = constants.zero(type_)
        else:
            value = constants.constant(self, variable.initial)
        align = max(types.align_of(type_), 1)
        node = self.debug.global_variable(variable)
        self._head.append(
            f"{symbol(variable.symbol)} = internal global {value}, align {align}, !dbg {node}"
        )

    def _test_table(self) -> None:
        """`kern_tests`: {str name; ptr function} for every test, ended by a null name."""
        if not self._tests:
            return
        rows = [
            f"{{ {STR_TYPE}, ptr }} {{ {self.string(test.name.encode())},"
            f" ptr {self.symbol(test.function)} }}"
            for test in self._tests
        ]
        rows.append(f"{{ {STR_TYPE}, ptr }} zeroinitializer")
        kind = f"[{len(rows)} x {{ {STR_TYPE}, ptr }}]"
        self._head.append(f"@kern_tests = constant {kind} [{', '.join(rows)}], align 8")
