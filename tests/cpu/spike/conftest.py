"""The simulator, for the tests that ask it."""

from __future__ import annotations

import os

import pytest

from tests.cpu.spike import simulator


@pytest.fixture(scope="session")
def spike() -> str:
    """The simulator; CI installs it."""
    found = simulator.executable()
    if found is None:
        if os.environ.get("CI"):
            pytest.fail("Spike is not installed, and CI should have installed it")
        pytest.skip("Spike is not installed")
    return found
