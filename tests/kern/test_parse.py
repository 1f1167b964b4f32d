"""From text to syntax trees: newlines, literals, precedence, and many syntax errors a run."""

from __future__ import annotations

import pytest

from toolchain.kern import syntax
from toolchain.kern.diagnostics import KernErrors, Source
from toolchain.kern.parse import parse


def items(text: str) -> tuple[syntax.Node, ...]:
    return parse(Source("m.kern", "m", text)).items


def value(text: str) -> syntax.Node:
    (item,) = items(f"x = {text}")
    assert isinstance(item, syntax.Assign)
    return item.value


def shown(node: syntax.Node) -> str:
    """An expression with every operation in parentheses."""
    match node:
        case syntax.Infix(_, op, left, right):
            return f"({shown(left)} {op} {shown(right)})"
        case syntax.Prefix(_, op, operand):
            return f"({op}{shown(operand)})"
        case syntax.Name(_, name):
            return name
        case syntax.Dot(_, base, name):
            return f"{shown(base)}.{name}"
        case syntax.Index(_, base, arguments):
            return f"{shown(base)}[{', '.join(map(shown, arguments))}]"
        case syntax.Call(_, callee, arguments):
            return f"{shown(callee)}({', '.join(map(shown, arguments))})"
        case syntax.Integer(_, number):
            return str(number)
        case syntax.Try(_, result):
            return f"(try {shown(result)})"
    raise AssertionError(node)


def errors(text: str) -> list[str]:
    with pytest.raises(KernErrors) as raised:
        parse(Source("m.kern", "m", text))
    return [
        f"{d.place.line}:{d.place.column}: {d.message}" + (f" | {d.hint}" if d.hint else "")
        for d in raised.value.diagnostics
    ]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("12", 12), ("0x1F", 31), ("0b101", 5), ("0o17", 15), ("1_000", 1000), ("'A'", 65),
        (r"'\n'", 10), (r"'\x7f'", 127), ("4KB", 4096), ("512MB", 512 << 20), ("2GB", 2 << 30),
        ("1TB", 1 << 40), ("5ns", 5), ("2us", 2000), ("3ms", 3_000_000), ("1s", 10**9),
        ("1.5us", 1500),
    ],
)  # fmt: skip
def test_integer_literals(text: str, number: int):
    node = value(text)
    assert isinstance(node, syntax.Integer)
    assert node.value == number


@pytest.mark.parametrize(("text", "number"), [("1.5", 1.5), ("1e-3", 1e-3), ("90%", 0.9)])
def test_float_literals(text: str, number: float):
    node = value(text)
    assert isinstance(node, syntax.Number)
    assert node.value == pytest.approx(number)


@pytest.mark.parametrize("text", ["100 % 7", "a % 100 == 0", "a %(b)"])
def test_a_percent_sign_before_an_operand_is_the_remainder(text: str):
    assert "%" in shown(value(text))


def test_string_escapes():
    node = value(r'"a\n\t\r\0\\\"\x41é"')
    assert isinstance(node, syntax.Text)
    assert node.value == b'a\n\t\r\0\\"A' + "é".encode()


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("a + b * c", "(a + (b * c))"),
        ("a - b - c", "((a - b) - c)"),
        ("a << 1 + b & c", "((a << (1 + b)) & c)"),
        ("a | b ^ c & d", "(a | (b ^ (c & d)))"),
        ("a & 1 == 0", "((a & 1) == 0)"),
        ("a || b && c", "(a || (b && c))"),
        ("!a && -b < c", "((!a) && ((-b) < c))"),
        ("-a.b[1](c)", "(-a.b[1](c))"),
        ("&a[i]", "(&a[i])"),
        ("1 + try f() * 2", "(1 + ((try f()) * 2))"),
        ("ptr[array[u8, 4]](x)", "ptr[array[u8, 4]](x)"),
        ("a @ b + c", "((a @ b) + c)"),
        ("task.type == task.match", "(task.type == task.match)"),
    ],
)
def test_precedence(text: str, tree: str):
    assert shown(value(text)) == tree


