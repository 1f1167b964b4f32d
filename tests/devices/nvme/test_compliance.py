"""What compliance suites look for: SPDK's nvme_compliance, each case under its own name, and the
statuses that the base specification 1.4 has for other wrong commands.

SPDK's suite runs with MSI-X; by pin there is only vector 0, so vectors other than that are in
test_interrupts.py.
"""

from __future__ import annotations

import struct

import pytest

DATA, SQ, CQ = 0x8005_0000, 0x8060_0000, 0x8070_0000
OK, INVALID_OPCODE, INVALID_FIELD, SEQUENCE_ERROR = (0, 0), (0, 1), (0, 2), (0, 0x0C)
BAD_ADDRESS, INVALID_NAMESPACE, INVALID_OFFSET = (0, 4), (0, 0x0B), (0, 0x13)
INVALID_CQ, INVALID_QID, INVALID_SIZE, INVALID_VECTOR = (1, 0), (1, 1), (1, 2), (1, 8)
INVALID_DELETION = (1, 0x0C)
DELETE_SQ, CREATE_SQ, GET_LOG, DELETE_CQ, CREATE_CQ, IDENTIFY = 0, 1, 2, 4, 5, 6
SET_FEATURES, GET_FEATURES, EVENT = 9, 0x0A, 0x0C
READ, COMPARE, WRITE = 2, 5, 1
MQES = 2048


def size(qid: int, entries: int) -> int:
    return (entries - 1 & 0xFFFF) << 16 | qid


def create_cq(driver, qid=1, entries=8, flags=3, vector=0, at=CQ):
    cdw = {"cdw10": size(qid, entries), "cdw11": vector << 16 | flags}
    return driver.command(0, CREATE_CQ, prp1=at + 0x1_0000 * qid, **cdw).status


def create_sq(driver, qid=1, entries=8, flags=1, cqid=1, at=SQ):
    cdw = {"cdw10": size(qid, entries), "cdw11": cqid << 16 | flags}
    return driver.command(0, CREATE_SQ, prp1=at + 0x1_0000 * qid, **cdw).status


def delete_sq(driver, qid=1):
    return driver.command(0, DELETE_SQ, cdw10=qid).status


def delete_cq(driver, qid=1):
    return driver.command(0, DELETE_CQ, cdw10=qid).status


# --- SPDK's cases ---------------------------------------------------------------------------------


def test_admin_identify_ctrlr_verify_dptr(driver) -> None:
    """A pointer that does not describe all of the 4 KiB is an error."""
    assert driver.command(0, IDENTIFY, cdw10=1).status == OK
    assert driver.command(0, IDENTIFY, cdw10=1, prp1=DATA + 3072).status == BAD_ADDRESS


def test_admin_identify_ctrlr_verify_fused(driver) -> None:
    for flags in (1, 2):
        assert driver.command(0, IDENTIFY, cdw10=1, flags=flags).status == INVALID_FIELD


def test_admin_identify_ns(driver) -> None:
    assert driver.command(0, IDENTIFY, nsid=0).status == INVALID_NAMESPACE
    assert driver.command(0, IDENTIFY, nsid=0xFFFF_FFFF).status == INVALID_NAMESPACE
    assert driver.command(0, IDENTIFY, nsid=1).status == OK


@pytest.mark.parametrize("fid", [1, 2, 4, 5, 7, 8, 9, 0x0A, 0x0B, 0x16])
def test_admin_get_features_mandatory_features(driver, fid) -> None:
    assert driver.command(0, GET_FEATURES, cdw10=fid).status == OK


def test_admin_set_features_number_of_queues(driver) -> None:
    set_number = {"cdw10": 7, "cdw11": 0xFFFF_FFFF}
    assert driver.command(0, SET_FEATURES, **set_number).status == INVALID_FIELD
    driver.create_queues()
    assert driver.command(0, SET_FEATURES, cdw10=7, cdw11=0x80_0080).status == SEQUENCE_ERROR


