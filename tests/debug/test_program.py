"""A small Kern program under the debugger: stops, values, calls, and what is said of mistakes."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.debug.conftest import Debugger, line_of
from toolchain.debug.commands import all_commands


def test_starts_at_the_first_instruction(debugger: Debugger) -> None:
    assert debugger.output.getvalue().startswith("_start at start.s:5\n5\t")
    assert debugger.session.pc == debugger.session.program.entry


def test_function_breakpoint_stops_where_arguments_are_known(debugger: Debugger) -> None:
    assert "program.kern" in debugger.do("break program.area")
    text = debugger.do("continue")
    assert "Breakpoint 1." in text
    assert 'area (p=Point{x: 3, y: 7, scale: 0.5, name: "second \\"point\\""}, times=4) at' in text


def test_line_breakpoint_and_locals(debugger: Debugger) -> None:
    debugger.do(f"b program.kern:{line_of('add')}", "c", "c", "c")
    text = debugger.do("info locals")
    assert "part = 6" in text
    assert "total = 3" in text
    assert "times = 4" in debugger.do("info args")
    assert debugger.do("p part * 2 + total") == "15\n"
    assert "hit 3 times" in debugger.do("info breakpoints")


def test_temporary_breakpoint_stops_once(debugger: Debugger) -> None:
    debugger.do("tbreak factorial", "c")
    assert debugger.do("p n") == "5\n"
    assert "code 0" in debugger.do("c")


def test_values_of_every_type(debugger: Debugger) -> None:
    debugger.do(f"b program.kern:{line_of('call')}", "c")
    expected = {
        "mode": "SLOW",
        "mode == SLOW": "true",
        "points[1].name": '"second \\"point\\""',
        "points[1].y": "7",
        "points[1].scale * 2": "1.0",
        "numbers": "[1, 2, 3, 4, 500]",
        "numbers[1:3]": "[2, 3]",
        "zeros": "[0 (40 times)]",
        "ratio": "2.5",
        "ready": "true",
        "!ready": "false",
        "head.next.value": "2",
        "(*head).value": "1",
        "*head.next": "Node{value: 2, next: 0x0}",
        "program.mode": "SLOW",
        "&nodes[1] == head.next": "true",
        "ptr[u16](&numbers)[4]": "500",
        "points[1].name[0] == 115": "true",
        "u8(511)": "255",
        "-7 / 2": "-3",
        "-7 % 2": "-1",
        "1 + 2 * 3 << 1": "14",
        "$zero": "0",
        "$pc == $sepc": "false",
    }
    for expression, value in expected.items():
        assert debugger.do(f"print {expression}") == f"{value}\n", expression
    assert debugger.do("p/x numbers[4]") == "0x1f4\n"
    assert debugger.do("p/t 5") == "0b101\n"


def test_memory_is_examined_as_gdb_does(debugger: Debugger) -> None:
    debugger.do(f"b program.kern:{line_of('call')}", "c")
    text = debugger.do("x/5dh numbers")
    assert text.split(":\t")[1].split() == ["1", "2", "3", "4", "500"]
    assert "0x00000001\t0x00000000" in debugger.do("x/2xw &nodes")
    assert debugger.do("x/3i program.run").count("program.run") == 3


def test_step_enters_and_next_passes_over_calls(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('call')}", "c")
    assert "program.area (" in debugger.do("step")
    assert "program.run () at" in debugger.do("finish")
    assert f"{line_of('factorial')}\t" in debugger.do("next")
    assert "c = sum" in debugger.do("next")


def test_an_empty_line_repeats_a_step(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('first')}", "c")
    assert "mode = SLOW" in debugger.do("n", "")


def test_backtrace_of_a_recursion_and_its_frames(debugger: Debugger) -> None:
    debugger.do("b factorial", "c", "c", "c")
    text = debugger.do("bt")
    assert text.count("program.factorial") == 3
    assert [line.split("(n=")[1][0] for line in text.splitlines()[:3]] == ["3", "4", "5"]
    assert "_start+" in text.splitlines()[-1]
    assert debugger.do("up", "p n").endswith("4\n")
    assert debugger.do("down", "p n").endswith("3\n")
    assert "There is no frame 77" in debugger.do("frame 77")


def test_next_in_a_recursion_stays_in_its_call(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('recursion')}", "c")
    assert "program.run ()" in debugger.do("finish")


def test_finish_shows_what_is_returned(debugger: Debugger) -> None:
    debugger.do("tbreak sum", "c")
    assert "Value returned is 9" in debugger.do("finish")
    assert "values=" not in debugger.do("bt")


def test_until_leaves_a_loop(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('add')}", "c")
    assert f"{line_of('return')}\t" in debugger.do(f"until {line_of('return')}")
    assert debugger.do("p total") == "18\n"


def test_variables_and_registers_can_be_set(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('end')}", "c")
    debugger.do("set var a = 1000", "set var mode = FAST", "set points[2].y = 9", "set $t3 = 77")
    assert debugger.do("p mode", "p points[2].y", "p $t3") == "FAST\n9\n77\n"
    debugger.do("next")
    assert debugger.do("p points[0].x") == "1129\n"


def test_displays_appear_at_every_stop(debugger: Debugger) -> None:
    debugger.do(f"tbreak program.kern:{line_of('add')}", "c")
    assert "1: total = 0" in debugger.do("display total")
    assert "1: total = 0" in debugger.do("next")
    assert "total" not in debugger.do("undisplay 1", "display")


def test_listing_goes_on(debugger: Debugger) -> None:
    first, second = debugger.do("list area").splitlines(), debugger.do("").splitlines()
    assert len(first) == len(second) == 10
    assert int(second[0].split("\t")[0]) == int(first[-1].split("\t")[0]) + 1


def test_without_lines_stops_show_the_instruction(debugger: Debugger) -> None:
    debugger.do("set $pc = 0x1000")
    assert "0x1000:\t" in debugger.do("stepi") or "0x1004" in debugger.do("frame")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("frobnicate", "There is no command 'frobnicate'; 'help' lists them."),
        ("print nosuch", "There is no variable 'nosuch' here."),
        ("print points[3]", "The index 3 is outside of 3 elements."),
        ("print points[0].z", "The type Point has no field 'z'; it has x, y, scale, name."),
        ("print 1 +", "A value is missing."),
        ("print 1 / 0", "That divides by zero."),
        ("print *1", "'*' takes a pointer, and this is of type int."),
        ("print $nosuch", "There is no register 'nosuch'."),
        ("print @", "The character '@' means nothing in an expression."),
        ("break nosuch", "There is no function 'nosuch'."),
        ("break nosuch.kern:3", "There is no source file 'nosuch.kern' in the program."),
        ("break program.kern:9999", "There is no code at or behind line 9999 of"),
        ("delete 9", "There is no breakpoint 9."),
        ("x/4xw 0x10", "There is no memory at 0x10."),
        ("x/4xw 0x10000000", "At 0x10000000 lies the device uart"),
        ("x/q 0", "'q' is neither a format nor a size of 'x'."),
        ("info nothing", "'info' knows breakpoints,"),
        ("info devices disk", "There is no device 'disk'"),
        ("set 5 = 6", "What stands left of '=' is neither in memory nor a register."),
        ("set var mode", "Write 'set var NAME = VALUE'"),
        ("powercut soon", "'soon' is not a time; write a number and ns, us, ms or s, as 3ms."),
        ("finish", "This is the outermost frame: it does not return."),
        ("?", "A command starts with its name, not with '?'."),
    ],
)
def test_mistakes_are_sentences(debugger: Debugger, line: str, sentence: str) -> None:
    assert sentence in debugger.do(line)


def test_powercut_ends_the_run_now_or_at_its_time(debugger: Debugger) -> None:
    assert debugger.do("powercut 1ns") == ""
    assert "The power was cut at" in debugger.do("c")
    assert debugger.do("powercut") == "The run has ended; leave with 'quit'.\n"


def test_after_the_end_commands_say_so(debugger: Debugger) -> None:
    assert "The guest ended the run with code 0." in debugger.do("c")
    assert debugger.do("step") == "The run has ended; leave with 'quit'.\n"


def test_help_knows_every_command(debugger: Debugger) -> None:
    text = debugger.do("help")
    for command in all_commands():
        assert f"  {command.title}" in text
        assert command.help in debugger.do(f"help {command.names[0]}")


_WORDS = st.sampled_from(
    [*(name for c in all_commands() for name in c.names if name not in ("c", "continue")),
     "points", "head", "mode", "1", "0", "-1", "99999999999999999999", "$pc", "$sp", "*", "&",
     ".", "[", "]", "(", ")", ":", "/x", "/8xg", "=", "+", "/", "program.kern:3", "area", "*0x80",
     "locals", "registers", "line", "symbol", '"', "é"]
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.one_of(_WORDS, st.text(max_size=5)), max_size=6), st.booleans())
def test_no_command_line_raises(debugger: Debugger, words: list[str], spaced: bool) -> None:
    line = (" " if spaced else "").join(words)
    debugger.do(line.replace("\n", " "))
