"""`test` blocks that launch gpu functions: the kernel runs them, with its driver."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.cli.test import run_on_machine
from toolchain.kern import testing
from toolchain.kern.compile import read_source

_FILE = Path(__file__).with_name("launching.kern")


@pytest.fixture(scope="module")
def results() -> dict[str, testing.TestResult]:
    """How each test of the file ended."""
    image = testing.build([read_source(_FILE)])
    return {result.name: result for result in testing.run(image, run_on_machine)}


@pytest.mark.parametrize(
    "name",
    ["a launch waits for the end", "launches with signals run one after the other"],
)
def test_launches_from_test_blocks(results: dict[str, testing.TestResult], name: str) -> None:
    assert results[name].passed, results[name].message


def test_fault_is_told_with_the_line_of_the_gpu_function(
    results: dict[str, testing.TestResult],
) -> None:
    result = results["a fault of a kernel fails the test"]
    assert not result.passed
    line = 1 + _FILE.read_text().splitlines().index(
        "gpu fn increment(x: slice[int]) { x[global_id(0)] += 1 }"
    )
    assert "came to an illegal instruction" in result.message
    assert f"launching.kern:{line})" in result.message


def test_failing_check_of_a_hosted_test_is_told(results: dict[str, testing.TestResult]) -> None:
    result = results["the GPU has survived it"]
    assert not result.passed
    assert result.message.endswith("and a failing check is told")


def test_tests_of_the_kernel_itself_are_not_run(results: dict[str, testing.TestResult]) -> None:
    assert len(results) == 4