@pytest.mark.parametrize(("log", "length"), [(1, 64), (2, 512), (3, 512)])
def test_admin_get_log_page_mandatory_logs(driver, log, length) -> None:
    assert driver.command(0, GET_LOG, cdw10=(length // 4 - 1) << 16 | log).status == OK


def test_admin_get_log_page_with_lpo(driver) -> None:
    whole = {"cdw10": 127 << 16 | 3}
    assert driver.command(0, GET_LOG, **whole).status == OK
    expected = driver.get(DATA, 512)
    assert driver.command(0, GET_LOG, **whole, cdw12=512 + 4).status == INVALID_FIELD
    assert driver.command(0, GET_LOG, **whole, cdw12=4).status == OK
    assert driver.get(DATA, 508) == expected[4:]


def test_fabric_property_get(driver) -> None:
    assert driver.command(0, 0x7F, nsid=4).status == INVALID_OPCODE


def test_admin_delete_io_sq_use_admin_qid(driver) -> None:
    assert delete_sq(driver, 0) == INVALID_QID


def test_admin_delete_io_sq_delete_sq_twice(ready) -> None:
    assert ready.io(READ, 0, 1).status == OK
    assert delete_sq(ready) == OK
    assert delete_sq(ready) == INVALID_QID
    assert delete_cq(ready) == OK


def test_admin_delete_io_cq_use_admin_qid(driver) -> None:
    assert delete_cq(driver, 0) == INVALID_QID


def test_admin_delete_io_cq_delete_cq_first(ready) -> None:
    assert ready.io(READ, 0, 1).status == OK
    assert delete_cq(ready) == INVALID_DELETION
    assert delete_sq(ready) == OK
    assert delete_cq(ready) == OK


def test_admin_create_io_cq_verify_iv_pc(driver) -> None:
    assert create_cq(driver, entries=MQES, vector=2048) == INVALID_VECTOR
    assert create_cq(driver, entries=MQES, flags=2) == INVALID_FIELD
    assert create_cq(driver, entries=MQES) == OK
    assert delete_cq(driver) == OK


def test_admin_create_io_sq_verify_qsize_cqid(ready) -> None:
    granted = (ready.command(0, GET_FEATURES, cdw10=7).result >> 16) + 1
    assert delete_sq(ready) == OK
    assert create_sq(ready, entries=1) == INVALID_SIZE
    assert create_sq(ready, entries=MQES + 1) == INVALID_SIZE
    assert create_sq(ready, entries=MQES, cqid=0) == INVALID_QID
    assert create_sq(ready, entries=MQES, cqid=granted + 1) == INVALID_QID
    assert create_sq(ready, entries=MQES, cqid=granted) == INVALID_CQ
    assert create_sq(ready, entries=MQES) == OK


def test_admin_create_io_sq_verify_pc(ready) -> None:
    assert delete_sq(ready) == OK
    assert create_sq(ready, entries=MQES, flags=0) == INVALID_FIELD
    assert create_sq(ready, entries=MQES) == OK


def test_admin_create_io_qp_max_qps(driver) -> None:
    """As many queue pairs as were granted, and none beyond."""
    assert driver.command(0, SET_FEATURES, cdw10=7, cdw11=0x4_0006).result == 0x4_0006
    for qid in range(1, 6):
        assert create_cq(driver, qid) == OK
        assert create_sq(driver, qid, cqid=qid) == OK
    assert create_cq(driver, 6) == INVALID_QID
    assert create_sq(driver, 6) == OK
    assert create_sq(driver, 7) == OK
    assert create_sq(driver, 8) == INVALID_QID


def test_admin_create_io_sq_shared_cq(driver) -> None:
    assert driver.command(0, SET_FEATURES, cdw10=7, cdw11=0x1_0003).status == OK
    for qid in (1, 2):
        assert create_cq(driver, qid) == OK
    for qid, cqid in ((1, 2), (2, 2), (3, 2), (4, 1)):
        assert create_sq(driver, qid, cqid=cqid) == OK
    assert [delete_sq(driver, qid) for qid in (1, 2)] == [OK, OK]
    assert delete_cq(driver, 2) == INVALID_DELETION
    assert [delete_sq(driver, qid) for qid in (3, 4)] == [OK, OK]
    assert [delete_cq(driver, qid) for qid in (2, 1)] == [OK, OK]


# --- others ---------------------------------------------------------------------------------------


def test_completions_of_shared_queues_name_their_submission_queue(driver) -> None:
    assert create_cq(driver, 1, entries=16) == OK
    for qid in (1, 2, 3):
        assert create_sq(driver, qid) == OK
        driver.heads[qid] = driver.tails[qid] = 0
        driver.sizes[qid], driver.rings[qid] = 8, (SQ + 0x1_0000 * qid, CQ + 0x1_0000)
    driver.sizes[1] = 16
    pushed = []
    for qid in (3, 1, 2):
        driver.sizes[1] = 8
        pushed.append((qid, driver.push(qid, READ, nsid=1)))
    driver.sizes[1] = 16
    driver.let_time_pass()
    found = [driver.answer(1, consume=False) for _ in range(3)]
    assert [(answer.sqid, answer.cid) for answer in found] == pushed


@pytest.mark.parametrize(
    "opcode", [0x03, 0x07, 0x0D, 0x10, 0x14, 0x18, 0x80, 0x81, 0x84, 0xC0, 255]
)
def test_admin_opcodes_that_there_are_not(driver, opcode) -> None:
    assert driver.command(0, opcode, nsid=1).status == INVALID_OPCODE


@pytest.mark.parametrize(
    "opcode", [3, 4, 6, 7, 0x0A, 0x0D, 0x0E, 0x11, 0x15, 0x79, 0x7D, 0x80, 255]
)
def test_io_opcodes_that_there_are_not(ready, opcode) -> None:
    assert ready.command(1, opcode, nsid=1).status == INVALID_OPCODE


@pytest.mark.parametrize("flags", [0x40, 0x80, 0xC0, 0x41])
def test_scatter_gather_lists_are_refused(ready, flags) -> None:
    assert ready.command(0, IDENTIFY, cdw10=1, flags=flags).status == INVALID_FIELD
    assert ready.io(READ, 0, 1, flags=flags).status == INVALID_FIELD


@pytest.mark.parametrize("cns", [0x04, 0x08, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0xFF])
def test_identify_structures_that_there_are_not(driver, cns) -> None:
    assert driver.command(0, IDENTIFY, cdw10=cns, nsid=1).status == INVALID_FIELD


@pytest.mark.parametrize("cns", [5, 6, 7])
def test_structures_of_other_command_sets_are_refused(driver, cns) -> None:
    assert driver.command(0, IDENTIFY, cdw10=cns, nsid=1).status == OK
    assert driver.command(0, IDENTIFY, cdw10=cns, nsid=1, cdw11=2 << 24).status == INVALID_FIELD


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"cdw10": 0x03}, INVALID_FIELD),  # no such feature
        ({"cdw10": 0x0C}, INVALID_FIELD),
        ({"cdw10": 0x0D}, INVALID_FIELD),
        ({"cdw10": 0x0F}, INVALID_FIELD),
        ({"cdw10": 0xC0}, INVALID_FIELD),
        ({"cdw10": 0x02, "cdw11": 1}, INVALID_FIELD),  # no such power state
        ({"cdw10": 0x04, "cdw11": 1 << 16}, INVALID_FIELD),  # no such sensor
        ({"cdw10": 0x04, "cdw11": 2 << 20}, INVALID_FIELD),  # no such threshold
        ({"cdw10": 0x05, "cdw11": 1 << 16}, INVALID_FIELD),  # deallocated blocks read as zeros
        ({"cdw10": 0x19, "cdw11": 1}, INVALID_FIELD),  # no such combination
        ({"cdw10": 0x0E, "prp1": 0x1000}, BAD_ADDRESS),
        ({"cdw10": 0x01 | 1 << 31}, (1, 0x0D)),
    ],
)
def test_wrong_features(driver, fields, status) -> None:
    assert driver.command(0, SET_FEATURES, **fields).status == status


