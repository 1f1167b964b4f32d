"""The order of blocks that lets lanes meet again, on random flows of control."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from toolchain.kern.lanes.flow import is_in_order
from toolchain.kern.lanes.order import Flow, in_order, order, strongly_connected

_NOP, _RET = 0x0000_0013, 0x0000_8067


@st.composite
def flows(draw: st.DrawFn) -> Flow:
    """Up to ten blocks, all within reach of the first, with up to two ways out each."""
    n = draw(st.integers(1, 10))
    targets = st.lists(st.integers(0, n - 1), max_size=2)
    drawn = {i: draw(targets) for i in range(n)}
    reached = [0]
    for i in reached:
        reached += [t for t in dict.fromkeys(drawn[i]) if t not in reached]
    return {f"b{i}": [f"b{t}" for t in dict.fromkeys(drawn[i])] for i in sorted(reached)}


@given(flows())
def test_blocks_are_those_of_the_flow_and_the_entry_is_first(flow: Flow) -> None:
    ordered = order(flow)
    assert sorted(ordered) == sorted(flow)
    assert ordered[0] == next(iter(flow))


@given(flows())
def test_only_loops_lead_backwards_and_each_is_one_piece(flow: Flow) -> None:
    ordered = order(flow)
    at = {name: i for i, name in enumerate(ordered)}
    for part in strongly_connected(flow):
        places = sorted(at[name] for name in part)
        assert places == list(range(places[0], places[0] + len(places)))
        for name in part:
            outside = [t for t in flow[name] if t not in part]
            assert all(at[t] > places[-1] for t in outside)


def test_blocks_of_a_function_are_put_in_order_and_named() -> None:
    text = """define void @f(i1 %c) {
entry:
  br i1 %c, label %rare, label %3

1:                                                ; preds = %rare, %3
  ret void

rare:                                             ; preds = %entry
  %2 = add i32 1, 2
  br label %1

3:                                                ; preds = %entry
  br label %1
}
"""
    labels = [line.split(":")[0] for line in in_order(text).splitlines() if ":" in line]
    assert labels == ["entry", "rare", "v.3", "v.1"]
    assert "%v.2 = add" in in_order(text)


def _branch(distance: int) -> int:
    """beq x0, x0 over a number of instructions."""
    d = 4 * distance
    return (
        0x63 | (d >> 12 & 1) << 31 | (d >> 5 & 63) << 25 | (d >> 1 & 15) << 8 | (d >> 11 & 1) << 7
    )


def test_loop_in_one_piece_is_in_order() -> None:
    assert is_in_order([_NOP, _branch(3), _NOP, _branch(-2), _RET])


def test_part_of_a_loop_behind_what_follows_it_is_not() -> None:
    """1 leads to 5, which is of the loop (6 goes back to 0) and behind 3, where ways meet."""
    words = [_NOP, _branch(4), _branch(-2), _NOP, _RET, _branch(-2), _branch(-6), _RET]
    assert not is_in_order(words)


def test_way_out_of_a_loop_inside_it_is_in_order() -> None:
    """2 leaves by a jump of its own, which nobody else comes to."""
    assert is_in_order([_NOP, _branch(2), 0x00C0_006F, _NOP, _branch(-3), _RET])
