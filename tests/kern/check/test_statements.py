"""Statements: loops, match, defer, errors as values, containers."""

from __future__ import annotations

import pytest

from tests.kern.conftest import Accepts, Rejects

DECLARED = (
    "struct A { id: int, s: enum(idle, busy) }\nas: array[A, 8]\nq: queue[A, 4]\nns: array[u8, 3]\n"
    'fn may(x: int) -> int! {\n  if x < 0 { fail "bad {}", x }\n  return x\n}\n'
    "fn check(x: int)! { try may(x) }\n"
)


@pytest.mark.parametrize(
    "statements",
    [
        "for a in as { a.id = 1 }", "for i, a in as { a.id = i }", "for a in as[:] { a.s = busy }",
        "for a in q { a.id++ }", "for n in ns { x = n + 1 }", "for c in \"abc\" { x = c }",
        "for i in 0..10 { if i == 2 { continue }\n break }", "for i in ns[0]..5 { x = u8(i) }",
        "while true { break }", "i = as.alloc()\n as.free(i)\n ok = as.full() || as.used(i)",
        "q.push(A{id: 1}) \n x = q.pop().id + q.peek().id + q.len()\n q.clear()",
        "match as[0].s { idle { } busy { } }", "match 5 { 1, 2 { } 'A' { } else { } }",
        "match \"x\" { \"a\", \"b\" { } else { } }", "defer { as.free(1) }\n defer as.free(2)",
        "x = may(1) else e { panic(e) }", "x = may(1) else { return }", "may(1) else e { }",
        "check(1) else { }", "assert(1 < 2)", "assert(true, \"n {}\", 3)",
        "{ inner = 1 }", "a: A\n a.id = 2\n b = a", "xs: array[int, 3] = [1, 2, 3]",
        "x = 1\n if x == 1 { x = 2 } else if x == 2 { x = 3 } else { x = 4 }",
    ],
)  # fmt: skip
def test_right(accepts: Accepts, statements: str) -> None:
    accepts(DECLARED + "fn go() {\n  " + statements + "\n}")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("may(1)", "3: the error of this call is dropped "
         "| write 'try' before it, or 'else e { ... }' after it"),
        ("check(1)", "3: the error of this call is dropped "
         "| write 'try' before it, or 'else e { ... }' after it"),
        ("x = may(1)", "7: this may be an error, which must be handled "
         "| write 'try' before it, or 'else' after it"),
        ("x = may(1) + 1", "14: '+' does not work on int! and int "
         "| handle the error first, with 'try' or 'else'"),
        ("x = try may(1)", "7: this function cannot give an error "
         "| give 'go' a result type ending in '!' (!), or use 'else'"),
        ("fail \"x\"", "3: this function cannot give an error "
         "| give 'go' a result type ending in '!' (!), or use 'else'"),
        ("x = may(1) else e { }", "23: this block must leave: a value is needed and there is none "
         "after an error | end it with return, fail, break or continue"),
        ("x = as.len else { return }", "7: this cannot be an error, so 'else' has nothing to do"),
        ("break", "3: 'break' stands outside of any loop"),
        ("continue", "3: 'continue' stands outside of any loop"),
        ("defer { return }", "11: what is deferred cannot leave the function"),
        ("defer { try check(1) }", "11: what is deferred cannot leave the function"),
        ("while true { defer { break } }", "24: 'break' cannot be deferred"),
        ("return 1", "10: there is nothing to return here "
         "| this function has no result: add '-> T'"),
        ("match as[0].s { idle { } }", "3: this match misses busy | add them, or an 'else'"),
        ("match 1 { 1 { } 1 { } }", "19: this value has an arm already"),
        ("match 1 { else { } else { } }", "22: there is already an 'else'"),
        ("match 1.5 { }", "9: float cannot be matched"),
        ("match 1 { ns[0] { } }", "13: a pattern is a constant"),
        ("for x in 5.5 { }", "12: float has nothing to iterate over"),
        ("for i, x in 0..5 { }", "7: a range has no index besides its value"),
        ("as.fre(1)", "6: 'array[A, 8]' has no operation 'fre' | did you mean 'free'?"),
        ("q.push(1)", "10: the argument of 'push' must be A, not int"),
        ("as.free()", "3: 'free' takes 1 argument, not 0"),
        ("x = sort(as, key=s)", "20: a sort key is a number, not A.s"),
        ("x = sort(as)", "7: a sort key is a number, not A | say by what: sort(xs, key=...)"),
        ("x = sort(as, by=id)", "7: sort takes what to sort and key=... | sort(xs, key=priority)"),
        ("as[0].s = ready", "13: 'ready' is not a member of A.s | its members are idle, busy"),
    ],
)  # fmt: skip
def test_wrong(rejects: Rejects, statement: str, message: str) -> None:
    rejects(DECLARED + "fn go() {\n  " + statement + "\n}", f"11:{message}")


def test_constants_are_not_assigned(rejects: Rejects) -> None:
    rejects(
        "N = 4\nXS = [1, 2]\nfn f() {\n  N = 5\n  XS[0] = 1\n  N += 1\n}",
        "4:3: 'N' is a constant and cannot be assigned",
        "5:3: 'XS' is a constant and cannot be assigned",
        "6:3: 'N' is a constant and cannot be assigned",
    )


def test_a_program_of_tests_may_try(accepts: Accepts) -> None:
    program = accepts(DECLARED + 'test "numbers" {\n  x = try may(1)\n  assert(x == 1)\n}')
    assert [test.name for test in program.tests] == ["numbers"]
