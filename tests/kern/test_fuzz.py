"""Whatever the text, the front end either makes a program or says what is wrong: no other
exception ever, and never a message without a place in the text."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from toolchain.kern.check import check
from toolchain.kern.diagnostics import KernErrors, Source
from toolchain.kern.parse import parse

_VOCABULARY = """
x y S E A f m int u8 float str ptr array slice queue tensor self true false null len sort
fn struct enum test extern export if else while for in match break continue return fail defer
try ( ) [ ] { } . , : = == != < << + - * / % & | ^ ~ ! @ && || += ++ -> .. ...
0 1 255 0x1F 1.5 90% 4KB "s" "{} {:x}" 'A' # é $
"""
WORDS = _VOCABULARY.split()
"""Words of the language; joined with spaces or newlines they are mostly nonsense."""

VALID = "\n".join(
    path.read_text(encoding="utf-8")
    for path in sorted((Path(__file__).parent / "programs").glob("*.kern"))[:4]
)

STATEMENTS = [line for line in VALID.split("\n") if line.strip() and line.count("{") == 0]


def front_end(text: str) -> None:
    """Parses and checks; only KernErrors may come out."""
    try:
        check([parse(Source("m.kern", "m", text))], "m", tests=True)
        return
    except KernErrors as errors:
        wrong = errors
    assert wrong.diagnostics
    assert all(1 <= d.place.line <= text.count("\n") + 2 for d in wrong.diagnostics)
    assert str(wrong)


@given(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(" \n")), max_size=60))
def test_words_in_any_order(words: list[tuple[str, str]]) -> None:
    front_end("".join(word + space for word, space in words))


@given(st.lists(st.sampled_from(WORDS), max_size=25))
def test_words_in_any_order_inside_a_function(words: list[str]) -> None:
    head = "struct S { x: int, e: enum(A, B) }\nt: array[S, 4]\nq: queue[u8, 2]\n"
    front_end(head + "fn f(x: int, y: S) -> int! {\n" + " ".join(words) + "\n}\n")


@given(st.text(max_size=80))
def test_any_text(text: str) -> None:
    front_end(text)


@given(st.lists(st.sampled_from(STATEMENTS), max_size=12))
def test_statements_out_of_context(statements: list[str]) -> None:
    front_end("fn f() -> int {\n" + "\n".join(statements) + "\n}\n")


@given(
    st.integers(0, len(VALID) - 1),
    st.integers(0, 12),
    st.sampled_from(["", " ", "\n", "(", ")", "{", "}", "[", ".", "x", "1", '"', "=", "-"]),
)
@settings(max_examples=25)
def test_programs_with_a_part_replaced(at: int, size: int, replacement: str) -> None:
    front_end(VALID[:at] + replacement + VALID[at + size :])
