"""The state block: members do not overlap, and contexts never let a stale entry hit."""

from __future__ import annotations

from emu.cpu.state import CONTEXTS, X_SINK, State


def test_members_lie_one_behind_the_other() -> None:
    state = State()
    for value, name in enumerate(State.indices):
        state.words[State.indices[name]] = value + 1
    assert [state.words[i] for i in State.indices.values()] == [*range(1, len(State.indices) + 1)]
    assert state.x[0] == 1
    assert state.x_sink == 2


def test_the_sink_is_the_register_behind_x31() -> None:
    assert State.offset("x_sink") == State.offset("x") + 8 * X_SINK


def test_a_regime_seen_before_has_its_context_again() -> None:
    state = State()
    state.set_regime("a", "b")
    before = state.fetch_context, state.data_context
    state.set_regime("c", "d")
    assert before != (state.fetch_context, state.data_context)
    state.set_regime("a", "b")
    assert before == (state.fetch_context, state.data_context)


def test_flushing_translations_abandons_both_contexts() -> None:
    state = State()
    before = state.fetch_context, state.data_context
    state.flush_tlb()
    assert not {*before} & {state.fetch_context, state.data_context}


def test_flushing_code_keeps_data_translations() -> None:
    state = State()
    fetch, data, generation = state.fetch_context, state.data_context, state.code_generation
    state.flush_code()
    assert state.fetch_context != fetch
    assert state.data_context == data
    assert state.code_generation != generation


def test_the_buffers_are_cleared_before_a_context_is_used_again() -> None:
    state = State()
    first = state.data_context
    state.load_tlb[0] = first
    for _ in range(CONTEXTS):
        state.flush_tlb()
        if state.load_tlb[0] == state.data_context:
            raise AssertionError("a stale entry hits")
    assert state.load_tlb[0] == 0
