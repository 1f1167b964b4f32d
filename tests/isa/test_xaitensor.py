"""The form of a tensor instruction's declaration: notation, signatures, and what they refuse."""

from __future__ import annotations

from typing import Any

import pytest

from emu.isa.xaitensor import FAMILIES, TENSORS, Declaration
from emu.isa.xaitensor.declare import BINARY, WIDE
from emu.isa.xaitensor.notation import Scope, names_of, read, statements
from emu.isa.xaitensor.rules import RULES, BadAttribute, broadcast, reduced, stretches, windows
from emu.isa.xaitensor.shapes import Misfit, bind
from emu.isa.xaitensor.signature import parse

EACH = pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())


def value(text: str, **names: Any) -> Any:
    """The value of an expression over names and the rules, with `sum` of a generator."""
    functions = {**RULES, "sum": lambda _, values: sum(values), "list": lambda _, v: list(v)}
    return read(text)(Scope(names, functions))


# notation


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2 + 3 * n", 14),
        ("-n // 2", -2),
        ("p * 2 + k - 1", (2, 6)),
        ("p + pads", (2, 4)),
        ("p[1:]", (3,)),
        ("p[0]", 1),
        ("(0, *p, n)", (0, 1, 3, 4)),
        ("list((i, j) for i in 2 for j in 2 if i != j)", [(0, 1), (1, 0)]),
        ("sum(i for k in (2, 2) for i in 3 if k == (1, 1))", 3),
        ("list(k for k in p)", [(0, 0), (0, 1), (0, 2)]),
        ("p in (2, 4)", True),
        ("p in (2, 3)", False),
        ("3 in p", True),
        ("0 <= n < 4", False),
        ("7 / -2 if n > 3 else 0", -3),
        ("7 / 0", -1),
        ("not p == (1, 3) or n == 4", True),
        ("prod(p) + len(p)", 5),
    ],
)
def test_an_expression_means_what_its_grammar_says(text: str, expected: object) -> None:
    assert value(text, n=4, p=(1, 3), k=(1, 1), pads=(1, 1, 9)) == expected


@pytest.mark.parametrize("text", ["1 +", "x = 1", "f(a=1)", "[1]", "x.y", "lambda: 0", "x @ y"])
def test_what_is_not_of_the_notation_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not (of the notation|an expression)"):
        read(text)


def test_the_lines_of_a_meaning_are_results_tables_and_abbreviations() -> None:
    lines = statements("""m = max(x[*p, j] for j in n)
        d[*p, i] = (x[*p, i]
                    - m)""")
    assert [(line.name, line.indices) for line in lines] == [
        ("m", None), ("d", (("p", True), ("i", False))),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="is not an index"):
        statements("d[i + 1] = 0")


def test_names_that_an_expression_binds_are_not_among_those_it_uses() -> None:
    assert names_of("sum(x[i] * alpha for i in n if i in t)") == {"x", "alpha", "n", "t"}


# rules


def test_extents_that_broadcast() -> None:
    assert broadcast((3, 1), (4,), ()) == (3, 4)
    assert stretches((1, 4), (2, 3, 4))
    assert not stretches((2, 3), (3,))


def test_windows_count_padding_and_dilation() -> None:
    at = Scope({"pad_begin": (1, 0), "pad_end": (1, 0), "stride": (2, 1), "dilation": (1, 2)}, {})
    assert windows(at, (5, 5), (3, 2)) == (3, 3)
    with pytest.raises(BadAttribute):
        windows(at, (5, 2), (3, 2))


def test_reduced_extents_stay_as_one_or_go() -> None:
    def names(keep: bool) -> Scope:
        return Scope({"axes": 0b101, "keep": keep}, {})

    assert reduced(names(True), (2, 3, 4)) == (1, 3, 1)
    assert reduced(names(False), (2, 3, 4)) == (3,)
    with pytest.raises(BadAttribute):
        reduced(names(False), (2, 3))


# signatures


