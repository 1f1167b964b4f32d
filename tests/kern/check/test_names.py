"""Finding names: locals, modules, the dual naming of globals and modules, enum members."""

from __future__ import annotations

from tests.kern.conftest import Accepts, Rejects

HAL = "struct HAL {\n  devices: int\n}\nhal: HAL\n"


def test_order_of_declarations_does_not_matter(accepts: Accepts) -> None:
    accepts(
        "fn f() -> int { return g(LIMIT) }\nfn g(n: int) -> int { return n }\nLIMIT = B + 1\nB = 2"
    )


def test_unique_names_of_other_modules_need_no_prefix(accepts: Accepts) -> None:
    accepts("fn f() { go(LIMIT) }", other="LIMIT = 4\nfn go(n: int) { }")


def test_names_of_two_other_modules_are_ambiguous(rejects: Rejects) -> None:
    rejects(
        "fn f() { go() }",
        "1:10: 'go' is ambiguous | it could be a.go and b.go",
        a="fn go() { }",
        b="fn go() { }",
    )


def test_the_own_module_comes_first(accepts: Accepts) -> None:
    accepts("fn go(x: int) { }\nfn f() { go(1) }", a="fn go() { }", b="fn go() { }")


def test_a_prefix_says_which_module(accepts: Accepts) -> None:
    accepts("fn f() { a.go()\n b.go(1) }", a="fn go() { }", b="fn go(x: int) { }")


def test_a_function_can_be_defined_for_another_module(accepts: Accepts) -> None:
    program = accepts(
        "fn scheduler.run() { helper() }\nfn helper() { }\nfn f() { scheduler.run() }"
    )
    assert "scheduler.run" in {f.symbol for f in program.functions}


def test_a_global_and_a_module_share_a_name(accepts: Accepts) -> None:
    accepts(HAL + "fn f() -> int { hal.init()\n return hal.devices }", hal="fn init() { }")


def test_calling_a_module_calls_its_function_of_that_name(accepts: Accepts) -> None:
    accepts('fn f() { logger("x") }', logger="fn logger(text: str...) { }")


def test_a_parameter_does_not_hide_the_functions_of_a_module(accepts: Accepts) -> None:
    accepts(
        "fn f(pool: int) -> int { return pool.size() + pool }", pool="fn size() -> int { return 1 }"
    )


def test_missing_names(rejects: Rejects) -> None:
    rejects(
        "count: int\nfn f() {\n  x = coumt\n  other.goo()\n  y = other.LIMT\n  z = f.x\n  q()\n}",
        "3:7: 'coumt' is not defined | did you mean 'count'?",
        "4:9: the module 'other' has no function 'goo' | did you mean 'go'?",
        "5:13: the module 'other' has no 'LIMT' | did you mean 'LIMIT'?",
        "6:9: 'fn()' has no field 'x'",
        "7:3: 'q' is not defined",
        other="LIMIT = 1\nfn go() { }",
    )


def test_a_block_ends_the_life_of_its_locals(rejects: Rejects) -> None:
    rejects("fn f() {\n  if true { inner = 1 }\n  x = inner\n}", "3:7: 'inner' is not defined")


def test_assignment_declares_a_local_rather_than_change_another_module(accepts: Accepts) -> None:
    program = accepts("fn f() { count = 1\n count += 1 }", other="count: u8")
    (function,) = (f for f in program.functions if f.symbol == "m.f")
    assert [local.name for local in function.locals] == ["count"]


def test_types_modules_and_builtins_are_no_values(rejects: Rejects) -> None:
    rejects(
        "struct S { a: int }\nfn f() {\n  x = S\n  y = other\n  z = min\n  w = int\n}",
        "3:7: 'S' is a type, not a value",
        "4:7: 'other' is a module, not a value",
        "5:7: 'min' is built in; it can only be called",
        "6:7: 'int' is a type, not a value",
        other="",
    )


def test_names_are_declared_once(rejects: Rejects) -> None:
    rejects(
        "x: int\nx = 1\nfn f(a: int, a: int) { }\nstruct S { b: int, b: int }\n"
        "enum E { A, A }\nint = 1",
        "2:1: 'x' is already declared | at m.kern:1:1",
        "3:14: there are two parameters 'a'",
        "4:20: 'S' already has a field 'b'",
        "5:13: 'A' is already a member of E",
        "6:1: 'int' is the name of a built-in type",
    )


def test_statements_only_in_the_root_module(rejects: Rejects) -> None:
    rejects(
        "f()\nfn f() { }",
        "1:1: only the root module of a program has statements at its top level "
        "| put it into a function",
        other="f()",
    )
