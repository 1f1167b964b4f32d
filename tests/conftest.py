"""Fixtures and Hypothesis profiles that every test directory shares."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, settings

from emu.cpu.native.handlers import interpreter_code

settings.register_profile("dev", deadline=None, max_examples=40)
settings.register_profile(
    "ci",
    deadline=None,
    max_examples=60,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("deep", deadline=None, max_examples=2000)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "dev"))


@pytest.fixture(scope="session", autouse=True)
def compiled_interpreter() -> None:
    """Have the interpreter well compiled before any machine would begin with one made in haste."""
    interpreter_code()


@pytest.fixture
def tool() -> Callable[[str], str]:
    """The path of another project's program that serves as an oracle.

    A test is skipped where it is absent, but not in CI, which installs them all.
    """

    def find(name: str) -> str:
        path = shutil.which(name)
        if path is None:
            if os.environ.get("CI"):
                pytest.fail(f"{name} is not installed, and CI should have installed it")
            pytest.skip(f"{name} is not installed")
        return path

    return find
