"""The measured roofs: figures that a host can have, in the order that hosts have them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench import roof


def test_arithmetic_roofs_are_those_of_a_processor() -> None:
    assert 1e9 < roof.fma().rate(0.005) < 2e12
    assert 1e9 < roof.dots().rate(0.005) < 2e13


@pytest.mark.parametrize("measure", [roof.triad, roof.reads])
def test_memory_roofs_are_those_of_a_cache(measure: Callable[[int], roof.Roof]) -> None:
    assert 1e8 < measure(1 << 20).rate(0.005) < 2e12


def test_the_triad_computes_what_it_says() -> None:
    loop = roof.triad(8192)
    loop.memory[1], loop.memory[2] = 2.0, 4.0
    loop.run()
    assert set(loop.memory[0]) == {5.0}
