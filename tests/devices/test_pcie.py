"""Configuration space, BARs and interrupt routing, as an enumerating guest meets them."""

from __future__ import annotations

import struct

import pytest

from emu.board import load
from emu.devices.clint import Clint
from emu.devices.dma import DmaPort
from emu.devices.gpu import Fabric, Gpu, default_engine
from emu.devices.line import Line
from emu.devices.memory import DeviceMemory
from emu.devices.pcie import HostBridge, PciFunction, Window
from emu.devices.system import System
from emu.devices.tpu import Tpu

LOW, HIGH = 0x4000_0000, 0x4_0000_0000
ECAM = 0x3000_0000
RAM = 0x8000_0000
ONES = 0xFFFF_FFFF


def make(bench) -> tuple[HostBridge, Gpu, list[Line]]:
    lines = [Line() for _ in range(4)]
    windows = [Window("mem32", LOW, 0x4000_0000), Window("mem64", HIGH, 16 << 30)]
    bridge = HostBridge(bench.bus, windows, lines)
    gpu = Gpu("gpu0", bench.system, load("workstation").gpu, Fabric(), default_engine(1))
    tpu = Tpu("tpu0", bench.system, load("workstation").tpu)
    bridge.plug(gpu)
    bridge.plug(tpu)
    bench.bus.map(ECAM, HostBridge.ECAM_SIZE, bridge)
    return bridge, gpu, lines


def at(device: int, offset: int) -> int:
    return ECAM | device << 15 | offset


def test_functions_are_found_and_empty_slots_are_not(bench) -> None:
    make(bench)
    found = [bench.bus.read(at(device, 0), 4) for device in range(4)]
    assert found == [0x0008_1B36, 0x0001_1DE5, 0x0002_1DE5, ONES]
    assert bench.bus.read(at(1, 8), 4) >> 8 == 0x030200
    assert bench.bus.read(at(2, 8), 4) >> 8 == 0x120000
    assert bench.bus.read(at(0, 8), 4) >> 8 == 0x060000
    assert bench.bus.read(at(1, 0) | 1 << 12, 4) == ONES  # function 1
    assert bench.bus.read(at(1, 0) | 1 << 20, 2) == 0xFFFF  # bus 1


def test_bars_tell_their_size_and_their_type(bench) -> None:
    make(bench)
    bench.bus.write(at(1, 0x10), 4, ONES)
    bench.bus.write(at(1, 0x14), 4, ONES)
    low, high = bench.bus.read(at(1, 0x10), 4), bench.bus.read(at(1, 0x14), 4)
    assert low & 0xF == 4  # 64-bit memory
    assert -(high << 32 | low & ~0xF) & (1 << 64) - 1 == 0x2_0000


def test_a_bar_answers_where_it_is_placed_once_decoding_is_on(bench) -> None:
    make(bench)
    for base in (LOW + 0x10_0000, HIGH + (5 << 30)):
        bench.bus.write(at(1, 0x10), 4, base & ONES)
        bench.bus.write(at(1, 0x14), 4, base >> 32)
        bench.bus.write(at(1, 4), 2, 0)
        assert bench.bus.read(base, 4) == ONES
        bench.bus.write(at(1, 4), 2, 2)
        assert bench.bus.read(base, 4) == int.from_bytes(b"AGPU", "little")
        assert bench.bus.read(base + 8, 8) == 80 << 30
        assert bench.bus.read(base + 0x2_0000, 4) == ONES


def test_identity_registers_cannot_be_written(bench) -> None:
    _, gpu, _ = make(bench)
    before = [gpu.read(offset, 4) for offset in range(0, 32, 4)]
    for offset in range(0, 32, 4):
        gpu.write(offset, 4, ONES)
    assert [gpu.read(offset, 4) for offset in range(0, 32, 4)] == before


def test_the_capability_list_is_well_formed(bench) -> None:
    make(bench)
    assert bench.bus.read(at(1, 6), 2) & 0x10
    pointer = bench.bus.read(at(1, 0x34), 1)
    header = struct.pack("<I", bench.bus.read(at(1, pointer), 4))
    assert (header[0], header[2:]) == (0x10, bytes([2, 0]))  # PCI Express, an endpoint
    last = struct.pack("<I", bench.bus.read(at(1, header[1]), 4))
    assert last[:2] == bytes([0x11, 0])  # MSI-X


def test_interrupt_pins_are_swizzled_and_shared(bench) -> None:
    bridge, gpu, lines = make(bench)
    gpu.set_interrupt(True)
    assert [line.level for line in lines] == [False, True, False, False]
    assert bench.bus.read(at(1, 6), 2) & 8
    bridge.drive(5, True)
    gpu.set_interrupt(False)
    assert lines[1].level
    bridge.drive(5, False)
    assert not lines[1].level


