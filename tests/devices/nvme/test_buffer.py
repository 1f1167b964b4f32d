"""The controller memory buffer, data in other devices' memory, and shadow doorbells."""

from __future__ import annotations

import struct

import pytest

from emu.devices.memory import DeviceMemory
from emu.devices.pcie import PciFunction
from emu.devices.system import System
from tests.devices.nvme.test_interrupts import enable_messages

BAR, CMB = 0x4000_0000, 0x4400_0000
CMBLOC, CMBSZ, CMBMSC, CMBSTS = 0x38, 0x3C, 0x50, 0x58
DATA = 0x8005_0000
OK, BAD_ADDRESS = (0, 0), (0, 4)
WRITE, READ = 1, 2
OWN = 0x7F00_0000_0000
"""Where a guest might want the buffer to lie in commands."""


def choose(driver, address: int = OWN) -> None:
    """As Linux does it: show the registers, then give the buffer an address."""
    driver.write(CMBMSC, 1)
    driver.write(CMBMSC, address & 0xFFFF_F000 | 3)
    driver.write(CMBMSC + 4, address >> 32)


def test_the_registers_show_themselves_on_request(driver) -> None:
    assert driver.read(4) >> 25 & 1  # CAP.CMBS
    assert (driver.read(CMBLOC), driver.read(CMBSZ)) == (0, 0)
    driver.write(CMBMSC, 1)
    assert driver.read(CMBLOC) & 7 == 2
    size = driver.read(CMBSZ)
    assert size & 0x1F == 0x1F  # for queues, lists and data
    assert (size >> 12) * (4096 << 4 * (size >> 8 & 0xF)) == 64 << 20


def test_a_board_can_do_without(make_driver, image) -> None:
    driver = make_driver(image, cmb=0)
    assert not driver.read(4) >> 25 & 1
    driver.write(CMBMSC, 3)
    assert (driver.read(CMBLOC), driver.read(CMBSZ)) == (0, 0)
    assert driver.read(CMBSTS) == 1


def test_an_impossible_address_is_said_to_be_one(driver) -> None:
    choose(driver, (1 << 64) - 4096)
    assert driver.read(CMBSTS) == 1
    choose(driver)
    assert driver.read(CMBSTS) == 0


@pytest.mark.parametrize("address", [CMB, OWN])
def test_data_in_the_buffer(ready, address) -> None:
    if address == OWN:
        choose(ready)
    memory = ready.nvme.buffer.memory
    assert ready.io(READ, 9, 1, prp1=address + 4096).status == OK
    assert bytes(memory.view(4096, 512)) == struct.pack("<Q", 9).ljust(512, b"\xaa")
    assert ready.bus.read(CMB + 4096, 8) == 9
    for i in range(64):
        ready.bus.write(CMB + 8192 + 8 * i, 8, i)
    assert ready.io(WRITE, 70, 1, prp1=address + 8192).status == OK
    assert ready.read_blocks(70) == struct.pack("<64Q", *range(64))
    assert ready.io(READ, 0, 1, prp1=address + (64 << 20)).status == BAD_ADDRESS


