"""Operators, conversions, casts, indexing, builtins."""

from __future__ import annotations

import pytest

from tests.kern.conftest import Accepts, Rejects

DECLARED = (
    "i: int\nu: u64\nb: u8\nh: u32\ns: i32\nf: float\ng: f32\nok: bool\np: ptr\nq: ptr[u32]\n"
    "t: str\nxs: array[int, 4]\nv: slice[u8]\n"
)


@pytest.mark.parametrize(
    "statement",
    [
        "i = h + s", "u = h + b", "u = b", "i = s * b", "i = h", "f = f * (1 / f)", "f = 90%",
        "g = g * 2", "u = 1 << i", "h = h << i", "b = b | 0x80", "u = u & ~7", "u = ~u64(2)",
        "ok = u > 5 && t == \"x\"", "i = -s", "p = q", "p = null", "ok = q == null", "q = null",
        "i = select(ok, 1, b)", "i = min(b, s) + max(i, 3) + abs(i)", "f = sqrt(f) + floor(2.5)",
        "i = xs[b] + xs[u]", "v[0] = 'A'", "v = v[1:]", "v = v[:i]", "t = t[1:2]", "i = t.len",
        "i = len(xs) + xs.len", "q[i] = 5", "*q = 7", "i = int(&xs)", "u = u64(p)",
        "q = ptr[u32](p)", "p = ptr(i)", "b = u8(i)", "f = float(i)", "i = int(f)", "g = f32(f)",
        "t = str(v)", "v = slice[u8](t)", "v = slice[u8](p, 5)", "t = str(p, 3)", "i = int(ok)",
        "v = ptr[u8](p)[0:4]", "i++", "b -= 1", "h <<= b", "xs[i] *= 2", "ok = ok ^ true",
        "ok = t < \"b\"", "i = 7 / 2 % 3", "ok = !ok || i != 2", "i = offsetof(P, y)",
        "i = sizeof(P) + sizeof(array[P, 2])", "u = rdtime()", "h = mmio_read32(i + 4)",
        "mmio_write8(p, 3)", "csr_write(\"sstatus\", i)", "u = csr_swap(\"sscratch\", u)",
        "i = ecall(1, 2, 3)", "volatile_store(q, 1)", "h = volatile_load(q)", "fence()",
        "i = insn(\"clz a0, a0\", i)", "tmatmul(2, 0, 1, p)", "tld(0, p)", "i = tget(1, 2)",
    ],
)  # fmt: skip
def test_right(accepts: Accepts, statement: str) -> None:
    accepts(DECLARED + "struct P { x: int, y: u8 }\nfn go() {\n  " + statement + "\n}")


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("i = u + i", "9: '+' does not work on u64 and int | cast one side: int(...) or u64(...)"),
        ("i = u", "7: expected int, found u64 | write int(...) if that is meant"),
        ("b = i", "7: expected u8, found int | write u8(...) if that is meant"),
        ("b = 256", "7: 256 does not fit u8 | u8 holds 0 to 255"),
        ("b = b + 300", "11: 300 does not fit u8 | u8 holds 0 to 255"),
        ("f = f + i", "9: '+' does not work on float and int | cast one side: float(...)"),
        ("f = g", "7: expected float, found f32 | write float(...) if that is meant"),
        ("i = 1.5", "7: expected int, found float | write int(...) if that is meant"),
        ("i = t + t", '9: \'+\' does not work on str | write format(buffer, "{}{}", a, b)'),
        ("i = ok + ok", "10: '+' does not work on bool"),
        ("p = p + 1", "9: '+' does not work on ptr and int | write &p[i], or ptr(int(p) + n)"),
        ("q = p", "7: expected ptr[u32], found ptr | write ptr[u32](...) if that is meant"),
        ("i = p", "7: expected int, found ptr | write int(...) if that is meant"),
        ("if i { }", "6: the condition of 'if' must be bool, not int | compare it: ... != 0"),
        ("ok = ok && i", "14: the right of '&&' must be bool, not int | compare it: ... != 0"),
        ("i = 5 / 0", "7: division by zero"),
        ("i = xs[4]", "10: index 4 out of range 0..4"),
        ("i = i[0]", "7: int has no elements"),
        ("i = p[0]", "7: ptr has no elements | cast it to what it points to: ptr[T](...)"),
        ("i = xs[f]", "10: an index must be int, not float | write int(...) if that is meant"),
        ("t[0] = 1", "3: the bytes of a str cannot be changed"),
        ("i + 1", "3: this value is not used | a statement is a call or an assignment"),
        ("5 = i", "3: this cannot be assigned to"),
        ("i = i()", "7: int cannot be called"),
        ("i = str(i)", "7: int cannot be cast to str"),
        ("i = *p", "7: '*' needs a ptr[T], not ptr | cast it: ptr[T](...)"),
        ("p = &5", "7: '&' needs something that lies in memory"),
        ("i = min(i, t)", "14: int and str are different types | cast one of them"),
        ("i = len(i)", "7: int has no length"),
        ("i = abs(1, 2)", "7: 'abs' takes 1 argument, not 2"),
        ('u = csr_read("sstatu")', "16: there is no CSR 'sstatu' | did you mean 'sstatus'?"),
        ("tld(16, p)", "7: 16 is not the number of a tensor register, 0 to 15"),
        ("tadd(1, 2)", "3: 'tadd' takes 3 arguments (td, ts1, ts2), not 2"),
        ("x = [i, t]", "11: element 1 must be int, not str"),
        ("x = []", "7: the type of an empty array cannot be known here"),
    ],
)  # fmt: skip
def test_wrong(rejects: Rejects, statement: str, message: str) -> None:
    rejects(DECLARED + "fn go() {\n  " + statement + "\n}", f"15:{message}")


def test_one_mistake_gives_one_message(rejects: Rejects) -> None:
    rejects(
        "fn f() {\n  x = nothing(1).a[2] + 3\n  y = x * 2\n  y.z = x\n  for a in y { a.b() }\n"
        "  if x == y { }\n  match x { 1 { } }\n}",
        "2:7: 'nothing' is not defined",
    )