def test_intx_disable_silences_the_pin_and_not_the_status(bench) -> None:
    _, gpu, lines = make(bench)
    bench.bus.write(at(1, 4), 2, 0x400)
    gpu.set_interrupt(True)
    assert not lines[1].level
    assert bench.bus.read(at(1, 6), 2) & 8
    bench.bus.write(at(1, 4), 2, 0)
    assert lines[1].level


def test_dma_needs_bus_mastering(bench) -> None:
    _, gpu, _ = make(bench)
    assert gpu.dma.view(0x8000_0000, 4) is None
    assert not gpu.dma.write(0x8000_0000, b"x")
    assert gpu.dma.regions() == []
    bench.bus.write(at(1, 4), 2, 4)
    assert gpu.dma.write(0x8000_0000, b"x")
    assert gpu.dma.read(0x8000_0000, 1) == b"x"


def test_reset_takes_bars_away_and_snapshots_bring_them_back(bench) -> None:
    bridge, gpu, _ = make(bench)
    bench.bus.write(at(1, 0x10), 4, LOW)
    bench.bus.write(at(1, 4), 2, 2)
    saved = gpu.snapshot()
    bridge.reset()
    assert bench.bus.read(LOW, 4) == ONES
    assert bench.bus.read(at(1, 0), 4) == 0x0001_1DE5
    gpu.restore(saved)
    assert bench.bus.read(LOW + 0x10, 4) == 108


class Card(PciFunction):
    """A function with memory behind BAR 2 and MSI-X."""

    IDENTITY = (0x1DE5, 0x7777, 0xFF0000, 0)
    MSIX_VECTORS = 3
    state = ("log",)

    def __init__(self, system: System) -> None:
        super().__init__("card", system)
        self.memory = DeviceMemory("card.memory", 0x6000)
        self.add_bar(2, 0x8000, self.memory)
        self.log: list[int] = []

    def note(self, number: int) -> None:
        """Remember that it was called."""
        self.log.append(number)


MEMORY, TABLE, PENDING = LOW + 0x10_0000, LOW + 0x20_0000, LOW + 0x20_1000


def make_card(bench) -> Card:
    """A card with all its BARs placed."""
    bridge = HostBridge(bench.bus, [Window("mem32", LOW, 0x4000_0000)], [Line() for _ in range(4)])
    card = Card(bench.system)
    bridge.plug(card)
    bench.bus.map(ECAM, HostBridge.ECAM_SIZE, bridge)
    for number, base in ((0, LOW), (2, MEMORY), (4, TABLE)):
        bench.bus.write(at(1, 0x10 + 4 * number), 4, base)
    bench.bus.write(at(1, 4), 2, 6)
    return card


def capability(bench, number: int) -> int:
    """Offset of a capability of device 1, found along the list."""
    offset = bench.bus.read(at(1, 0x34), 1)
    while bench.bus.read(at(1, offset), 1) != number:
        offset = bench.bus.read(at(1, offset + 1), 1)
    return offset


def set_vector(bench, vector: int, address: int, data: int, masked: int = 0) -> None:
    entry = TABLE + 16 * vector
    bench.bus.write(entry, 8, address)
    bench.bus.write(entry + 8, 4, data)
    bench.bus.write(entry + 12, 4, masked)


def test_device_memory_is_reached_by_the_hart_and_by_dma_of_others(bench) -> None:
    card = make_card(bench)
    assert bench.bus.read(at(1, 0x18), 4) & 0xF == 0xC  # 64-bit, prefetchable
    bench.bus.write(MEMORY + 8, 8, 0x0102030405060708)
    assert card.memory.bytes[8] == 8
    assert card.memory.base == MEMORY
    assert bench.bus.accesses == 5  # ECAM only: memory is no register
    port = DmaPort(bench.bus)
    assert port.read_int(MEMORY + 8, 4) == 0x05060708
    assert port.write_int(MEMORY + 0x5FF8, 8, 7)
    assert port.view(MEMORY + 0x5FFC, 8) is None
    assert bench.bus.read(MEMORY + 0x6000, 4) == ONES  # the BAR is larger than the memory
    assert port.regions() == [
        (MEMORY, 0x6000, card.memory.host_address),
        (RAM, 64 << 20, bench.bus.memory.host_address),
    ]
    assert port.host_address(MEMORY + 8, 4) == card.memory.host_address + 8
    assert port.view(LOW, 4) is None  # registers are no memory


def test_memory_that_moves_is_found_at_its_new_place_only(bench) -> None:
    card = make_card(bench)
    moved: list[int | None] = []
    bench.bus.on_memory_moved.append(lambda: moved.append(card.memory.base))
    bench.bus.write(MEMORY, 4, 5)
    bench.bus.write(at(1, 0x18), 4, LOW + 0x30_0000)
    assert bench.bus.read(LOW + 0x30_0000, 4) == 5
    assert bench.bus.read(MEMORY, 4) == ONES
    bench.bus.write(at(1, 4), 2, 0)
    assert DmaPort(bench.bus).view(LOW + 0x30_0000, 4) is None
    bench.bus.write(at(1, 0x3C), 1, 5)
    assert moved == [LOW + 0x30_0000, None]


