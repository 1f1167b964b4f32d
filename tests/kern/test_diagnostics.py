"""How mistakes are shown."""

import pytest

from emu.errors import AiosError
from toolchain.kern.compile import analyse
from toolchain.kern.diagnostics import Diagnostic, KernErrors, Place, Source, did_you_mean

SOURCE = Source("k/agents.kern", "agents", "fn f() {\n    agents[id].modle = m\n}\n")


def test_message_shows_the_line_a_caret_and_the_hint():
    wrong = Diagnostic(
        Place("k/agents.kern", 2, 16, 5), "'Agent' has no field 'modle'", "did you mean 'model'?"
    )
    assert str(KernErrors([wrong], [SOURCE])) == (
        "k/agents.kern:2:16: error: 'Agent' has no field 'modle'\n"
        "    2 |     agents[id].modle = m\n"
        "      |                ^^^^^ did you mean 'model'?\n"
        "1 error"
    )


def test_mistakes_are_sorted_by_place_counted_and_not_repeated():
    late, early = (Diagnostic(Place("k/agents.kern", n, 1), f"m{n}") for n in (3, 1))
    errors = KernErrors([late, early, late], [SOURCE])
    assert errors.diagnostics == [early, late]
    assert str(errors).endswith("\n2 errors")


def test_tabs_before_the_caret_stay_tabs():
    source = Source("t.kern", "t", "\t\tx = y\n")
    text = str(KernErrors([Diagnostic(Place("t.kern", 1, 7, 1), "m")], [source]))
    assert "\n      | \t\t    ^" in text


def test_underline_ends_with_its_line():
    text = str(KernErrors([Diagnostic(Place("k/agents.kern", 1, 8, 1000), "m")], [SOURCE]))
    assert "\n      |        ^\n" in text


@pytest.mark.parametrize(
    ("name", "hint"), [("modle", "did you mean 'model'?"), ("zzz", ""), ("", "")]
)
def test_near_names_are_suggested_and_far_ones_not(name: str, hint: str):
    assert did_you_mean(name, ["model", "mem_pool", "priority"]) == hint


def test_a_tree_deeper_than_the_stack_is_a_sentence_not_an_exception():
    text = 'test "sum" { assert(0 < ' + "+".join("1" * 5000) + ") }\n"
    with pytest.raises(AiosError, match=r"^deep\.kern: .* has too many parts; split it$"):
        analyse([Source("deep.kern", "deep", text)], root="deep", tests="bare")