def test_get_features_selects_the_current_and_the_default_value(driver) -> None:
    assert driver.command(0, SET_FEATURES, cdw10=6, cdw11=0).status == OK
    found = [driver.command(0, GET_FEATURES, cdw10=6 | sel << 8) for sel in range(5)]
    assert [answer.result for answer in found[:4]] == [0, 1, 1, 4]  # 4: changeable
    assert found[4].status == INVALID_FIELD


def test_the_fifth_abort_at_once_is_too_many(driver) -> None:
    """Identify says four; all are fetched by one doorbell."""
    entries = [struct.pack("<BBHI32x6I", 8, 0, 100 + i, 0, 0xFFFF_0001, *[0] * 5) for i in range(5)]
    driver.put(driver.rings[0][0] + 64 * driver.tails[0], b"".join(entries))
    driver.tails[0] += 5
    driver.write(0x1000, driver.tails[0])
    driver.let_time_pass()
    found = [driver.answer() for _ in range(5)]
    statuses = {answer.cid: (answer.status, answer.result) for answer in found}
    assert statuses == {100 + i: (OK, 1) for i in range(4)} | {104: ((1, 3), 0)}
    again = driver.command(0, 8, cdw10=0xFFFF_0001)
    assert (again.status, again.result) == (OK, 1)


