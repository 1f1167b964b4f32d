"""Fault plans: what they do to commands, that they repeat, how mistakes in them are reported."""

from __future__ import annotations

import pytest

from emu.devices.nvme import faults
from emu.devices.nvme.drives import Drive, open_namespaces
from emu.errors import AiosError

OK, READ_ERROR, WRITE_FAULT = (0, 0), (2, 0x81), (2, 0x80)
WRITE, READ, COMPARE, ZEROES, VERIFY, COPY = 1, 2, 5, 8, 0x0C, 0x19


@pytest.fixture
def planned(make_driver, image, tmp_path):
    """An enabled driver whose drive has the fault plan with this text."""

    def make(text: str):
        plan = tmp_path / "plan.toml"
        plan.write_text(text)
        driver = make_driver([Drive(str(image), faults=str(plan))])
        driver.enable()
        driver.create_queues()
        return driver

    return make


def test_bad_blocks_cannot_be_read_by_any_command(planned) -> None:
    driver = planned('[[fault]]\nkind = "read-error"\nlba = 100\nblocks = 4\n')
    assert driver.io(READ, 99, 1).status == OK
    assert driver.io(READ, 104, 1).status == OK
    assert driver.io(READ, 98, 3, **driver.pages(1536)).status == READ_ERROR
    assert driver.io(COMPARE, 103, 1).status == READ_ERROR
    assert driver.io(VERIFY, 101, 1).status == READ_ERROR
    driver.put(0x8005_0000, bytes(8) + (7).to_bytes(8, "little") + bytes(16))
    driver.put(0x8005_0020, bytes(8) + (100).to_bytes(8, "little") + bytes(16))
    copied = driver.command(1, COPY, nsid=1, cdw10=500, cdw12=1)
    assert (copied.status, copied.result) == (READ_ERROR, 1)  # the second range failed
    assert driver.health()["media_errors"] == 4
    newest = driver.log(1, 64)
    assert int.from_bytes(newest[16:24], "little") == 100


def test_only_the_nth_command_fails_and_only_so_often(planned) -> None:
    driver = planned('[[fault]]\nkind = "read-error"\nnth = 2\n')
    assert [driver.io(READ, 0, 1).status for _ in range(4)] == [OK, READ_ERROR, OK, OK]
    driver.close()
    driver = planned('[[fault]]\nkind = "write-error"\ntimes = 1\nlba = 5\nblocks = 1\n')
    assert driver.io(WRITE, 4, 1).status == OK
    assert driver.io(WRITE, 5, 1).status == WRITE_FAULT
    assert driver.io(ZEROES, 5, 1).status == OK


def test_slow_commands_are_overtaken(planned) -> None:
    driver = planned('[[fault]]\nkind = "slow"\nlba = 8\nblocks = 1\ndelay_us = 3000\n')
    slow = driver.push(1, READ, nsid=1, cdw10=8)
    quick = driver.push(1, READ, nsid=1, cdw10=9)
    driver.let_time_pass(0.002)
    assert driver.answer(1).cid == quick
    with pytest.raises(AssertionError, match="no completion"):
        driver.answer(1)
    driver.let_time_pass(0.01)
    assert driver.answer(1).cid == slow


def test_chance_is_decided_by_the_seed() -> None:
    def hits(seed: int) -> list[bool]:
        rule = {"kind": "read-error", "probability": 0.25}
        plan = faults.parse({"seed": seed, "fault": [rule]})
        return [plan.strike("read-error", 1, i, 1) is not None for i in range(4000)]

    assert hits(1) == hits(1)
    assert hits(1) != hits(2)
    assert sum(hits(3)) == pytest.approx(1000, abs=150)


def test_a_plan_can_name_one_namespace() -> None:
    plan = faults.parse({"fault": [{"kind": "read-error", "namespace": 2}]})
    assert plan.strike("read-error", 1, 0, 1) is None
    assert plan.strike("read-error", 2, 0, 1) is not None


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("fault = 3", r"must list its faults as \[\[fault\]\] tables"),
        ("sede = 3", "has an unknown key 'sede'"),
        ('seed = "x"', "says seed = 'x', but it must be an integer"),
        ("[[fault]]\nlba = 3", "has a fault without a kind; the kinds are read-error, write-error"),
        ('[[fault]]\nkind = "fire"', "says kind = 'fire', but it must be one of read-error"),
        ('[[fault]]\nkind = "slow"', "needs delay_us if it is slow"),
        ('[[fault]]\nkind = "read-error"\ndelay_us = 3', "takes it only then"),
        (f'[[fault]]\nkind = "slow"\ndelay_us = {10**30}', "0, but it must be 1 us to an hour"),
        ('[[fault]]\nkind = "slow"\nlba = -1', "says lba = -1, but it must be a number of at leas"),
        ('[[fault]]\nkind = "read-error"\nprobability = 2', "it must be between 0 and 1"),
        ('[[fault]]\nkind = "read-error"\ncolour = 2', "a fault with the unknown key 'colour'"),
        ("[[fault", "is not valid TOML"),
    ],
)
def test_mistakes_in_a_plan_are_a_sentence(tmp_path, text, match) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(text)
    with pytest.raises(AiosError, match=match):
        faults.load(str(path))


def test_a_plan_that_is_not_there_is_a_sentence(tmp_path) -> None:
    with pytest.raises(AiosError, match=r"fault plan .*none.toml cannot be read: No such file"):
        faults.load(str(tmp_path / "none.toml"))
    with pytest.raises(AiosError, match=r"fault plan .* cannot be read"):
        open_namespaces({1: Drive(str(tmp_path / "x.img"), faults="")}, 0)