@pytest.mark.parametrize("address", [CMB, OWN])
def test_queues_and_lists_in_the_buffer(driver, address) -> None:
    if address == OWN:
        choose(driver)
    memory = driver.nvme.buffer.memory
    size = 3 << 16 | 1
    assert driver.command(0, 5, prp1=address + 0x1000, cdw10=size, cdw11=3).status == OK
    assert driver.command(0, 1, prp1=address, cdw10=size, cdw11=1 << 16 | 1).status == OK
    pages = [DATA, DATA + 8192, address + 0x3000]
    memory.view(0x2000, 16)[:] = struct.pack("<2Q", *pages[1:])
    for turn in range(9):
        entry = struct.pack(
            "<BBHI16xQQ6I", READ, 0, turn, 1, pages[0], address + 0x2000, turn, 0, 23, 0, 0, 0
        )
        memory.view(64 * (turn % 4), 64)[:] = entry
        driver.write(0x1008, (turn + 1) % 4)
        driver.let_time_pass()
        completion = struct.unpack("<IIHHHH", memory.view(0x1000 + 16 * (turn % 4), 16))
        assert completion[4:] == (turn, 1 ^ turn // 4 & 1)
        driver.write(0x100C, (turn + 1) % 4)
        assert driver.get(DATA, 8) == struct.pack("<Q", turn)
        assert bytes(memory.view(0x3000, 8)) == struct.pack("<Q", turn + 16)


def test_the_buffer_forgets_in_a_power_cut_and_not_in_a_reset(ready) -> None:
    ready.bus.write(CMB, 8, 77)
    ready.enable()
    assert ready.bus.read(CMB, 8) == 77
    ready.nvme.power_cut()
    ready.turn_on()
    assert ready.bus.read(CMB, 8) == 0


class Accelerator(PciFunction):
    """Another function on the bus, with a megabyte of memory behind BAR 2."""

    IDENTITY = (0x1DE5, 0x00FF, 0x120000, 0)

    def __init__(self, system: System) -> None:
        super().__init__("accelerator", system)
        self.memory = DeviceMemory("accelerator.memory", 1 << 20)
        self.add_bar(2, 1 << 20, self.memory)


def test_reads_and_writes_straight_to_another_devices_memory(ready) -> None:
    """As GPUDirect Storage has it; where registers lie, no data can go."""
    other = Accelerator(ready.nvme.system)
    ready.bridge.plug(other)
    other.config.write(0x10, 4, 0x5000_0000)
    other.config.write(0x18, 4, 0x5100_0000)
    other.config.write(0x04, 2, 6)
    assert ready.io(READ, 33, 2, prp1=0x5100_2000).status == OK
    assert bytes(other.memory.view(0x2000, 8)) == struct.pack("<Q", 33)
    other.memory.view(0x3000, 512)[:] = b"v" * 512
    assert ready.io(WRITE, 90, 1, prp1=0x5100_3000).status == OK
    assert ready.read_blocks(90) == b"v" * 512
    assert ready.io(READ, 0, 1, prp1=0x5000_0000).status == BAD_ADDRESS
    assert ready.io(READ, 0, 8, prp1=0x510F_FF00, prp2=0x5110_0000).status == BAD_ADDRESS
    other.config.write(0x04, 2, 0)
    assert ready.io(READ, 0, 1, prp1=0x5100_2000).status == BAD_ADDRESS


# --- shadow doorbells ---------------------------------------------------------------------------

VALUES, EVENTS = 0x8020_1000, 0x8020_2000


def configure(driver, values: int = VALUES, events: int = EVENTS) -> tuple[int, int]:
    return driver.command(0, 0x7C, prp1=values, prp2=events).status


def word(driver, address: int) -> int:
    return int.from_bytes(driver.get(address, 4), "little")


def test_shadow_doorbells_are_checked(driver) -> None:
    assert configure(driver, VALUES + 4) == (0, 0x13)
    assert configure(driver, VALUES, 0x1000) == (0, 2)
    assert configure(driver) == OK


def test_the_tail_comes_from_memory_and_the_guest_is_asked_to_ring_again(ready) -> None:
    assert configure(ready) == OK
    for lba in (5, 6):
        ready.push(1, READ, nsid=1, cdw10=lba)
    assert word(ready, EVENTS + 8) == 0
    ready.put(VALUES + 8, (2).to_bytes(4, "little"))
    ready.write(0x1008, 1)  # the register may say less than memory
    assert word(ready, EVENTS + 8) == 2
    ready.let_time_pass()
    assert [ready.answer(1, consume=False).status for _ in range(2)] == [OK, OK]


def test_by_message_the_head_needs_no_doorbell(driver) -> None:
    """64 commands through a ring of 16: with the shadow head alone the ring never fills up."""
    enable_messages(driver, 2)
    driver.create_queues(1, vector=1)
    assert configure(driver) == OK
    for turn in range(64):
        tail = (turn + 1) % 16
        driver.put(VALUES + 8, tail.to_bytes(4, "little"))
        driver.push(1, READ, nsid=1, cdw10=turn)
        driver.let_time_pass()
        assert driver.answer(1, consume=False).status == OK
        driver.put(VALUES + 12, tail.to_bytes(4, "little"))
        index = word(driver, EVENTS + 12)
        rings = (tail - index - 1) & 0xFFFF < (tail - turn % 16) & 0xFFFF  # as guests decide it
        assert not rings or tail == 0


def test_impossible_values_in_memory_are_an_event(ready) -> None:
    assert configure(ready) == OK
    cid = ready.push(0, 0x0C)
    ready.put(VALUES + 8, (99).to_bytes(4, "little"))
    ready.write(0x1008, 1)
    ready.let_time_pass()
    event = ready.answer()
    assert (event.cid, event.result) == (cid, 0x01_0100)
