"""Enabling, resetting, queues and interrupts, with the statuses that compliance suites look for."""

from __future__ import annotations

import pytest

AQA, ASQ, CC, CSTS, INTMS, INTMC = 0x24, 0x28, 0x14, 0x1C, 0x0C, 0x10
ENABLE = 0x460001
OK = (0, 0)


def size_and_id(entries: int, qid: int) -> int:
    return (entries - 1) << 16 | qid


def test_the_controller_becomes_ready_and_resets(bare) -> None:
    assert bare.read(CSTS) == 0
    bare.enable()
    assert bare.read(CSTS) == 1
    bare.write(CC, 0)
    assert bare.read(CSTS) == 0
    bare.enable()
    assert bare.command(0, 6, cdw10=1).status == OK


def test_capabilities_and_version_read_by_halves(bare) -> None:
    cap = bare.read(4) << 32 | bare.read(0)
    assert cap & 0xFFFF == 2047
    assert cap >> 16 & 1  # contiguous queues required
    assert cap >> 32 & 0xF == 0  # doorbell stride
    assert cap >> 37 & 1  # NVM command set
    assert bare.read(8) == 0x0001_0400


@pytest.mark.parametrize(
    ("register", "value", "cc"),
    [
        (AQA, 0, ENABLE),
        (AQA, 0x1F_0000, ENABLE),
        (ASQ, 0x8001_0008, ENABLE),
        (INTMS, 0, ENABLE | 1 << 4),
        (INTMS, 0, ENABLE | 5 << 7),
        (INTMS, 0, ENABLE | 1 << 11),
    ],
)
def test_impossible_settings_end_in_fatal_status(bare, register, value, cc) -> None:
    bare.enable(cc=0)
    bare.write(register, value)
    bare.write(CC, cc)
    bare.let_time_pass()
    assert bare.read(CSTS) & 3 == 2
    bare.enable()
    assert bare.read(CSTS) & 3 == 1


def test_linux_shutdown_completes(driver) -> None:
    driver.write(CC, 0x464061 & ~0x60)
    assert driver.read(CSTS) >> 2 & 3 == 1
    driver.let_time_pass()
    assert driver.read(CSTS) >> 2 & 3 == 2
    driver.write(CC, 0)
    assert driver.read(CSTS) == 0


def test_after_a_shutdown_only_a_reset_helps(ready) -> None:
    """What was under way before is done or never; doorbells are not heard any more."""
    quick = ready.push(1, 1, nsid=1, prp1=0x8005_0000)
    ready.push(1, 2, nsid=1, cdw12=1023)
    ready.events.clock.skip_to(ready.events.clock.now_ps + 15_000_000)
    ready.write(CC, ENABLE | 1 << 14)
    ready.let_time_pass()
    assert ready.read(CSTS) == 9
    assert ready.answer(1).cid == quick
    ready.write(CC, ENABLE)
    ready.push(1, 2, nsid=1)
    ready.let_time_pass()
    assert ready.read(CSTS) == 9
    with pytest.raises(AssertionError, match="no completion"):
        ready.answer(1)
    ready.enable()
    assert ready.read(CSTS) == 1
    assert ready.command(0, 6, cdw10=1).status == OK


def test_uboot_sequence(bare) -> None:
    """Admin queues of depth 2, so every command wraps; then one I/O queue pair of depth 2."""
    bare.enable(entries=2)
    assert bare.command(0, 9, cdw10=7, cdw11=0).status == OK
    bare.create_queues(entries=2)
    assert bare.command(0, 6, cdw10=1).status == OK
    assert bare.command(0, 6, cdw10=0, nsid=1).status == OK
    for lba in range(5):
        assert bare.io(2, lba, 1).status == OK
        assert bare.get(0x8005_0000, 1) == bytes([lba])


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cdw10": size_and_id(16, 0)}, (1, 1)),
        ({"cdw10": size_and_id(16, 65)}, (1, 1)),
        ({"cdw10": size_and_id(1, 2)}, (1, 2)),
        ({"cdw10": size_and_id(2049, 2)}, (1, 2)),
        ({"cdw11": 0x1_0003}, (1, 8)),
        ({"cdw11": 2}, (0, 2)),
        ({"prp1": 0x8003_0008}, (0, 0x13)),
    ],
)
def test_wrong_completion_queues_are_refused(driver, fields, status) -> None:
    good = {"prp1": 0x8004_0000, "cdw10": size_and_id(16, 2), "cdw11": 3}
    assert driver.command(0, 5, **(good | fields)).status == status


