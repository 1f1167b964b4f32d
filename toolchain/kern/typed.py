"""The typed tree: a checked program, reduced to a small core for code generation.

All that is a matter of the language is done when this tree is made: names are resolved (locals
and functions are objects, compared by identity), generic functions are instantiated, enum
literals and constants are folded, conversions are explicit, methods are calls, `for` is `Loop`,
`defer` is expanded at every way out, `try`/`else`/`fail` are branches over `Result` values.

Two kinds of expression: an `Expr` is a value, an `Lvalue` an object in memory. `Load`,
`AddressOf`, `Store` go between them. Operands are evaluated left to right, once each.
Every node has its `place`; a node with `checked` set must, when its check fails, call the panic
routine with "file:line: what" (the texts stand at the nodes) and never continue.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from toolchain.kern.diagnostics import Place
from toolchain.kern.types import Enum, Fn, Struct, Type

# ── Symbols ──────────────────────────────────────────────────────────────────────────────────


@dataclass(eq=False)
class Local:
    """A local variable or parameter; one stack object each, named once per function.

    `hidden` ones are the compiler's own (loop counters, temporaries): no debug information.
    One with `group` lies in the memory that a workgroup shares.
    With `by_reference` the source sees the object that it points to (`self`, the variable of
    `for x in table`, an `array` parameter), so debug information has a DW_TAG_reference_type.
    """

    name: str
    type: Type
    place: Place
    hidden: bool = False
    by_reference: bool = False
    parameter: bool = False
    group: bool = False


@dataclass(eq=False)
class Global:
    """A global variable; `initial` is a constant expression, None for all zero (.bss)."""

    name: str
    module: str
    symbol: str
    type: Type
    place: Place
    initial: Expr | None = None


@dataclass(eq=False)
class Function:
    """A function or an instance of a generic one.

    `symbol` is its name for the linker: `module.name`, `module.Struct.name`, an instance has its
    array types appended (`scheduler.dispatch(array[Agent, 256])`); an `extern` or `export` one is
    exactly its name. External linkage is needed only for `exported` and external functions.
    `body` is None for `extern`. `locals` lists every Local of the body, parameters apart; a
    Local may be bound (`Let`) at several places of the body (expanded `defer`).
    One with a `kernarg` is a `gpu fn`: its calls are launches, which lay the arguments out so.
    Aggregates as parameters and results are copies; those of extern functions are scalars, `str`
    and slices (two registers). A body of a function with a result never falls off its end.
    """

    name: str
    module: str
    symbol: str
    parameters: tuple[Local, ...]
    result: Type
    place: Place
    exported: bool = False
    kernarg: Struct | None = None
    body: Block | None = None
    end: Place | None = None
    locals: list[Local] = field(default_factory=list)

    @property
    def gpu(self) -> bool:
        """Whether it is a `gpu fn`."""
        return self.kernarg is not None

    @property
    def type(self) -> Fn:
        """The type of its address."""
        return Fn(tuple(p.type for p in self.parameters), self.result)


@dataclass(frozen=True)
class Test:
    """A `test` block: its name as written, and its function."""

    name: str
    function: Function
    place: Place


@dataclass(frozen=True)
class Program:
    """A whole checked program.

    `entry`: the root module's statements as the exported function `kern_main`, if it has any.
    `functions`: all others with a body (tests' stand in `tests`); `files`: file names by module.
    `lanes`: the functions that lanes run, `gpu` ones and what they call: they are compiled apart,
    and a plain one that harts call too stands in `functions` as well.
    """

    files: dict[str, str]
    structs: tuple[Struct, ...]
    enums: tuple[Enum, ...]
    globals: tuple[Global, ...]
    functions: tuple[Function, ...]
    externs: tuple[Function, ...]
    tests: tuple[Test, ...]
    entry: Function | None
    lanes: tuple[Function, ...] = ()


# ── Objects in memory ────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Lvalue:
    """An object in memory of type `type`; evaluating it gives its address."""

    type: Type
    place: Place


@dataclass(frozen=True)
class LocalVar(Lvalue):
    """The stack object of a local itself (for a by-reference one: the pointer)."""

    local: Local


@dataclass(frozen=True)
class GlobalVar(Lvalue):
    """A global variable."""

    symbol: Global


@dataclass(frozen=True)
class Deref(Lvalue):
    """The object at a pointer. Checked: "null pointer", "misaligned pointer"."""

    pointer: Expr
    checked: bool


@dataclass(frozen=True)
class FieldOf(Lvalue):
    """Field number `index` of a struct object."""

    base: Lvalue
    index: int


@dataclass(frozen=True)
class Element(Lvalue):
    """Element `index` (of any integer type) of an object of type Array or SlotTable. Checked:
    "index {i} out of range 0..{n}"."""

    base: Lvalue
    index: Expr
    checked: bool


@dataclass(frozen=True)
class SliceElement(Lvalue):
    """Element `index` of a value of type Slice or Str (then a u8, never stored to)."""

    base: Expr
    index: Expr
    checked: bool


@dataclass(frozen=True)
class QueueElement(Lvalue):
    """The k-th oldest entry of a queue object, `k` an INT known to be below its length."""

    queue: Lvalue
    k: Expr


@dataclass(frozen=True)
class OrderElement(Lvalue):
    """The `index`-th element of a value of type Order."""

    order: Expr
    index: Expr
    checked: bool


@dataclass(frozen=True)
class Temporary(Lvalue):
    """A value put into a fresh stack object, so that it has an address."""

    value: Expr


# ── Values ───────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Expr:
    """A value of type `type` (VOID for a call without result, NEVER for one that never returns)."""

    type: Type
    place: Place


@dataclass(frozen=True)
class IntConst(Expr):
    """A constant of type Int, Enum, Bool (0 or 1) or Ptr; within its type's range."""

    value: int


@dataclass(frozen=True)
class FloatConst(Expr):
    """A constant of type Float."""

    value: float


@dataclass(frozen=True)
class StrConst(Expr):
    """A constant of type Str; the bytes lie in .rodata."""

    value: bytes


@dataclass(frozen=True)
class Zero(Expr):
    """All bytes zero, of any type: `null`, an empty struct literal, a bare local."""


@dataclass(frozen=True)
class ArrayValue(Expr):
    """An Array with these elements; of constants a Slice too, in an anonymous global."""

    elements: tuple[Expr, ...]


@dataclass(frozen=True)
class StructValue(Expr):
    """A Struct with these fields (number, value) in the order written; the others are zero. Of a
    SlotTable too (an array literal made one): all elements, and all used bits."""

    fields: tuple[tuple[int, Expr], ...]


@dataclass(frozen=True)
class FunctionAddress(Expr):
    """The address of a function; a value of type Fn (or Ptr(None))."""

    function: Function


@dataclass(frozen=True)
class KernelObject(Expr):
    """The address of the kernel object of a `gpu` function: what a dispatch names; a Ptr(None)."""

    function: Function


@dataclass(frozen=True)
class Load(Expr):
    """The value of an object. For an aggregate: under Store, Let and Temporary copy memory."""

    lvalue: Lvalue


@dataclass(frozen=True)
class AddressOf(Expr):
    """The address of an object; of type Ptr."""

    lvalue: Lvalue


@dataclass(frozen=True)
class Unary(Expr):
    """neg (Int wraps, Float), invert (Int), not (Bool)."""

    op: str
    operand: Expr


@dataclass(frozen=True)
class Binary(Expr):
    """Both operands have one type; both are evaluated.

    add sub mul div rem: Int (wrapping, truncating; div and rem panic "division by zero" on 0
    and give the wrapped result for minimum / -1) and Float (rem is fmod).
    and or xor: Int and Bool. shl shr: Int; the amount is masked to bits - 1; shr is arithmetic
    for signed types. eq ne: Int, Float, Bool, Enum, Ptr, Fn, Str. lt le gt ge: Int by its
    signedness, Float (ordered), Ptr unsigned, Str by bytes. The comparisons' type is BOOL.
    """

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Logical(Expr):
    """`and` / `or` of two BOOLs; the right one is evaluated only when it decides."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Cast(Expr):
    """A conversion of `operand` to `type`; `kind` is one of

    extend (Int or Bool to a wider Int, by the source's signedness; Bool is unsigned), truncate
    (Int to a narrower Int), int_to_float (by signedness), float_to_int (towards zero, saturating,
    NaN gives the maximum, as fcvt does), float_resize, int_to_ptr, ptr_to_int (64-bit both),
    bits (same size and representation: u64 to int, Enum to i32, ptr to ptr[T], Fn to ptr,
    Str to Slice(U8) and back).
    """

    kind: str
    operand: Expr


@dataclass(frozen=True)
class Select(Expr):
    """`select(c, a, b)`: all three are evaluated."""

    condition: Expr
    then: Expr
    otherwise: Expr


@dataclass(frozen=True)
class PointerAdd(Expr):
    """`pointer + index * size_of(target)` for a Ptr with a target, unchecked; index is an INT."""

    pointer: Expr
    index: Expr


@dataclass(frozen=True)
class MakeSlice(Expr):
    """A Slice or Str from a pointer and an INT length."""

    pointer: Expr
    length: Expr


@dataclass(frozen=True)
class SubSlice(Expr):
    """`base[low:high]` of a Slice or Str value; INTs. Always checked: 0 <= low <= high <= length,
    else "slice {low}:{high} out of range 0..{n}"."""

    base: Expr
    low: Expr
    high: Expr


@dataclass(frozen=True)
class Length(Expr):
    """The length of a Slice, Str or Order value; an INT."""

    base: Expr


@dataclass(frozen=True)
class DataOf(Expr):
    """The pointer of a Slice or Str value (`s.ptr`)."""

    base: Expr


@dataclass(frozen=True)
class Call(Expr):
    """A call of a known function."""

    function: Function
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class CallPointer(Expr):
    """A call through a value of type Fn; a null one panics "call of a null function"."""

    function: Expr
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class SlotOp(Expr):
    """An operation on a slot table: alloc (INT, -1 when full; the element is zeroed), free (VOID;
    an INT, checked as Element), full (BOOL), count (INT), used (BOOL; false out of range)."""

    op: str
    table: Lvalue
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class QueueOp(Expr):
    """An operation on a queue: push (BOOL, false when full), pop and peek (the element; empty
    panics "pop of an empty queue"), empty full (BOOL), len (INT), clear (VOID)."""

    op: str
    queue: Lvalue
    arguments: tuple[Expr, ...]


@dataclass(frozen=True)
class Sort(Expr):
    """An Order over a SlotTable (slots in use), Array, or what a Slice value in a Temporary views.

    For each, `element` (a by-reference hidden Local) is set to its address and `key` (Int, Float
    or Bool) evaluated; stable, highest key first, NaN last. Indices and keys lie in the frame:
    of a Slice up to 1024, more panic "sort of {n} elements, the most is 1024".
    """

    base: Lvalue
    element: Local
    key: Expr


@dataclass(frozen=True)
class FormatSpec:
    """How `{:spec}` shows a value: base "d" or "x", `width` at least, padded with "0" or " ",
    aligned "<" or ">" (numbers ">" and texts "<" unless given), `precision` for floats (None:
    6 significant digits)."""

    base: str = "d"
    width: int = 0
    fill: str = " "
    align: str | None = None
    precision: int | None = None


@dataclass(frozen=True)
class FormatPart:
    """One `{}`: value is an Int, Float, Bool, Str, Ptr, Fn or Enum (shown by its name)."""

    value: Expr
    spec: FormatSpec


@dataclass(frozen=True)
class Format(Expr):
    """A text of type Str, made of literal bytes and formatted values, cut at the buffer's end.

    `into` is "stack": a 512-byte buffer in the frame of its own for this node; "error": the
    global 512-byte error text (a part may be the text that lies there now, so two buffers in
    turn); or a value of type Slice(U8), the buffer.
    """

    parts: tuple[bytes | FormatPart, ...]
    into: str | Expr


@dataclass(frozen=True)
class Ok(Expr):
    """A success of type Result; value is None for Result(VOID)."""

    value: Expr | None


@dataclass(frozen=True)
class Err(Expr):
    """An error of type Result, from its text (a Str; its pointer is made non-null)."""

    text: Expr


@dataclass(frozen=True)
class IsError(Expr):
    """Whether a Result is an error; BOOL."""

    result: Expr


@dataclass(frozen=True)
class ErrorText(Expr):
    """The Str of a Result that is an error."""

    result: Expr


@dataclass(frozen=True)
class ResultValue(Expr):
    """The value of a Result that is none."""

    result: Expr


@dataclass(frozen=True)
class Seq(Expr):
    """Statements, then the value (None: VOID). A statement may leave the function or loop."""

    body: tuple[Stmt, ...]
    value: Expr | None


@dataclass(frozen=True)
class Panic(Expr):
    """Panics with "file:line: " and a Str; NEVER."""

    text: Expr


@dataclass(frozen=True)
class Intrinsic(Expr):
    """An operation of the machine or of LLVM, by name; signatures in `check/intrinsics.py`.

    insn: `immediates` = (assembly text,); up to 8 64-bit values in a0.. and a result in a0 (type
    VOID or a 64-bit Int); tensor instructions have become such texts.
    csr_read csr_write csr_set csr_clear csr_swap: immediates = (csr name,).
    fence fence_io fence_i wfi sfence_vma ebreak pause unreachable; ecall (fn, a0, a1);
    mmio_read8.. mmio_write64 (address INT/U64/Ptr, value): volatile;
    volatile_load(ptr[T]) volatile_store(ptr[T], value); rdtime rdcycle rdinstret;
    min max (Int by signedness, Float), abs (Int wraps, Float); sqrt floor ceil fma (Float);
    float_bits and bits_float (between a Float and the unsigned Int of its size).
    atomic_add atomic_min … (ptr[T], T), atomic_cas (ptr[T], expected T, new T): the old value, of
    an Int of 32 or 64 bits.
    In lanes only: id (INT; immediates = (CSR name,)); barrier; vote_all vote_any (BOOL -> BOOL),
    ballot (BOOL -> U32); shuffle_up … (a scalar, INT).
    """

    name: str
    immediates: tuple[str, ...]
    arguments: tuple[Expr, ...]


# ── Statements ───────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Stmt:
    """A statement."""

    place: Place


@dataclass(frozen=True)
class Block(Stmt):
    """Statements in a scope of their own; `end` is the closing brace."""

    body: tuple[Stmt, ...]
    end: Place


@dataclass(frozen=True)
class Let(Stmt):
    """Binds a local: stores its first value. Its scope is the enclosing Block."""

    local: Local
    value: Expr


@dataclass(frozen=True)
class Store(Stmt):
    """Stores a value to an object of its type. The lvalue is evaluated first."""

    target: Lvalue
    value: Expr


@dataclass(frozen=True)
class Evaluate(Stmt):
    """Evaluates an expression and drops its value."""

    value: Expr


@dataclass(frozen=True)
class If(Stmt):
    """Two ways."""

    condition: Expr
    then: Block
    otherwise: Block | None


@dataclass(frozen=True)
class Loop(Stmt):
    """`while condition { body; step }`; Continue goes to step. Condition None: for ever, and no
    Break leaves this loop."""

    condition: Expr | None
    body: Block
    step: tuple[Stmt, ...]


@dataclass(frozen=True)
class Break(Stmt):
    """Leaves the innermost Loop."""


@dataclass(frozen=True)
class Continue(Stmt):
    """Goes to the step of the innermost Loop."""


@dataclass(frozen=True)
class Return(Stmt):
    """Leaves the function; value is None when its result is VOID."""

    value: Expr | None


@dataclass(frozen=True)
class Switch(Stmt):
    """Compares an Int, Bool or Enum with constants, no two equal; no fall-through. Without a
    default an unmatched value panics "no case for {value}"."""

    value: Expr
    cases: tuple[tuple[tuple[int, ...], Block], ...]
    default: Block | None