def test_an_event_request_can_be_aborted(driver) -> None:
    cid = driver.push(0, EVENT)
    aborted = driver.command(0, 8, cdw10=cid << 16)
    found = {aborted.cid: aborted, **{a.cid: a for a in [driver.answer()]}}
    assert found[cid].status == (0, 7)


def test_two_commands_with_one_identifier_conflict(ready) -> None:
    ready.push(1, READ, cid=7, nsid=1)
    ready.push(1, READ, cid=7, nsid=1)
    ready.let_time_pass()
    assert sorted(ready.answer(1).status for _ in range(2)) == [OK, (0, 3)]


@pytest.mark.parametrize("at", [0x1000, 0x83FF_F000])
def test_queues_outside_memory_are_fatal_when_they_are_used(driver, at) -> None:
    assert create_cq(driver, entries=MQES, at=at - 0x1_0000) == OK
    assert create_sq(driver) == OK
    driver.heads[1] = driver.tails[1] = 0
    driver.sizes[1], driver.rings[1] = 8, (SQ + 0x1_0000, 0)
    driver.push(1, READ, nsid=1)
    driver.let_time_pass()
    assert driver.read(0x1C) & 3 == 3
    driver.enable()
    assert driver.read(0x1C) & 3 == 1


def test_admin_only_mode_has_no_io_commands(bare) -> None:
    bare.enable(cc=0x460071)
    bare.create_queues()
    assert bare.command(0, IDENTIFY, cdw10=1).status == OK
    assert bare.io(READ, 0, 1).status == INVALID_OPCODE


def test_an_event_for_every_kind_of_wrong_doorbell(ready) -> None:
    """Doorbells of missing queues, values outside the ring, heads that pass the tail."""
    for register, value, result in (
        (0x1000 + 8 * 9, 0, 0x01_0000),
        (0x1004 + 8 * 9, 0, 0x01_0000),
        (0x1008, 16, 0x01_0100),
        (0x100C, 16, 0x01_0100),
        (0x100C, 3, 0x01_0100),  # nothing was posted
        (0x1008, 0xFFFF, 0x01_0100),
    ):
        cid = ready.push(0, EVENT)
        ready.write(register, value)
        ready.let_time_pass()
        event = ready.answer()
        assert (event.cid, event.result, event.status) == (cid, result, OK)
        ready.log(1, 64)  # lets the next one through
    assert ready.io(READ, 0, 1).status == OK