def test_comparisons_do_not_chain():
    assert errors("x = a < b < c") == ["1:11: unexpected '<'"]


@pytest.mark.parametrize(
    "text",
    [
        "x = f(1,\n  2\n)",
        "x = [\n  1,\n  2,\n]",
        "x = S{\n  a: 1,\n  b: 2\n}",
        "x = 1 +\n  2",
        "x = a &&\n\n  # why\n  b",
        "x =\n  1",
    ],
)
def test_newlines_inside_brackets_and_after_operators_are_nothing(text: str):
    assert len(items(text)) == 1


def test_a_brace_against_a_name_is_a_literal_and_with_a_space_a_block():
    (test,) = items("if x { y() }")
    assert isinstance(test, syntax.If)
    assert isinstance(value("Task{type: 1}"), syntax.StructLiteral)
    assert errors("fn f() {\n  if x{ y() }\n}")[0].startswith("2:10: unexpected '('")


def test_else_if_nests():
    (node,) = items("if a { } else if b { } else { c() }")
    assert isinstance(node, syntax.If)
    assert node.otherwise is not None
    assert isinstance(node.otherwise.body[0], syntax.If)


def test_struct_fields_one_a_line_or_comma_separated():
    (node,) = items("struct S { a: int, b: ptr[S]\n  c: enum(x, y),\n\n  d: fn(int) -> int\n}")
    assert isinstance(node, syntax.Struct)
    assert [f.name for f in node.fields] == ["a", "b", "c", "d"]


def test_match_arms_on_one_line():
    (node,) = items("match e { A { } B, C { }\n 3 { } else { } }")
    assert isinstance(node, syntax.Match)
    assert [len(arm.patterns) for arm in node.arms] == [1, 2, 1, 0]


def test_crlf_and_missing_last_newline():
    assert len(items("x = 1\r\ny = 2\r\nfn f() { }")) == 3


def test_every_line_can_have_its_error():
    text = "fn f() {\n  x = = 1\n  y = 2\n  if x == {\n    z = ]\n  }\n  w = 4q\n}\nfn g( {\n}\n"
    assert errors(text) == [
        "2:7: unexpected '=', expected an expression",
        "4:11: unexpected '{', expected an expression",
        "5:9: unexpected ']', expected an expression",
        "7:7: unknown unit 'q' | the units are KB, MB, GB, TB, ns, us, ms, s and %",
        "9:7: unexpected '{', expected ')' or a name",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('x = "abc', "1:5: this string has no end"),
        ("x = 'ab'", "1:5: a character literal holds one byte, as in 'A'"),
        ("x = 1;", "1:6: unexpected ';' | a statement ends at the end of its line"),
        ("x = $", "1:5: unexpected '$'"),
        ("x = 0b12", "1:5: '0b12' is not a number"),
        (r'x = "\q"', r"1:5: unknown escape '\q' | the escapes are \n \t \r \0 \\ \" \xNN"),
        ("x = 'é'", '1:5: a character literal holds one byte | use a string: "..."'),
        ("fn f() {", "1:8: the file ends before the '}' of this '{'"),
        ("x = 1 2", "1:7: unexpected '2'"),
        ("if a { }\nelse { }", "2:1: unexpected 'else' | 'else' stands on the line of the '}' "
         "before it"),
        ("enum", "1:5: unexpected end of the line, expected a name"),
    ],
)  # fmt: skip
def test_syntax_errors(text: str, message: str):
    assert errors(text) == [message]


def test_an_unclosed_bracket_is_reported_where_it_opens():
    text = "fn f() {\n  y = g(1, 2\n  z = 3\n}\n"
    assert errors(text) == ["2:8: this '(' is never closed"]


def test_no_more_than_twenty_errors():
    assert len(errors("x = ]\n" * 50)) == 20


def test_absurd_nesting_is_an_error():
    assert errors("x = " + "(" * 3000) == ["1:105: more than 100 brackets stand within one another"]