def test_queue_creation_and_deletion_order(ready) -> None:
    create_sq = {"prp1": 0x8003_0000, "cdw10": size_and_id(16, 2)}
    assert ready.command(0, 5, prp1=0x8004_0000, cdw10=size_and_id(16, 1)).status == (1, 1)
    assert ready.command(0, 1, **create_sq, cdw11=0x9_0001).status == (1, 0)  # no such CQ
    assert ready.command(0, 1, **create_sq, cdw11=0x0_0001).status == (1, 1)  # CQ 0
    assert ready.command(0, 4, cdw10=1).status == (1, 0x0C)  # the CQ still has an SQ
    assert ready.command(0, 0, cdw10=1).status == OK
    assert ready.command(0, 0, cdw10=1).status == (1, 1)  # deleted already
    assert ready.command(0, 4, cdw10=1).status == OK
    assert ready.command(0, 0, cdw10=0).status == (1, 1)
    assert ready.command(0, 4, cdw10=0).status == (1, 1)


def test_unknown_opcodes_and_flags_are_refused(ready) -> None:
    assert ready.command(0, 0x7F).status == (0, 1)
    assert ready.command(1, 0x7F, nsid=1).status == (0, 1)
    assert ready.command(0, 6, cdw10=1, flags=0x40).status == (0, 2)


def test_interrupts_follow_unread_completions_and_the_mask(ready) -> None:
    line = ready.lines[1]
    ready.push(1, 2, nsid=1)
    ready.let_time_pass()
    assert line.level
    ready.write(INTMS, 1)
    assert not line.level
    assert (ready.read(INTMS), ready.read(INTMC)) == (1, 1)
    ready.write(INTMC, 1)
    assert line.level
    ready.answer(1)
    assert not line.level


def test_completions_wait_for_room_in_the_ring(ready) -> None:
    for lba in range(14):
        ready.push(1, 2, nsid=1, cdw10=lba)
    ready.let_time_pass()
    ids = [ready.answer(1, consume=False).cid for _ in range(14)]
    for lba in range(4):
        ready.push(1, 2, nsid=1, cdw10=lba)
    ready.let_time_pass()
    ready.answer(1, consume=False)
    with pytest.raises(AssertionError, match="no completion"):
        ready.answer(1)  # the ring is full: 15 entries of 16
    ready.write(0x1004 + 8, 15)
    assert ready.answer(1).cid == ids[-1] + 2


def test_deleting_a_queue_ends_its_commands(ready) -> None:
    for _ in range(3):
        ready.push(1, 2, nsid=1, cdw12=1023)
    ready.let_time_pass(2e-6)
    assert ready.command(0, 0, cdw10=1).status == OK
    statuses = [ready.answer(1).status for _ in range(3)]
    assert statuses == [(0, 8)] * 3


def test_abort_ends_a_command_under_way_and_misses_others(ready) -> None:
    cid = ready.push(1, 2, nsid=1, cdw12=1023)
    ready.let_time_pass(2e-6)
    aborted = ready.command(0, 8, cdw10=cid << 16 | 1)
    assert (aborted.status, aborted.result) == (OK, 0)
    assert ready.answer(1).status == (0, 7)
    missed = ready.command(0, 8, cdw10=cid << 16 | 1)
    assert (missed.status, missed.result) == (OK, 1)


def test_bad_doorbells_are_reported_as_events(driver) -> None:
    cid = driver.push(0, 0x0C)
    driver.write(0x1000 + 8 * 5, 1)  # queue 5 does not exist
    driver.let_time_pass()
    event = driver.answer()
    assert (event.cid, event.result) == (cid, 0x01_0000)
    driver.push(0, 0x0C)
    driver.write(0x1000, 99)  # beyond the queue
    driver.let_time_pass()
    driver.push(0, 2, nsid=0xFFFF_FFFF, cdw10=0x0F_0001)  # only reading the log lets it through
    driver.let_time_pass()
    assert {driver.answer().result for _ in range(2)} == {0, 0x01_0100}


def test_a_fifth_event_request_is_too_many(driver) -> None:
    for _ in range(4):
        driver.push(0, 0x0C)
    assert driver.command(0, 0x0C).status == (1, 5)


def test_a_submission_queue_outside_ram_is_fatal(bare) -> None:
    bare.enable(cc=0)
    bare.write(ASQ, 0x1000)
    bare.write(CC, ENABLE)
    bare.let_time_pass()
    bare.write(0x1000, 1)
    bare.let_time_pass()
    assert bare.read(CSTS) & 2


def test_without_bus_mastering_nothing_is_fetched(driver) -> None:
    driver.nvme.config.write(4, 2, 2)
    driver.push(0, 6, cdw10=1)
    driver.let_time_pass()
    assert driver.read(CSTS) & 2
