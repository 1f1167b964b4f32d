"""A snapshot taken while commands are under way: what is restored goes on as the original did."""

from __future__ import annotations

from tests.devices.nvme.test_interrupts import arrived, enable_messages

OK = (0, 0)
READ, EVENT = 2, 0x0C


def busy(driver) -> None:
    """Queues, features, an event request, a coalesced completion, and reads under way."""
    enable_messages(driver, 2)
    driver.create_queues(vector=1)
    assert driver.command(0, 9, cdw10=8, cdw11=3 << 8 | 5).status == OK
    assert driver.command(0, 9, cdw10=4, cdw11=400).status == OK
    driver.push(0, EVENT)
    driver.push(1, READ, nsid=1, cdw10=1)
    driver.let_time_pass(150e-6)
    for lba in range(2, 5):
        driver.push(1, READ, nsid=1, cdw10=lba, cdw12=1023 * (lba % 2), **driver.pages(1 << 19))
    driver.let_time_pass(150e-6)


def finish(driver) -> list[object]:
    """Everything that a guest sees from here on."""
    seen: list[object] = []
    for _ in range(40):
        driver.let_time_pass(50e-6)
        clock = driver.events.clock
        clock.skip_to(clock.now_ps + 50_000_000)
        seen.append(
            (arrived(driver, 2), driver.get(driver.rings[1][1], 16 * 8), driver.lines[1].level)
        )
    driver.write(0x1000 + 8 * 9, 1)
    driver.let_time_pass()
    seen += [driver.get(driver.rings[0][1], 16 * 32), driver.health()]
    return seen


def test_what_is_restored_goes_on_as_it_would_have(driver) -> None:
    busy(driver)
    assert driver.nvme.commands_under_way
    clock = driver.events.clock
    ram, moment, saved = driver.get(0x8000_0000, 8 << 20), clock.now_ps, driver.nvme.snapshot()
    rings = dict(driver.heads), dict(driver.tails), driver.cid
    went_on = finish(driver)
    driver.nvme.reset()
    driver.put(0x8000_0000, ram)
    driver.heads, driver.tails, driver.cid = rings
    clock.set_now(moment)
    driver.nvme.restore(saved)
    assert finish(driver) == went_on
    assert driver.nvme.snapshot()["state"] != saved["state"]


def test_the_write_cache_is_on_or_off_again(ready, image) -> None:
    before = image.read_bytes()
    saved = ready.nvme.snapshot()
    assert ready.command(0, 9, cdw10=6, cdw11=0).status == OK
    off = ready.nvme.snapshot()
    ready.nvme.restore(saved)
    ready.nvme.namespaces[1].write(0, [memoryview(bytes(512))], 1, durable=False)
    ready.nvme.restore(off)
    ready.nvme.namespaces[1].write(1, [memoryview(bytes(512))], 1, durable=False)
    ready.nvme.power_cut()
    assert image.read_bytes() == before[:512] + bytes(512) + before[1024:]
