"""Types, structs, enums, constants, globals; their layout."""

from __future__ import annotations

import pytest

from tests.kern.conftest import Accepts, Rejects
from toolchain.kern import types


@pytest.mark.parametrize(
    ("written", "size"),
    [
        ("int", 8), ("u8", 1), ("f32", 4), ("bool", 1), ("ptr", 8), ("ptr[u8]", 8), ("str", 16),
        ("slice[int]", 16), ("array[u16, 3]", 6), ("array[int]", 16), ("queue[u8, 4]", 24),
        ("array[P, 65]", 16 * 65 + 16), ("P", 16), ("tensor[f32]", 128), ("fn(int) -> int", 8),
        ("E", 4), ("enum(a, b)", 4), ("queue[int]", 16 + 8 * 256), ("array[array[u8, 2], 3]", 6),
    ],
)  # fmt: skip
def test_sizes(accepts: Accepts, written: str, size: int) -> None:
    program = accepts(f"struct P {{ a: u8, b: int }}\nenum E {{ A }}\nx: {written}")
    (variable,) = (g for g in program.globals if g.symbol == "m.x")
    assert types.size_of(variable.type) == size


def test_c_layout_of_structs(accepts: Accepts) -> None:
    program = accepts("struct S { a: u8, b: u16, c: u8, d: u64, e: u8 }\nSIZE = sizeof(S)")
    (struct,) = (s for s in program.structs if s.name == "S")
    assert [types.offset_of(struct, i) for i in range(5)] == [0, 2, 4, 8, 16]
    assert types.size_of(struct) == 24
    assert types.align_of(struct) == 8


def test_constants_fold_exactly_and_adapt(accepts: Accepts) -> None:
    program = accepts(
        "A = B * 2 + (1 << 3)\nB = 512MB\nM = ~7\nx: u64 = A\ny: float = A\nz: int = M\n"
        "w: array[u8, A / B] = [1, 2]\nv: u8 = offsetof(S, b)\nstruct S { a: int, b: int }\n"
        "big: u64 = 0xffff_ffff_ffff_ffff"
    )
    initial = {g.name: g.initial for g in program.globals if g.module == "m"}
    assert initial["x"].value == (1 << 30) + 8  # type: ignore[union-attr]
    assert initial["y"].value == float((1 << 30) + 8)  # type: ignore[union-attr]
    assert initial["z"].value == -8  # type: ignore[union-attr]
    assert initial["v"].value == 8  # type: ignore[union-attr]


def test_arrays_of_constants_lie_in_memory(accepts: Accepts) -> None:
    program = accepts('NAMES = ["GPU0", "TPU0"]\nfn f() -> str { return NAMES[1] }')
    (names,) = (g for g in program.globals if g.symbol == "m.NAMES")
    assert names.type == types.Array(types.STR, 2)


def test_constants_can_be_made_of_constants(accepts: Accepts) -> None:
    program = accepts(
        "struct S { n: int, k: u8 }\nA = S{n: 3}\nB = [A, S{n: 4}]\nC: array[S, 2] = [A, B[1]]\n"
        "N = B[1].n\nxs: array[u8, N]\nK = A.k"
    )
    (xs,) = (g for g in program.globals if g.name == "xs")
    assert xs.type == types.Array(types.U8, 4)


def test_a_table_can_be_given_its_slots(accepts: Accepts) -> None:
    accepts('struct C { name: str }\nCOMMANDS: array[C, 2] = [C{name: "a"}, C{name: "b"}]')


def test_wrong_types(rejects: Rejects) -> None:
    rejects(
        "struct Agent { a: int }\nx: Agnet\ny: array\nz: int!\nw: array[int, -1]\n"
        "v: array[int, N]\n"
        "u: u8[4]\nt: ptr[int, int]\nn: int\nr: array[u8, n]",
        "2:4: there is no type 'Agnet' | did you mean 'Agent'?",
        "3:4: 'array' needs to say of what | as in array[int]",
        "4:1: a variable cannot be a result (int!)",
        "5:15: the length -1 is not between 1 and what memory could hold",
        "6:15: 'N' is not defined",
        "7:4: 'u8' takes no type arguments",
        "8:4: 'ptr' takes a type, not 2 arguments",
        "10:14: this must be a constant integer",
    )


def test_what_depends_on_itself(rejects: Rejects) -> None:
    rejects(
        "A = B\nB = A\nstruct S { next: S }\nstruct T { next: ptr[T] }",
        "1:1: the constant 'A' depends on itself",
        "3:8: 'S' contains itself | hold it by ptr[S]",
    )


def test_what_is_not_constant(rejects: Rejects) -> None:
    rejects(
        "fn g() -> int { return 1 }\nA = g()\nx: int = g()\ny: u8 = 300\nz: str = 5",
        "2:5: the constant 'A' is not known at compile time "
        "| declare a global variable (A: T) and assign it in a function",
        "3:10: the initial value of 'x' is not known at compile time | assign it in a function",
        "4:9: 300 does not fit u8 | u8 holds 0 to 255",
        "5:10: expected str, found int",
    )


def test_fields(rejects: Rejects) -> None:
    rejects(
        "struct Agent { model: int }\nagents: array[Agent, 4]\nfn f(p: ptr[Agent], q: ptr) {\n"
        "  agents[1].modle = 1\n  p.model = 1.5\n  q.model = 1\n  x = Agent{modl: 1, model: 2}\n"
        "  y = Agnt{a: 1}\n  z = 5\n  z.a = 1\n}",
        "4:13: 'Agent' has no field 'modle' | did you mean 'model'?",
        "5:13: expected int, found float | write int(...) if that is meant",
        "6:5: 'ptr' has no field 'model' | cast it to what it points to: ptr[T](...)",
        "7:13: 'Agent' has no field 'modl' | did you mean 'model'?",
        "8:7: there is no struct 'Agnt' | did you mean 'Agent'?",
        "10:5: 'int' has no field 'a'",
    )


def test_enum_members_are_known_where_an_enum_is_expected(accepts: Accepts) -> None:
    accepts(
        "enum E { A, B = 5, C }\nstruct S { e: E, state: enum(idle, busy) }\ns: S\n"
        "fn g(e: E) -> E { return C }\n"
        "fn f() -> int {\n  s.e = A\n  s.state = busy\n  t = S{e: B, state: idle}\n  g(C)\n"
        "  if A == s.e && s.state != idle { return int(E.B) }\n"
        "  e: E = B\n  match e { A { } B, C { } }\n  return int(E(6))\n}"
    )


def test_wrong_enum_members(rejects: Rejects) -> None:
    rejects(
        "enum E { RED, GREEN }\nfn f(e: E) {\n  e = REED\n  x = E.GREN\n  if e == BLUE { }\n"
        "  if e == 1 { }\n  e = 1\n  y = RED\n  z = E(7)\n}",
        "3:7: 'REED' is not a member of E | did you mean 'RED'?",
        "4:9: 'E' has no member 'GREN' | did you mean 'GREEN'?",
        "5:11: 'BLUE' is not a member of E | its members are RED, GREEN",
        "6:8: '==' does not work on E and int",
        "7:7: expected E, found int",
        "8:7: 'RED' is not defined",
        "9:7: no member of E has the number 7",
    )
