"""The GPU's times: against measured products, and against published figures."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.devices.timing import GPUS, available, errors
from emu import board
from emu.clock import PS_PER_SECOND, PS_PER_US
from emu.devices.gpu.dispatch import Counts
from emu.devices.gpu.timing import Route, Timing

A100, H100, H200 = (GPUS[name].timing() for name in ("a100", "h100", "h200"))
SIZES = st.integers(1, 1 << 16)


@pytest.mark.skipif(not available(), reason="aiconfigurator-core does not support this Python yet")
@pytest.mark.parametrize("name", ["a100", "h100"])
def test_products_take_the_measured_time_within_12_percent_on_average(name: str) -> None:
    assert np.abs(errors(GPUS[name])).mean() < 0.12


@pytest.mark.skipif(not available(), reason="aiconfigurator-core does not support this Python yet")
def test_a_gpu_that_had_no_part_in_the_fit_is_met_as_well() -> None:
    assert np.abs(errors(GPUS["h200"])).mean() < 0.12


def test_a_large_product_runs_at_the_published_rate_on_an_h200() -> None:
    seconds = H200.product_ps(8192, 8192, 8192) / PS_PER_SECOND
    assert 770e12 <= 2 * 8192**3 / seconds <= 800e12


def test_a_copy_in_an_h200_moves_the_published_4_3_terabytes_a_second() -> None:
    n = 1 << 33
    assert 2 * n / (H200.copy_ps(n, Route.VRAM) / PS_PER_SECOND) == pytest.approx(4.3e12, rel=0.02)


def test_a_copy_over_pci_express_5_moves_54_to_57_gigabytes_a_second() -> None:
    server = Timing(board.load("server").gpu)
    n = 1 << 33
    assert 54e9 <= n / (server.copy_ps(n, Route.HOST) / PS_PER_SECOND) <= 57e9


@pytest.mark.parametrize("gpu", [A100, H100])
def test_an_empty_kernel_takes_two_to_three_microseconds_and_its_launch_four_to_seven(
    gpu: Timing,
) -> None:
    kernel = gpu.dispatch_ps(Counts(warp_instructions=1), 1, 1)
    assert 2 * PS_PER_US <= kernel <= 3 * PS_PER_US
    assert 4 * PS_PER_US <= gpu.launch_ps + kernel <= 7 * PS_PER_US


@given(SIZES, SIZES, SIZES)
def test_a_product_is_never_faster_than_the_roofline(m: int, n: int, k: int) -> None:
    gpu = GPUS["h100"]
    arithmetic = 2 * m * n * k / (gpu.gflop_s * 1e9)
    memory = 2 * (m * k + k * n + m * n) / (gpu.memory_mb_s * 1e6)
    assert H100.product_ps(m, n, k) / PS_PER_SECOND > max(arithmetic, memory)


@given(SIZES, SIZES, SIZES)
def test_one_product_takes_what_it_takes_among_many(m: int, n: int, k: int) -> None:
    many = A100.product_cycles(*(np.array([1.0, d, 777.0]) for d in (m, n, k)))
    assert A100.product_ps(m, n, k) == pytest.approx(many[1] * 1e6 / 1410, abs=1)


@given(st.integers(0, 1 << 40), st.integers(0, 1 << 40), st.integers(1, 1 << 16))
def test_a_dispatch_is_never_faster_than_its_issue_rate_and_its_memory_allow(
    instructions: int, moved: int, groups: int
) -> None:
    time = H100.dispatch_ps(Counts(instructions, bytes_loaded=moved), groups, 8) / PS_PER_SECOND
    assert time * 1830e6 * 132 * 4 >= instructions * (1 - 1e-9)
    assert time * 3.35e12 >= moved * (1 - 1e-9)
