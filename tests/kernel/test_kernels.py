"""The GPU kernel library on the machine: launched by Kern through the kernel's driver, its results
against NumPy."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernel.conftest import MAIN, ROOT

Array = NDArray[Any]
SIDE = 20
_I = np.arange(SIDE * SIDE)
X = ((_I * 37 + 11) % 101 / 8 - 6).reshape(SIDE, SIDE)
Y = ((_I * 53 + 29) % 97 / 16 - 3).reshape(SIDE, SIDE)


@pytest.fixture(scope="module")
def said(build: Callable[[str], Path]) -> dict[str, str]:
    """What the program printed, by the first word of a line."""
    command = [sys.executable, "-c", MAIN, "run", "--kernel", str(build("kernels"))]
    run = subprocess.run(command, capture_output=True, timeout=120, cwd=ROOT)
    lines: dict[str, str] = {}
    for line in run.stdout.decode().replace("\r", "").splitlines():
        word, _, rest = line.partition(" ")
        lines[word] = f"{lines[word]}\n{rest}" if word in lines else rest
    assert "error:" not in lines, lines["error:"]
    return lines


def _softmax(x: Array) -> Array:
    powers = np.exp(x - x.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _attention(q: Array, k: Array, v: Array) -> Array:
    scores = q @ k.T / np.sqrt(SIDE)
    scores[np.triu_indices(SIDE, 1)] = -np.inf
    return _softmax(scores) @ v


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("vecadd", X + Y),
        ("saxpy", 2.5 * X + Y),
        ("dot", (X * Y).sum()),
        ("sgemm", X @ Y),
        ("sgemm_tiled", X @ Y),
        ("sgemm_tensor", X @ Y),
        ("transpose", X.T),
        ("psort", np.sort(X.ravel())),
        ("softmax", _softmax(X)),
        ("attention", _attention(X, Y, X)),
        ("after", X + Y),
    ],
)
def test_results_are_those_of_numpy(said: dict[str, str], name: str, want: Array) -> None:
    bits = np.array([int(word, 16) for word in said[name].split()], np.uint32)
    np.testing.assert_allclose(bits.view(np.float32), np.ravel(want), atol=2e-4)


def test_failing_check_in_a_kernel_is_an_error_of_its_launch(said: dict[str, str]) -> None:
    first, second = said["fault:"].split("\n")
    assert "illegal instruction" in first
    assert second == "there is no GPU9"
