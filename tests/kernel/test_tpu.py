"""The kernel's TPU driver on every board: products that the hart checks, failures survived."""

from __future__ import annotations

import re

import pytest

from tests.kernel.conftest import Boot

WELL = "multiplies as the hart does, and survives what it cannot do"


@pytest.mark.parametrize(("board", "count"), [("edge", 1), ("workstation", 1), ("server", 2)])
def test_every_tpu_multiplies_and_survives_its_failures(aios: Boot, board: str, count: int) -> None:
    tests = "".join(f"tputest {i}\n" for i in range(count))
    session = aios(f"{tests}tpus\npoweroff\n", board=board)
    for i in range(count):
        assert f"TPU{i} {WELL}" in session.answer(f"tputest {i}")
    found = re.findall(r"^TPU\d  0 KiB .* (\d+) programs, (\d+) failed$", session.said, re.M)
    assert [(int(programs) >= 14, int(failed)) for programs, failed in found] == [(True, 9)] * count


def test_tpu_that_is_not_there_is_named(aios: Boot) -> None:
    assert aios("tputest 1\npoweroff\n").answer("tputest 1") == "error: there is no TPU1\n"


def test_qemu_has_no_tpu_and_the_kernel_lives(qemu: Boot) -> None:
    assert qemu("tpus\npoweroff\n").answer("tpus") == "no TPUs\n"
