"""The closed forms against cycles that SCALE-Sim 3.0.0 reported ("Total Cycles" of its
COMPUTE_REPORT), recorded because it needs an older NumPy than we do."""

from __future__ import annotations

import pytest

from emu.devices.systolic import Dataflow, cycles

_OS, _WS, _IS = Dataflow
# m, n, k; rows, columns; cycles with sums, weights, inputs that stay
RECORDED = [
    ((8, 8, 8), (8, 8), (21, 29, 29)),
    ((32, 32, 32), (16, 4), (799, 1055, 1055)),
    ((100, 7, 13), (32, 32), (299, 193, 403)),
    ((64, 128, 16), (8, 8), (3839, 2751, 2399)),
    ((1, 64, 64), (16, 4), (1311, 2239, 391)),
    ((17, 33, 5), (32, 32), (133, 221, 126)),
    ((128, 16, 100), (8, 8), (3647, 3899, 7903)),
    ((200, 40, 60), (16, 4), (10139, 9359, 14799)),
    ((31, 31, 31), (32, 32), (92, 124, 124)),
    ((96, 48, 24), (8, 8), (2735, 2123, 2519)),
    ((5, 300, 9), (16, 4), (2024, 2924, 667)),
    ((256, 64, 64), (32, 32), (2015, 1399, 2527)),
]


@pytest.mark.parametrize(("product", "array", "expected"), RECORDED, ids=str)
def test_cycles_equal_scale_sim(
    product: tuple[int, int, int], array: tuple[int, int], expected: tuple[int, int, int]
) -> None:
    assert tuple(cycles(flow, *array, *product) for flow in (_OS, _WS, _IS)) == expected