def test_temperature_thresholds_give_warnings_and_events(driver) -> None:
    assert driver.log(2, 512)[0] == 0
    driver.push(0, EVENT)
    assert driver.command(0, SET_FEATURES, cdw10=4, cdw11=300).status == OK  # it has 310 K
    assert driver.log(2, 512)[0] == 2
    assert driver.command(0, SET_FEATURES, cdw10=0x0B, cdw11=2).status == OK
    driver.let_time_pass()
    assert driver.answer().result == 0x02_0101
    assert driver.command(0, SET_FEATURES, cdw10=4, cdw11=343).status == OK
    assert driver.log(2, 512)[0] == 0
    under = {"cdw10": 4, "cdw11": 1 << 20 | 320}
    assert driver.command(0, SET_FEATURES, **under).status == OK
    assert driver.log(2, 512)[0] == 2


def test_a_subsystem_reset_is_a_reset_that_says_so(ready) -> None:
    assert ready.read(4) >> 4 & 1  # CAP.NSSRS
    ready.write(0x20, 0x1234)
    assert ready.io(READ, 0, 1).status == OK
    ready.write(0x20, 0x4E56_4D65)
    assert ready.read(0x1C) == 1 << 4
    assert (ready.read(0x14), ready.read(0x24)) == (0, 0)
    ready.write(0x1C, 1 << 4)
    assert ready.read(0x1C) == 0
    ready.enable()
    assert ready.command(0, IDENTIFY, cdw10=1).status == OK


# --- fused compare and write ----------------------------------------------------------------------


def fuse(driver, first: dict[str, int], second: dict[str, int]) -> list[tuple[int, int]]:
    """Push a pair as halves and return how they ended."""
    base = {"nsid": 1, "cdw10": 9}
    a = driver.push(1, first.pop("opcode", COMPARE), **{**base, "flags": 1, **first})
    b = driver.push(1, second.pop("opcode", WRITE), **{**base, "flags": 2, **second})
    driver.let_time_pass()
    found = {answer.cid: answer.status for answer in (driver.answer(1), driver.answer(1))}
    return [found[a], found[b]]


def test_compare_and_write_writes_only_what_was_expected(ready, image) -> None:
    old, new = ready.read_blocks(9), b"n" * 512
    ready.put(DATA, old)
    ready.put(DATA + 8192, new)
    assert fuse(ready, {}, {"prp1": DATA + 8192}) == [OK, OK]
    assert ready.read_blocks(9) == new
    ready.put(DATA, old)
    assert fuse(ready, {}, {"prp1": DATA}) == [(2, 0x85), (0, 9)]
    assert ready.read_blocks(9) == new


def test_halves_that_do_not_fit_are_refused(ready) -> None:
    assert fuse(ready, {}, {"cdw10": 8}) == [INVALID_FIELD] * 2
    assert fuse(ready, {}, {"cdw12": 1}) == [INVALID_FIELD] * 2
    assert fuse(ready, {"opcode": READ}, {}) == [INVALID_FIELD] * 2
    assert fuse(ready, {}, {"flags": 0}) == [(0, 0x0A), OK]
    assert fuse(ready, {"flags": 0}, {}) == [OK, (0, 0x0A)]
    assert fuse(ready, {"nsid": 9}, {"nsid": 9}) == [INVALID_NAMESPACE, (0, 9)]


def test_aborting_a_pair_takes_both_halves(ready) -> None:
    first = ready.push(1, COMPARE, flags=1, nsid=1)
    second = ready.push(1, WRITE, flags=2, nsid=1)
    assert ready.command(0, 8, cdw10=first << 16 | 1).result == 0
    found = {answer.cid: answer.status for answer in (ready.answer(1), ready.answer(1))}
    assert found == {first: (0, 7), second: (0, 7)}
    assert ready.events.next_ps() is None  # nobody waits for what does not come any more


def test_a_first_half_waits_for_its_second_and_goes_with_its_queue(ready) -> None:
    half = ready.push(1, COMPARE, flags=1, nsid=1)
    ready.let_time_pass()
    with pytest.raises(AssertionError, match="no completion"):
        ready.answer(1)
    assert delete_sq(ready) == OK
    ended = ready.answer(1)
    assert (ended.cid, ended.status) == (half, (0, 8))
