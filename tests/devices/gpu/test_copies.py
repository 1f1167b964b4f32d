"""The copy engines: what arrives, when, over which links, and what is refused."""

from __future__ import annotations

import random
import struct

import pytest

from emu.board import load
from emu.devices.gpu.timing import Route, Timing
from emu.devices.memory import DeviceMemory
from tests.devices.gpu.conftest import (
    DATA,
    FILL,
    RAM,
    RAM_BYTES,
    REGISTERS,
    US,
    VRAM,
    VRAM_STRIDE,
    Guest,
    copy,
    dispatch,
)

MIB = 1 << 20
SERVER = {"link_mb_s": 450_000}


def ran(guest: Guest, *packets: bytes, gpu: int = 0) -> None:
    guest.submit(*packets, gpu=gpu)
    guest.pass_time(10**12)


def timed(guest: Guest, source: int, destination: int, n: int, gpu: int = 0) -> int:
    """Picoseconds that a copy took by its signal, rounded to nanoseconds."""
    done = guest.signal()
    ran(guest, copy(done, source, destination, n), gpu=gpu)
    assert guest.value(done) == 0
    start, end = guest.times(done)
    return (end - start) * 1000


def memory(guest: Guest, address: int, n: int) -> memoryview:
    view = guest.gpus[0].dma.view(address, n)
    assert view is not None
    return view


def randomise(guest: Guest, address: int, n: int) -> bytes:
    content = random.Random(address).randbytes(n)
    memory(guest, address, n)[:] = content
    return content


PLACES = {"ram": DATA, "own": VRAM + 5, "peer": VRAM + VRAM_STRIDE + 3}


@pytest.mark.parametrize("source", PLACES)
@pytest.mark.parametrize("target", PLACES)
@pytest.mark.parametrize("n", [1, 7, 4096, 100_001])
def test_bytes_arrive_and_nothing_else_changes(server, source: str, target: str, n: int) -> None:
    start, end = PLACES[source], PLACES[target] + 4 * MIB + 1
    content = randomise(server, start, n)
    around = randomise(server, end - 64, n + 128)
    done = server.signal()
    ran(server, copy(done, start, end, n))
    assert server.value(done) == 0
    after = bytes(memory(server, end - 64, n + 128))
    assert after == around[:64] + content + around[64 + n :]
    assert server.read(0x48, 8) == n


def test_a_copy_of_many_pieces_arrives_whole(guest) -> None:
    content = randomise(guest, DATA, 21 * MIB + 13)
    ran(guest, copy(0, DATA, VRAM + 9, len(content)))
    assert bytes(memory(guest, VRAM + 9, len(content))) == content


@pytest.mark.parametrize("distance", [-100, -1, 1, 100])
def test_a_row_that_overlaps_itself_is_copied_as_by_memmove(guest, distance: int) -> None:
    content = randomise(guest, DATA + 100, 50_000)
    ran(guest, copy(0, DATA + 100, DATA + 100 + distance, 50_000))
    assert bytes(memory(guest, DATA + 100 + distance, 50_000)) == content


@pytest.mark.parametrize(("rows", "row"), [(3, 5), (1000, 1), (17, 300), (5, 9 * MIB)])
def test_rows_are_copied_with_their_pitches(guest, rows: int, row: int) -> None:
    pitch, other = row + 11, row + 3
    randomise(guest, DATA, rows * pitch)
    before = randomise(guest, VRAM, rows * other)
    ran(guest, copy(0, DATA, VRAM, row, rows=rows, source_pitch=pitch, pitch=other))
    after = memory(guest, VRAM, rows * other)
    for i in range(rows):
        place = memory(guest, DATA + i * pitch, row)
        assert after[i * other : i * other + row] == place
        gap = slice(i * other + row, (i + 1) * other)
        assert after[gap] == before[gap]


