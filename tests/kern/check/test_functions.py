"""Calls, methods, generic `array` parameters, function values, extern and export, formats."""

from __future__ import annotations

from tests.kern.conftest import Accepts, Rejects

TABLES = "struct A { n: int, x: int }\nas: array[A, 8]\nbs: array[A, 2]\n"


def test_methods_take_self_by_reference(accepts: Accepts) -> None:
    accepts(
        "struct P { x: int }\nps: array[P, 2]\nfn P.move(self, by: int) -> int {\n  self.x += by\n"
        "  return self.get()\n}\nfn P.get(self) -> int { return self.x }\n"
        "fn f(p: ptr[P]) -> int {\n  q = P{x: 1}\n  return q.move(1) + p.move(2) + ps[1].move(3)\n}"
    )


def test_generic_functions_have_one_instance_a_type(accepts: Accepts) -> None:
    program = accepts(
        TABLES + "fn total(xs: array) -> int {\n  sum = 0\n  for x in xs { sum += x.n }\n"
        "  return sum\n}\nfn f() -> int { return total(as) + total(bs) + total(as) + total(as[:]) }"
    )
    assert sorted(f.symbol for f in program.functions if f.name == "total") == [
        "m.total(array[A, 2])", "m.total(array[A, 8])", "m.total(slice[A])",
    ]  # fmt: skip


def test_an_order_can_be_passed_down(accepts: Accepts) -> None:
    accepts(
        TABLES + "fn first(xs: array) -> int { return xs[0].n }\n"
        "fn f() -> int {\n  order = sort(as, key=n * x)\n"
        "  for i, a in order { a.n = i }\n  return first(order) + order.len + order[0].n\n}"
    )


def test_functions_as_values(accepts: Accepts) -> None:
    accepts(
        "struct Op { name: str, run: fn(int, ptr) -> int }\n"
        'fn go(x: int, p: ptr) -> int { return x }\nOPS = [Op{name: "go", run: go}]\n'
        "fn f() -> int {\n  for op in OPS { return op.run(1, null) }\n"
        "  h = go\n  return h(1, null)\n}"
    )


def test_linker_names(accepts: Accepts) -> None:
    program = accepts(
        "extern fn halt(code: int)\nexport fn kern_start(hart: int) { halt(hart) }\n"
        "struct S { x: int }\nfn S.go(self) { }\nkern_start(0)\n"
    )
    names = {f.symbol for f in program.functions}
    assert {"kern_start", "m.S.go"} <= names
    assert "halt" in {f.symbol for f in program.externs}
    assert program.entry is not None
    assert program.entry.symbol == "kern_main"


def test_formats(accepts: Accepts) -> None:
    accepts(
        "enum E { A }\nfn log(text: str...) { }\nfn at(n: int, text: str...) { }\n"
        'fn f(p: ptr, x: f32, s: str) {\n  log("plain {{}}")\n  log(s)\n'
        '  log("{} {:x} {:08x} {:<20} {:.3} {} {}", 1, p, u8(5), s, x, true, E.A)\n'
        '  at(1, "a {}", s)\n  buffer: array[u8, 32]\n  log(format(buffer[:], "{}", x))\n'
        '  panic("at {}", p)\n}'
    )


def test_wrong_formats(rejects: Rejects) -> None:
    rejects(
        "struct S { x: int }\nfn log(text: str...) { }\nfn f(s: S, t: str, x: float) {\n"
        '  log("{} {}", 1)\n  log("{:q}", 1)\n  log("{")\n  log(t, 1)\n  log("{}", s)\n'
        '  log("{:x}", x)\n  log()\n  log("{:.2}", 1)\n}',
        "4:7: the format has 2 places but 1 argument is given",
        "5:7: '{:q}' is not a format | as in {} {:x} {:08x} {:<20} {:.3}",
        "6:7: a single '{' in a format | write {{ for the character",
        "7:7: the format must be a string literal when it has arguments",
        "8:13: S cannot be formatted | give its fields one by one",
        "9:15: float cannot be shown in hexadecimal",
        "10:3: a text is missing",
        "11:16: int has no decimal places",
    )


def test_wrong_calls(rejects: Rejects) -> None:
    rejects(
        "struct S { x: int }\nfn g(size: u8) { }\nfn f(s: S) {\n  g()\n  g(1, 2)\n  g(300)\n"
        '  g("a")\n  s.go()\n  g(size=1)\n  x = g(1)\n  s.x()\n}',
        "4:3: 'g' takes 1 argument, not 0",
        "5:3: 'g' takes 1 argument, not 2",
        "6:5: 300 does not fit u8 | u8 holds 0 to 255",
        "7:5: the argument 'size' of 'g' must be u8, not str",
        "8:5: 'S' has no method 'go'",
        "9:3: 'g' takes 1 argument, not 0",
        "9:5: arguments are given by position, not by name",
        "10:7: this call gives no value",
        "11:3: int cannot be called",
    )


def test_wrong_declarations(rejects: Rejects) -> None:
    rejects(
        "fn f(self) { }\nfn g(a) { }\nfn h(a: str..., b: int) { }\nfn k(a: int!) { }\n"
        "export fn l(a: array) { }\nfn m2() -> int { }\n"
        "fn n(x: int) -> int { if x > 0 { return 1 } }",
        "1:6: 'self' is for methods: fn Struct.name(self, ...)",
        "2:6: the parameter 'a' needs a type | a: int",
        "3:6: only a last parameter of type str can end in '...'",
        "4:6: a parameter cannot be a result (int!)",
        "5:11: a function with an 'array' parameter cannot be exported",
        "6:18: 'm2' can reach its end without returning a value | it must return int",
        "7:45: 'n' can reach its end without returning a value | it must return int",
    )


def test_a_method_needs_self(rejects: Rejects) -> None:
    rejects(
        "struct P { x: int }\nfn P.go() { }\nfn bare() { }\n"
        "fn f(p: P, s: str) {\n  p.go()\n  s.bare()\n}",
        "2:4: the first parameter of a method is 'self' | fn P.go(self)",
        "5:3: 'go' takes no arguments",
        "6:3: 'bare' takes no arguments",
    )


def test_generic_arguments(rejects: Rejects) -> None:
    rejects(
        TABLES
        + "fn g(xs: array) { for x in xs { x.nn = 1 } }\nfn f() {\n  g(5)\n  g(as)\n  g(bs)\n"
        "  h = g\n}",
        "4:35: 'A' has no field 'nn'",
        "6:5: an array, slice or order is needed here, not int",
        "9:7: 'g' has no address because of its 'array' parameter "
        "| call it, or wrap it in another function",
    )
