"""A short campaign of hostile guests; `python -m tests.safety.campaign` runs long ones."""

from __future__ import annotations

import pytest

from tests.safety.campaign import batch


@pytest.mark.parametrize(("kind", "trials"), [("tensor", 150), ("program", 25), ("lanes", 120)])
def test_hostile_guests_trap_and_the_host_lives(kind: str, trials: int) -> None:
    assert list(batch(kind, 0, trials)) == []


def test_ten_million_hostile_instructions_leave_the_host_alive() -> None:
    assert list(batch("cpu", 0, 200, instructions=10_000_000)) == []