@pytest.mark.parametrize("n", [1, 8, 13, 20 * MIB + 3])
def test_fill_repeats_its_eight_bytes(guest, n: int) -> None:
    pattern = 0x0807_0605_0403_0201
    ran(guest, copy(0, pattern, VRAM + 1, n, format=FILL))
    filled = bytes(memory(guest, VRAM, n + 2))
    expected = pattern.to_bytes(8, "little") * (n // 8 + 1)
    assert filled == b"\0" + expected[:n] + b"\0"


@pytest.mark.parametrize("n", [1, 4096, 9 * MIB + 1])
def test_fill_with_zeros(guest, n: int) -> None:
    content = randomise(guest, VRAM, n + 5000)
    ran(guest, copy(0, 0, VRAM + 3, n, format=FILL))
    assert bytes(memory(guest, VRAM, n + 5000)) == content[:3] + bytes(n) + content[3 + n :]


def test_fill_of_rows_begins_the_pattern_in_every_row(guest) -> None:
    ran(guest, copy(0, 0x04030201, VRAM, 3, format=FILL, rows=4, pitch=5))
    assert bytes(memory(guest, VRAM, 20)) == bytes([1, 2, 3, 0, 0] * 4)


def test_a_copy_of_nothing_completes(guest) -> None:
    done = guest.signal()
    ran(guest, copy(done, 1, 2, 0))
    assert guest.value(done) == 0


BAD = {
    "source below RAM": (RAM - 64, DATA, 64),
    "source runs out of RAM": (RAM + RAM_BYTES - 32, DATA, 64),
    "destination runs out of VRAM": (DATA, VRAM + (64 << 20) - 32, 64),
    "destination in the registers": (DATA, REGISTERS + 0x1000, 64),
    "source in the registers": (REGISTERS, DATA, 64),
    "destination at the top of the address space": (DATA, (1 << 64) - 16, 64),
    "from RAM on into nothing": (DATA, RAM + RAM_BYTES, 64),
    "more than there is": (DATA, VRAM, 1 << 40),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_address_is_told_and_nothing_moves(guest, what: str) -> None:
    source, target, n = BAD[what]
    before = bytes(memory(guest, DATA, 4096)), bytes(memory(guest, VRAM, 4096))
    done, after = guest.signal(), guest.signal()
    ran(guest, copy(done, source, target, n), dispatch(after))
    assert (guest.value(done), guest.value(after)) == (-11, 0)
    assert guest.read(0x80) == 0x1_0000_0000 - 11
    assert guest.read(0x88, 8) in (source, target)
    assert (bytes(memory(guest, DATA, 4096)), bytes(memory(guest, VRAM, 4096))) == before


@pytest.mark.parametrize(
    "fields",
    [
        {"format": 0},
        {"format": 0x12},
        {"zero": 1},
        {"rows": 2, "pitch": 63, "source_pitch": 64},
        {"rows": 2, "pitch": 64, "source_pitch": 63},
        {"rows": 1 << 31, "pitch": 1 << 40, "source_pitch": 64},
    ],
)
def test_malformed_transfer_is_refused(guest, fields: dict[str, int]) -> None:
    done = guest.signal()
    ran(guest, copy(done, DATA, VRAM, 64, **fields))
    assert guest.value(done) == -1


def test_memory_that_vanishes_under_way_fails_the_copy(guest) -> None:
    done = guest.signal()
    guest.submit(copy(done, DATA, VRAM, 40 * MIB))
    guest.pass_time(700 * US)
    assert guest.value(done) == 1
    guest.gpus[0].config.write(0x18, 4, 0)  # the BAR moves to nowhere
    guest.gpus[0].config.write(0x1C, 4, 0)
    guest.pass_time()
    assert guest.value(done) == -11


def test_a_guest_that_takes_bus_mastering_away_stops_the_queue(guest) -> None:
    guest.place(dispatch())
    guest.gpus[0].config.write(0x04, 2, 2)
    guest.ring(0)
    guest.pass_time()
    assert guest.read(0x100C) == 2 << 8


def test_another_devices_memory_is_reached_over_the_host_link(guest) -> None:
    from emu.devices.pcie import PciFunction

    class Drive(PciFunction):
        IDENTITY = (1, 2, 0x010802, 0)

    drive = Drive("drive", guest.gpus[0].system)
    buffer = DeviceMemory("cmb", 1 << 20)
    drive.add_bar(2, 1 << 20, buffer)
    guest.bridge.plug(drive)
    drive.config.write(0x18, 4, REGISTERS + 0x0800_0000)
    drive.config.write(0x04, 2, 6)
    buffer.view(100, 5)[:] = b"block"
    took = timed(guest, REGISTERS + 0x0800_0000, VRAM, 1 << 20)
    assert bytes(memory(guest, VRAM + 100, 5)) == b"block"
    assert took == pytest.approx(timed(guest, DATA, VRAM, 1 << 20), rel=0.01)


# --- time ---------------------------------------------------------------------------------------


def expected(route: Route, n: int, **changes: object) -> int:
    import dataclasses

    board = dataclasses.replace(load("workstation").gpu, **changes)
    return Timing(board).copy_ps(n, route)


WAYS = {
    "to VRAM": (DATA, VRAM, Route.HOST),
    "to RAM": (VRAM, DATA, Route.HOST),
    "RAM to RAM": (DATA, DATA + 20 * MIB, Route.HOST),
    "within VRAM": (VRAM, VRAM + 20 * MIB, Route.VRAM),
    "to a peer": (VRAM, VRAM + VRAM_STRIDE, Route.LINK),
    "from a peer": (VRAM + VRAM_STRIDE, VRAM, Route.LINK),
    "between peers": (VRAM + VRAM_STRIDE, VRAM + 2 * VRAM_STRIDE, Route.LINK),
    "within a peer": (VRAM + VRAM_STRIDE, VRAM + VRAM_STRIDE + 20 * MIB, Route.VRAM),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_copy_takes_what_its_route_takes(server, way: str) -> None:
    source, target, route = WAYS[way]
    took = timed(server, source, target, 20 * MIB)
    assert took == pytest.approx(expected(route, 20 * MIB, **SERVER), abs=10_000)


def test_peers_without_a_link_go_over_the_host() -> None:
    guest = Guest(2, link_mb_s=0)
    guest.open()
    took = timed(guest, VRAM, VRAM + VRAM_STRIDE, 20 * MIB)
    assert took == pytest.approx(expected(Route.HOST, 20 * MIB), abs=10_000)


def together(guest: Guest, *ways: tuple[int, int, int]) -> list[int]:
    """Copies (by GPU, source, destination) of 20 MiB that begin at once: how long each takes."""
    signals = []
    for gpu, source, target in ways:
        signals.append(guest.signal())
        guest.submit(copy(signals[-1], source, target, 20 * MIB), gpu=gpu)
    guest.pass_time(10**12)
    return [(end - start) * 1000 for start, end in map(guest.times, signals)]


def test_two_copies_over_one_link_take_twice_as_long(server) -> None:
    one = expected(Route.LINK, 20 * MIB, **SERVER)
    peer = VRAM + VRAM_STRIDE
    first, second = together(server, (0, VRAM, peer), (2, VRAM + 20 * MIB, peer + 20 * MIB))
    assert max(first, second) == pytest.approx(2 * one, rel=0.05)
    assert min(first, second) > 1.5 * one


def test_directions_and_pairs_of_gpus_do_not_share(server) -> None:
    one = expected(Route.LINK, 20 * MIB, **SERVER)
    a, b, c, d = (VRAM + i * VRAM_STRIDE for i in range(4))
    for took in together(server, (0, a, b), (1, b + 20 * MIB, a + 20 * MIB), (2, c, d)):
        assert took == pytest.approx(one, abs=10_000)


def test_short_rows_cost_a_burst_each(guest) -> None:
    done = guest.signal()
    ran(guest, copy(done, DATA, VRAM, 1, rows=1 << 18, source_pitch=1, pitch=1))
    start, end = guest.times(done)
    assert (end - start) * 1000 == pytest.approx(expected(Route.HOST, 64 << 18), rel=0.01)


def test_the_copy_is_seen_when_its_time_has_come(guest) -> None:
    randomise(guest, DATA, 4096)
    done = guest.signal()
    guest.submit(copy(done, DATA, VRAM, 4096))
    steps = 0
    while guest.value(done):
        assert guest.get(VRAM, 64) == bytes(64)
        guest.pass_time(US // 10)
        steps += 1
    assert guest.get(VRAM, 64) == guest.get(DATA, 64)
    assert steps > 10


def test_a_signal_in_vram_completes_too(guest) -> None:
    done = guest.signal(at=VRAM + 4096)
    ran(guest, copy(done, DATA, VRAM, 64))
    assert struct.unpack("<q", guest.get(VRAM + 4096 + 8, 8)) == (0,)
