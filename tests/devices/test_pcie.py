"""Configuration space, BARs and interrupt routing, as an enumerating guest meets them."""

from __future__ import annotations

import struct

from emu.devices.gpu import Gpu
from emu.devices.line import Line
from emu.devices.pcie import HostBridge, Window
from emu.devices.tpu import Tpu

LOW, HIGH = 0x4000_0000, 0x4_0000_0000
ECAM = 0x3000_0000
ONES = 0xFFFF_FFFF


def make(bench) -> tuple[HostBridge, Gpu, list[Line]]:
    lines = [Line() for _ in range(4)]
    windows = [Window("mem32", LOW, 0x4000_0000), Window("mem64", HIGH, 16 << 30)]
    bridge = HostBridge(windows, lines)
    gpu = Gpu("gpu0", bench.bus, vram_bytes=80 << 30, compute_units=108, clock_mhz=1410)
    tpu = Tpu(
        "tpu0",
        bench.bus,
        rows=256,
        columns=128,
        clock_mhz=700,
        buffer_bytes=24 << 20,
        weight_bytes=8 << 30,
    )
    bridge.plug(gpu)
    bridge.plug(tpu)
    bench.bus.map(ECAM, HostBridge.ECAM_SIZE, bridge)
    for window in windows:
        bench.bus.map(window.base, window.size, window)
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
    assert -(high << 32 | low & ~0xF) & (1 << 64) - 1 == 0x1000
    bench.bus.write(at(1, 0x18), 4, ONES)
    assert bench.bus.read(at(1, 0x18), 4) == 0


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
        assert bench.bus.read(base + 0x1000, 4) == ONES


def test_identity_registers_cannot_be_written(bench) -> None:
    _, gpu, _ = make(bench)
    before = [gpu.read(offset, 4) for offset in range(0, 64, 4)]
    for offset in range(0, 64, 4):
        gpu.write(offset, 4, ONES)
    assert [gpu.read(offset, 4) for offset in range(0, 64, 4)] == before


def test_the_capability_list_is_well_formed(bench) -> None:
    make(bench)
    assert bench.bus.read(at(1, 6), 2) & 0x10
    pointer = bench.bus.read(at(1, 0x34), 1)
    header = bench.bus.read(at(1, pointer), 4)
    assert struct.pack("<I", header) == bytes([0x10, 0, 2, 0])  # PCI Express, last, endpoint


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
    assert gpu.dma_read(0x8000_0000, 4) is None
    assert not gpu.dma_write(0x8000_0000, b"x")
    bench.bus.write(at(1, 4), 2, 4)
    assert gpu.dma_write(0x8000_0000, b"x")
    assert gpu.dma_read(0x8000_0000, 1) == b"x"


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