def test_where_bars_overlap_the_first_function_answers(bench) -> None:
    card = make_card(bench)
    bench.bus.write(at(1, 0x18), 4, LOW)
    bench.bus.write(LOW, 8, ONES)
    assert card.memory.bytes[0] == 0
    bench.bus.write(LOW + 0x1000, 1, 9)
    assert card.memory.bytes[0x1000] == 9
    assert DmaPort(bench.bus).view(LOW + 0x1000, 4) is None


def test_messages_are_sent_only_when_nothing_masks_them(bench) -> None:
    card = make_card(bench)
    control = at(1, capability(bench, 0x11) + 2)
    assert bench.bus.read(control, 2) == 2  # three vectors, off
    set_vector(bench, 1, RAM + 0x40, 0xCAFE)
    card.signal(1)
    bench.pass_time(10**6)
    assert bench.bus.read(RAM + 0x40, 4) == 0
    bench.bus.write(control, 2, 0xC000)  # on, but the function is masked
    card.signal(1)
    assert bench.bus.read(PENDING, 8) == 2
    bench.bus.write(control, 2, 0x8000)
    assert bench.bus.read(PENDING, 8) == 0
    bench.pass_time(10**6)
    assert bench.bus.read(RAM + 0x40, 4) == 0xCAFE
    set_vector(bench, 2, RAM + 0x44, 7, masked=1)
    card.signal(2)
    bench.pass_time(10**6)
    assert bench.bus.read(RAM + 0x44, 4) == 0
    bench.bus.write(TABLE + 2 * 16 + 12, 4, 0)
    bench.pass_time(10**6)
    assert bench.bus.read(RAM + 0x44, 4) == 7


def test_messages_to_nowhere_vanish_and_those_to_registers_arrive(bench) -> None:
    card = make_card(bench)
    target = LOW + 0x38_0000
    clint = Clint(bench.bus, bench.events, [software := Line()], [Line()])
    bench.bus.map(0x200_0000, Clint.SIZE, clint)
    bench.bus.write(at(1, capability(bench, 0x11) + 2), 2, 0x8000)
    for address in (target, 0, (1 << 64) - 4, 0x200_0000):
        set_vector(bench, 0, address, 1)
        card.signal(0)
    card.signal(3)  # there is no such vector
    bench.pass_time(10**6)
    assert software.level


def test_enabling_msix_silences_intx(bench) -> None:
    bridge_lines = [Line() for _ in range(4)]
    bridge = HostBridge(bench.bus, [], bridge_lines)
    card = Card(bench.system)
    bridge.plug(card)
    card.set_interrupt(True)
    assert bridge_lines[1].level
    offset = next(at for at, c in card.config.capabilities.items() if c.NUMBER == 0x11)
    card.config.write(offset + 2, 2, 0x8000)
    assert card.msix_enabled
    assert not bridge_lines[1].level


def test_a_function_level_reset_takes_everything_back(bench) -> None:
    card = make_card(bench)
    card.after(5, card.note, 1)
    bench.bus.write(at(1, capability(bench, 0x10) + 8), 2, 0x8000)
    bench.pass_time(10)
    assert card.log == []
    assert card.memory.base is None
    assert bench.bus.read(at(1, 4), 2) == 0


def test_snapshots_hold_the_events_to_come_in_their_order(bench) -> None:
    card = make_card(bench)
    for number, delay in ((1, 30), (2, 20), (3, 20)):
        card.after(delay, card.note, number)
    card.scheduled(card.note)[0].cancel()
    card.after(10, card.note, 4)
    saved = card.snapshot()
    bench.pass_time(100)
    assert card.log == [4, 3, 1]
    assert card.scheduled() == []
    card.restore(saved)
    assert [event.args for event in card.scheduled(card.note)] == [(4,), (3,), (1,)]
    bench.pass_time(100)
    assert card.log == [4, 3, 1]


@pytest.mark.parametrize(
    ("number", "size", "what"),
    [(1, 0x1000, "BAR 1"), (5, 0x1000, "BAR 5"), (2, 0x1800, "0x1800 bytes"), (2, 16, "0x10")],
)
def test_impossible_bars_are_refused(bench, number: int, size: int, what: str) -> None:
    card = PlainCard("plain", bench.system)
    with pytest.raises(ValueError, match=what):
        card.add_bar(number, size, card)


class PlainCard(PciFunction):
    """A function of nothing but its identity."""

    IDENTITY = (0x1DE5, 0x7778, 0xFF0000, 0)
