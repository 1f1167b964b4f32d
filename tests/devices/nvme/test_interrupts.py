"""Interrupts by pin and by message, vectors, and coalescing (features 08h and 09h)."""

from __future__ import annotations

import pytest

from emu.clock import PS_PER_US

MSIX, MAILBOX = 0x4010_0000, 0x8020_0000
OK, INVALID_FIELD = (0, 0), (0, 2)
READ = 2


def enable_messages(driver, vectors: int) -> None:
    """Vector i writes 0x100 + i to word i of the mailbox."""
    for vector in range(vectors):
        entry = MSIX + 16 * vector
        for offset, value in ((0, MAILBOX + 4 * vector), (4, 0), (8, 0x100 + vector), (12, 0)):
            driver.bus.write(entry + offset, 4, value)
    capability = driver.nvme.config.read(0x34, 1)
    while driver.nvme.config.read(capability, 1) != 0x11:
        capability = driver.nvme.config.read(capability + 1, 1)
    driver.nvme.config.write(capability + 2, 2, 1 << 15)
    driver.fill(MAILBOX, 4 * vectors)


def arrived(driver, vectors: int = 4) -> list[int]:
    """The vectors whose messages have come since the last look."""
    words = [driver.bus.memory.read(MAILBOX + 4 * i, 4) for i in range(vectors)]
    driver.fill(MAILBOX, 4 * vectors)
    return [i for i, word in enumerate(words) if word == 0x100 + i]


@pytest.fixture
def messages(driver):
    """Queue pairs 1 and 2 with the vectors 1 and 2."""
    enable_messages(driver, 4)
    driver.create_queues(1, vector=1)
    driver.create_queues(2, vector=2)
    arrived(driver)
    return driver


def read(driver, qid: int, count: int = 1) -> None:
    for lba in range(count):
        driver.push(qid, READ, nsid=1, cdw10=lba)


def test_each_queue_sends_the_message_of_its_vector(messages) -> None:
    read(messages, 2)
    messages.let_time_pass()
    assert arrived(messages) == [2]
    read(messages, 1)
    messages.let_time_pass()
    assert arrived(messages) == [1]
    messages.push(0, 6, cdw10=1)
    messages.let_time_pass()
    assert arrived(messages) == [0]
    assert not messages.lines[1].level


def test_a_masked_vector_waits(messages) -> None:
    messages.bus.write(MSIX + 16 + 12, 4, 1)
    read(messages, 1)
    messages.let_time_pass()
    assert arrived(messages) == []
    messages.bus.write(MSIX + 16 + 12, 4, 0)
    messages.let_time_pass()
    assert arrived(messages) == [1]


def test_vectors_beyond_the_table_are_refused(messages) -> None:
    create = {"prp1": 0x8030_0000, "cdw10": 0xF_0003}
    assert messages.command(0, 5, **create, cdw11=65 << 16 | 3).status == (1, 8)
    assert messages.command(0, 5, **create, cdw11=64 << 16 | 3).status == OK


def test_a_queue_without_interrupts_is_silent(driver) -> None:
    enable_messages(driver, 4)
    size = 15 << 16 | 1
    assert driver.command(0, 5, prp1=0x8004_0000, cdw10=size, cdw11=1).status == OK
    assert driver.command(0, 1, prp1=0x8003_0000, cdw10=size, cdw11=1 << 16 | 1).status == OK
    driver.heads[1] = driver.tails[1] = 0
    driver.sizes[1], driver.rings[1] = 16, (0x8003_0000, 0x8004_0000)
    arrived(driver)
    read(driver, 1)
    driver.let_time_pass()
    assert driver.answer(1).status == OK
    assert arrived(driver) == []


def test_coalescing_waits_for_enough_entries(messages) -> None:
    assert messages.command(0, 9, cdw10=8, cdw11=2 << 8 | 3).status == OK  # 4 entries or 200 us
    arrived(messages)
    now = messages.events.clock.now_ps
    read(messages, 1, 3)
    messages.let_time_pass(150e-6)
    assert messages.answer(1).status == OK  # they are there, but nobody was told
    assert arrived(messages) == []
    messages.let_time_pass(250e-6)
    assert arrived(messages) == [1]
    assert messages.events.clock.now_ps - now == pytest.approx(313e6, rel=0.02)
    read(messages, 1, 4)
    messages.let_time_pass(150e-6)
    assert arrived(messages) == [1]
    messages.let_time_pass()
    assert arrived(messages) == []  # the timer went with it


def test_coalescing_leaves_out_vectors_that_were_told_so(messages) -> None:
    assert messages.command(0, 9, cdw10=8, cdw11=100 << 8 | 200).status == OK
    assert messages.command(0, 9, cdw10=9, cdw11=1 << 16 | 2).status == OK
    assert messages.command(0, 0x0A, cdw10=9, cdw11=2).result == 1 << 16 | 2
    assert messages.command(0, 0x0A, cdw10=9, cdw11=1).result == 1
    assert arrived(messages) == [0]  # the admin queue never waits
    read(messages, 1)
    read(messages, 2)
    messages.let_time_pass(1e-3)
    assert arrived(messages) == [2]
    for wrong in (65, 0xFFFF):
        assert messages.command(0, 9, cdw10=9, cdw11=wrong).status == INVALID_FIELD
        assert messages.command(0, 0x0A, cdw10=9, cdw11=wrong).status == INVALID_FIELD


def test_the_pin_is_coalesced_too(ready) -> None:
    line = ready.lines[1]
    assert ready.command(0, 9, cdw10=8, cdw11=5 << 8 | 1).status == OK
    assert not line.level
    read(ready, 1)
    ready.let_time_pass(200e-6)
    assert not line.level
    ready.let_time_pass(1)
    assert line.level
    ready.answer(1)
    assert not line.level
    read(ready, 1, 2)
    ready.let_time_pass(200e-6)
    assert line.level


def test_a_reset_takes_interrupts_and_timers_back(ready) -> None:
    assert ready.command(0, 9, cdw10=8, cdw11=255 << 8 | 9).status == OK
    read(ready, 1)
    ready.let_time_pass(200e-6)
    ready.enable()
    ready.let_time_pass()
    assert not ready.lines[1].level
    assert ready.command(0, 0x0A, cdw10=8).result == 0


def test_deleting_a_queue_lowers_the_pin(ready) -> None:
    read(ready, 1)
    ready.let_time_pass()
    assert ready.lines[1].level
    assert ready.command(0, 0, cdw10=1).status == OK
    assert ready.command(0, 4, cdw10=1).status == OK
    assert not ready.lines[1].level


def test_completions_that_are_due_close_together_are_one_interrupt(messages) -> None:
    moments = []

    def look() -> None:
        if arrived(messages):
            moments.append(messages.events.clock.now_ps)

    read(messages, 1, 8)  # 460,000 a second: 2.2 us apart, all within one burst of 20 us
    for _ in range(200):
        messages.let_time_pass(PS_PER_US / 1e12)
        messages.events.clock.skip_to(messages.events.clock.now_ps + PS_PER_US)
        look()
    assert len(moments) == 1
    assert [messages.answer(1).status for _ in range(8)] == [OK] * 8
