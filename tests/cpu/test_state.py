"""The state block: members do not overlap, and contexts never let a stale entry hit."""

from __future__ import annotations

from emu.cpu import regime
from emu.cpu.state import NO_CONTEXT, SPACES, X_SINK, State

SATP = 8 << 60 | 0x80000


def test_members_lie_one_behind_the_other() -> None:
    state = State()
    for value, name in enumerate(State.indices):
        state.words[State.indices[name]] = value + 1
    assert [state.words[i] for i in State.indices.values()] == [*range(1, len(State.indices) + 1)]
    assert state.x[0] == 1
    assert state.x_sink == 2


def test_the_sink_is_the_register_behind_x31() -> None:
    assert State.offset("x_sink") == State.offset("x") + 8 * X_SINK


def _select(state: State, priv: int, satp: int) -> tuple[int, int]:
    """The contexts of a privilege in an address space."""
    state.priv, state.satp = priv, satp
    regime.FIND.python(state.words)
    regime.SELECT.python(state.words)
    return state.fetch_context, state.data_context


def test_a_regime_seen_before_has_its_context_again() -> None:
    state = State()
    user, supervisor = _select(state, 0, SATP), _select(state, 1, SATP)
    assert len({*user, *supervisor}) == 4
    assert _select(state, 1, SATP + 1) not in (user, supervisor)
    assert _select(state, 0, SATP) == user
    assert _select(state, 1, SATP) == supervisor


def test_machine_mode_is_the_same_in_every_address_space() -> None:
    state = State()
    assert _select(state, 3, SATP) == _select(state, 3, 0) == _select(state, 3, SATP + 5)


def test_an_address_space_that_lost_its_row_gets_new_contexts() -> None:
    state = State()
    before = _select(state, 1, SATP)
    _select(state, 1, SATP + SPACES)
    after = _select(state, 1, SATP)
    assert not {*before} & {*after}


def test_flushing_translations_abandons_all_contexts() -> None:
    state = State()
    spaces = [(priv, satp) for satp in (0, SATP, SATP + 1) for priv in (0, 1, 3)]
    before = {context for space in spaces for context in _select(state, *space)}
    regime.FORGET.python(state.words)
    after = {context for space in spaces for context in _select(state, *space)}
    assert not before & after
    assert state.oldest_context > max(before)


def test_flushing_code_keeps_data_translations() -> None:
    state = State()
    fetch, data, generation = state.fetch_context, state.data_context, state.code_generation
    state.flush_code()
    assert state.fetch_context != fetch
    assert state.data_context == data
    assert state.code_generation != generation


def test_when_the_numbers_are_used_up_nothing_hits_until_the_buffers_are_clear() -> None:
    state = State()
    used = {state.fetch_context, state.data_context}
    while state.data_context != NO_CONTEXT:
        assert not {state.fetch_context, state.data_context} & used - {1, 2}
        used |= {state.fetch_context, state.data_context}
        regime.FORGET.python(state.words)
        regime.SELECT.python(state.words)
    state.load_tlb[0] = 1
    state.start_contexts_anew()
    assert state.load_tlb[0] == 0
    assert 0 < state.fetch_context < NO_CONTEXT
