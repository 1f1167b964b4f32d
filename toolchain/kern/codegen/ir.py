"""LLVM IR as text: the little that code generation needs to write functions and constants.

A `Value` is a type and a reference, both as LLVM spells them. A `Body` collects the instructions
of one function: stack objects go to the entry block whatever the place that asks for them, blocks
that are hardly ever entered (failing checks) go to the end. LLVM's own parser and verifier check
the result, so nothing here knows LLVM's typing rules.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable
from typing import NamedTuple


class Value(NamedTuple):
    """An operand: an LLVM type and a constant or the name of a result."""

    type: str
    ref: str

    def __str__(self) -> str:
        return f"{self.type} {self.ref}"


VOID = Value("void", "")
NULL = Value("ptr", "null")
TRUE, FALSE = Value("i1", "true"), Value("i1", "false")
STR_TYPE = "{ ptr, i64 }"
ORDER_TYPE = "{ ptr, ptr, i64 }"


def int_const(value: int, type_: str = "i64") -> Value:
    """An integer constant."""
    return Value(type_, str(value))


def float_const(value: float, bits: int) -> Value:
    """A floating constant, exactly; rounded to a float first when `bits` is 32."""
    if bits == 32:
        value = struct.unpack("<f", struct.pack("<f", value))[0]
    pattern = struct.unpack("<Q", struct.pack("<d", value))[0]
    return Value("float" if bits == 32 else "double", f"0x{pattern:016X}")


def symbol(name: str) -> str:
    """A global name, quoted."""
    return '@"' + name.replace("\\", "\\5C").replace('"', "\\22") + '"'


def bytes_const(data: bytes) -> str:
    """`c"..."`: an array constant from bytes."""
    plain = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\{b:02X}" for b in data)
    return f'c"{plain}"'


class Body:
    """The instructions of one function, written block after block."""

    def __init__(self) -> None:
        self._allocas: list[str] = []
        self._cold: list[str] = []
        self._lines: list[str] = []
        self._names = 0
        self.terminated = False
        self.location = ""  # ", !dbg !N" for the instructions that follow

    def _fresh(self, prefix: str) -> str:
        self._names += 1
        return f"{prefix}{self._names}"

    def do(self, text: str) -> None:
        """Writes an instruction without result."""
        if self.terminated:
            self.enter(self.label("dead"))
        self._lines.append(f"  {text}{self.location}")

    def let(self, type_: str, text: str) -> Value:
        """Writes an instruction with a result of type `type_`."""
        if self.terminated:
            self.enter(self.label("dead"))
        name = self._fresh("%t")
        self._lines.append(f"  {name} = {text}{self.location}")
        return Value(type_, name)

    def record(self, text: str) -> None:
        """Writes a debug record (`#dbg_declare(...)`), which has no location attached."""
        if not self.terminated:
            self._lines.append(f"  {text}")

    def stack(self, size: int, align: int) -> Value:
        """The address of a fresh stack object of `size` bytes."""
        name = self._fresh("%s")
        self._allocas.append(f"  {name} = alloca [{size} x i8], align {align}")
        return Value("ptr", name)

    def stack_of(self, type_: str, align: int) -> Value:
        """The address of a fresh stack object of an LLVM type."""
        name = self._fresh("%s")
        self._allocas.append(f"  {name} = alloca {type_}, align {align}")
        return Value("ptr", name)

    # ── Blocks ───────────────────────────────────────────────────────────────────────────────

    def label(self, hint: str) -> str:
        """A fresh label."""
        return self._fresh(f"{hint}.")

    def enter(self, label: str) -> None:
        """Starts the block `label`; the one before falls through to it when it is still open."""
        if not self.terminated:
            self._lines.append(f"  br label %{label}{self.location}")
        self._lines.append(f"{label}:")
        self.terminated = False

    def jump(self, label: str) -> None:
        """Ends the block with a branch."""
        self.end(f"br label %{label}")

    def branch(self, condition: Value, then: str, otherwise: str) -> None:
        """Ends the block with a conditional branch."""
        self.end(f"br {condition}, label %{then}, label %{otherwise}")

    def end(self, text: str) -> None:
        """Ends the block with the terminator `text`."""
        self.do(text)
        self.terminated = True

    def guard(self, bad: Value, otherwise: Callable[[], None]) -> None:
        """Goes to a cold block written by `otherwise`, which must not return, when `bad` holds."""
        cold, fine = self.label("cold"), self.label("fine")
        self.end(f"br {bad}, label %{cold}, label %{fine}")
        self._lines[-1] += ", !prof !0"
        hot, self._lines = self._lines, [f"{cold}:"]
        self.terminated = False
        otherwise()
        if not self.terminated:
            self.end("unreachable")
        self._cold += self._lines
        self._lines = hot
        self.enter(fine)

    def lines(self) -> Iterable[str]:
        """The whole body, entry block first."""
        yield "entry:"
        yield from self._allocas
        yield from self._lines
        yield from self._cold

    # ── Instructions with a shape worth a name ───────────────────────────────────────────────

    def load(self, type_: str, address: Value, align: int, *, volatile: bool = False) -> Value:
        """The value at an address."""
        word = "load volatile" if volatile else "load"
        return self.let(type_, f"{word} {type_}, {address}, align {align}")

    def store(self, value: Value, address: Value, align: int, *, volatile: bool = False) -> None:
        """Puts a value at an address."""
        word = "store volatile" if volatile else "store"
        self.do(f"{word} {value}, {address}, align {align}")

    def offset(self, address: Value, offset: int) -> Value:
        """`address` plus a constant number of bytes."""
        if offset == 0:
            return address
        return self.let("ptr", f"getelementptr i8, {address}, i64 {offset}")

    def index(self, address: Value, index: Value, size: int) -> Value:
        """`address` plus `index` (an i64) times `size` bytes."""
        return self.let("ptr", f"getelementptr [{size} x i8], {address}, {index}")

    def binary(self, op: str, left: Value, right: Value) -> Value:
        """An arithmetic instruction; the result has the operands' type."""
        return self.let(left.type, f"{op} {left}, {right.ref}")

    def compare(self, relation: str, left: Value, right: Value) -> Value:
        """`icmp` or `fcmp`, as `relation` begins with it ("icmp eq")."""
        return self.let("i1", f"{relation} {left}, {right.ref}")

    def select(self, condition: Value, then: Value, otherwise: Value) -> Value:
        """One of two values."""
        return self.let(then.type, f"select {condition}, {then}, {otherwise}")

    def convert(self, op: str, value: Value, type_: str) -> Value:
        """A cast instruction."""
        return self.let(type_, f"{op} {value} to {type_}")

    def extract(self, value: Value, index: int, type_: str) -> Value:
        """A member of a first-class struct."""
        return self.let(type_, f"extractvalue {value}, {index}")

    def pack(self, type_: str, *members: Value) -> Value:
        """A first-class struct of its members."""
        packed = Value(type_, "poison")
        for i, member in enumerate(members):
            packed = self.let(type_, f"insertvalue {packed}, {member}, {i}")
        return packed

    def call(self, result: str, callee: str, *arguments: Value, attributes: str = "") -> Value:
        """A call; `callee` is a symbol or the name of a pointer."""
        text = f"call {result} {callee}({', '.join(map(str, arguments))}){attributes}"
        if result.split()[-1] == "void":
            self.do(text)
            return VOID
        bare = result.removeprefix("signext ").removeprefix("zeroext ")
        return self.let(bare, text)