@pytest.mark.parametrize(
    ("text", "sources"),
    [
        ("x: T -> d: T[n]", 1),
        ("x: T[n], -> d T[n]", 1),
        ("x?: T[n] -> d: T[n]", 1),
        ("x: T[n +] -> d: T[n]", 1),
        ("x: T[n] -> d: T[n]", 2),
        ("x: T[], " + ", ".join(f"e{i}: T[]" for i in range(8)) + " -> d: T[]", 1),
    ],
)
def test_a_signature_that_says_nothing_is_refused(text: str, sources: int) -> None:
    with pytest.raises(ValueError, match=r"signature|extra operand|operands that|expression"):
        parse(text, sources)


def test_operands_have_their_numbers() -> None:
    operands = parse("x: T[n], y: T[n], b?: T[n] -> d: T[n], e?: i64[n]", 2)
    numbers = {o.name: (o.number, o.extra, o.written) for o in operands}
    assert numbers == {
        "x": (1, None, False), "y": (2, None, False), "b": (4, 0, False),
        "d": (0, None, True), "e": (5, 1, True),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("signature", "dims", "bound"),
    [
        ("x: T[*a, n@axis, *c] -> d: T[*a, n, *c]", {"x": (2, 3, 4), "d": (2, 3, 4)},
         {"a": (2,), "n": 3, "c": (4,)}),
        ("x: T[~*b, m, k], y: T[~*b, k, n] -> d: T[*b, m, n]",
         {"x": (5, 1, 2, 3), "y": (4, 3, 6), "d": (5, 4, 2, 6)}, {"b": (5, 4), "k": 3}),
        ("x: T[n, c*groups, *t:1..3], w: T[m, c, *k:t] -> d: T[n, m, *t]",
         {"x": (1, 6, 5), "w": (4, 3, 1), "d": (1, 4, 5)}, {"c": 3, "t": (5,)}),
        ("x: any[~d] -> d: any[*s]", {"x": (1, 3), "d": (2, 2, 3)}, {"s": (2, 2, 3)}),
    ],
)  # fmt: skip
def test_extents_are_bound_to_the_names_of_the_signature(
    signature: str, dims: dict[str, tuple[int, ...]], bound: dict[str, object]
) -> None:
    scope = bind(parse(signature, 1), dims, {"axis": 1, "groups": 2}, {})
    assert {name: scope[name] for name in bound} == bound


@pytest.mark.parametrize(
    ("dims", "what", "operand"),
    [
        ({"x": (6, 5), "w": (4, 3, 1), "d": (1, 4, 5)}, "rank", "x"),
        ({"x": (1, 6, 5), "w": (4, 3), "d": (1, 4, 5)}, "rank", "w"),
        ({"x": (1, 5, 5), "w": (4, 3, 1), "d": (1, 4, 5)}, "shape", "x"),
        ({"x": (1, 6, 5), "w": (4, 3, 1), "d": (1, 5, 5)}, "shape", "d"),
        ({"x": (1, 6, 5), "w": (5, 3, 1), "d": (1, 5, 5)}, "attribute", "at"),
        ({"x": (1, 6, 5), "w": (4, 3, 1), "b": (3,), "d": (1, 4, 5)}, "shape", "b"),
    ],
)
def test_the_operand_at_fault_is_named(
    dims: dict[str, tuple[int, ...]], what: str, operand: str
) -> None:
    signature = "x: T[n, c*groups, *t:1..3], w: T[m, c, *k:t], b?: T[m] -> d: T[n, m, *t]"
    with pytest.raises(Misfit) as misfit:
        bind(parse(signature, 2), dims, {"groups": 2}, {"m % groups == 0": "at"})
    assert (misfit.value.what, misfit.value.operand) == (what, operand)


# the table


@EACH
def test_a_declaration_can_be_read(declaration: Declaration) -> None:
    names = [o.name for o in declaration.operands]
    assert len(set(names)) == len(names)
    assert declaration.family in {f.__name__.rpartition(".")[2] for f in FAMILIES}
    assert declaration.doc.endswith(".")
    assert not declaration.extras or declaration.form.block
    assert declaration.attributes is not None  # every expression was parsed
    blamed = set(declaration.requires.values()) | set(declaration.traffic)
    assert blamed <= {*names, "at"}


def test_the_function_number_is_spread_over_the_bits_of_its_class() -> None:
    assert WIDE.encode(0b10110) == "rs3 10 1 ts2 1 ts1 101 0 td 0101011"
    with pytest.raises(ValueError, match="no function 128"):
        BINARY.encode(128)
