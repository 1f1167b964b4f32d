"""Queues, packets and signals: what a user of HSA relies on."""

from __future__ import annotations

import json
import struct
from io import StringIO

import pytest

from emu.devices.gpu.dispatch import Fault, FaultCode
from emu.trace import Trace
from tests.devices.gpu.conftest import (
    BARRIER_OR,
    DATA,
    INVALID,
    KERNEL,
    QUEUE,
    RAM,
    RAM_BYTES,
    REGISTERS,
    RING,
    US,
    VRAM,
    Guest,
    agent,
    barrier,
    copy,
    dispatch,
)

FAULT, SIGNAL, AGENT_CALL = 2, 1, 4  # bits of the interrupt registers
STATUS, READ_INDEX = 0x100C, 0x1010


def test_dispatch_runs_with_what_the_packet_says(guest) -> None:
    guest.kernel(entry=-256, code=128, kernarg=16, group=32, private=48)
    done = guest.signal()
    guest.submit(dispatch(done, grid=(100, 7, 3), workgroup=(8, 4, 2), private=16, group=64))
    guest.pass_time()
    (seen,) = guest.engine.seen
    assert (seen.grid, seen.workgroup) == ((100, 7, 3), (8, 4, 2))
    assert (seen.group_memory, seen.private_memory) == (64, 48)
    assert (seen.kernel.entry, seen.kernel.code_size) == (KERNEL - 256, 128)
    assert guest.value(done) == 0
    assert guest.read(0x38, 8) == 1
    assert guest.read(0x40, 8) == 1000


def test_signal_goes_down_by_one_for_every_packet(guest) -> None:
    done = guest.signal(value=3)
    guest.submit(dispatch(done), dispatch(done), dispatch(done))
    guest.pass_time()
    assert guest.value(done) == 0


def test_timestamps_enclose_the_dispatch_in_virtual_nanoseconds(guest) -> None:
    first, second = guest.signal(), guest.signal()
    guest.pass_time(123 * US)
    guest.submit(dispatch(first), dispatch(second, barrier=1))
    guest.pass_time()
    (a, b), (c, d) = guest.times(first), guest.times(second)
    assert 123_000 < a < b <= c < d


def test_nothing_happens_before_the_doorbell(guest) -> None:
    done = guest.signal()
    guest.place(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == 1


def test_the_ring_wraps_and_read_index_counts_on(guest) -> None:
    done = guest.signal(value=50)
    for _ in range(50):
        guest.submit(dispatch(done))
        guest.pass_time(100 * US)
    guest.pass_time()
    assert guest.value(done) == 0
    assert guest.load(QUEUE + 128) == guest.read(READ_INDEX, 8) == 50
    assert guest.get(RING, 2) == struct.pack("<H", INVALID)


def test_a_queue_may_start_anywhere_in_its_ring() -> None:
    guest = Guest()
    guest.open(read=1000)
    guest.kernel()
    done = guest.signal()
    guest.submit(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == 0


def test_packets_run_at_once_unless_the_barrier_bit_says_otherwise(guest) -> None:
    guest.engine.warp_instructions = 10**7
    signals = [guest.signal() for _ in range(3)]
    guest.submit(dispatch(signals[0]), dispatch(signals[1]), dispatch(signals[2], barrier=1))
    guest.pass_time()
    (_, b0), (a1, b1), (a2, _) = map(guest.times, signals)
    assert a1 < b0
    assert a2 >= max(b0, b1)


def test_processing_stops_at_an_invalid_packet_until_the_doorbell(guest) -> None:
    first, second = guest.signal(), guest.signal()
    hole = guest.place(dispatch(first))
    slot = RING + hole * 64
    header = guest.get(slot, 2)
    guest.put(slot, struct.pack("<H", INVALID))
    guest.submit(dispatch(second))  # another producer was faster
    guest.pass_time(50 * US)
    assert guest.value(first) == guest.value(second) == 1
    assert guest.read(STATUS) & 3 == 3  # active, waiting
    guest.put(slot, header)
    guest.ring(hole)
    guest.pass_time(20 * US)
    assert guest.value(first) == guest.value(second) == 0


def test_a_header_that_changes_without_a_doorbell_is_noticed_soon(guest) -> None:
    done = guest.signal()
    guest.place(dispatch(done))
    guest.put(RING, struct.pack("<H", INVALID))
    guest.ring(0)
    guest.pass_time(800 * US)
    guest.put(RING, struct.pack("<H", 2))
    guest.pass_time(800 // 8 * US + 10 * US)
    assert guest.value(done) == 0


def test_waiting_costs_a_handful_of_looks(guest) -> None:
    """An hour of waiting is some two hundred events, and then there are none."""
    guest.submit(barrier(0, guest.signal()))
    looks = 0
    while (at := guest.events.next_ps()) is not None:
        guest.events.clock.skip_to(at)
        looks += guest.events.run_due()
    assert looks < 250
    assert 3600 * 10**12 <= guest.now_ps < 2 * 3600 * 10**12


def test_barrier_and_waits_for_all_its_signals(guest) -> None:
    needs = [guest.signal() for _ in range(5)]
    passed, after = guest.signal(), guest.signal()
    guest.submit(barrier(passed, *needs), dispatch(after))
    for need in needs:
        guest.pass_time(100 * US)
        assert guest.value(passed) == guest.value(after) == 1
        guest.put(need + 8, struct.pack("<q", 0))  # as the hart does it: no doorbell
    guest.pass_time(200 * US)
    assert guest.value(passed) == guest.value(after) == 0


def test_barrier_or_waits_for_one_of_its_signals(guest) -> None:
    needs = [guest.signal() for _ in range(3)]
    passed = guest.signal()
    guest.submit(barrier(passed, *needs, header=BARRIER_OR))
    guest.pass_time(100 * US)
    assert guest.value(passed) == 1
    guest.put(needs[1] + 8, bytes(8))
    guest.pass_time(100 * US)
    assert guest.value(passed) == 0


@pytest.mark.parametrize("header", [3, BARRIER_OR])
def test_barrier_without_signals_completes(guest, header: int) -> None:
    passed = guest.signal()
    guest.submit(barrier(passed, header=header))
    guest.pass_time()
    assert guest.value(passed) == 0


def test_signals_may_lie_in_vram_and_tie_gpus_together(server) -> None:
    link = server.signal(at=VRAM + 0x1000)
    last = server.signal()
    server.submit(barrier(0, link), dispatch(last), gpu=1)
    server.pass_time(2000 * US)
    assert server.value(last) == 1
    server.submit(dispatch(link), gpu=0)
    server.pass_time(50 * US)  # far less than an eighth of what it has waited
    assert server.value(last) == 0


def test_a_failed_dependency_fails_the_barrier_and_the_queue_goes_on(guest) -> None:
    need, passed, after = guest.signal(), guest.signal(), guest.signal()
    guest.engine.fault = Fault(FaultCode.LOAD_ADDRESS, 0x123, 0x456, (1, 2, 3), 7)
    guest.submit(dispatch(need))
    guest.pass_time()
    guest.engine.fault = None
    guest.submit(barrier(passed, need), dispatch(after))
    guest.pass_time()
    assert (guest.value(need), guest.value(passed), guest.value(after)) == (-5, -5, 0)


def test_a_fault_is_told_by_signal_registers_and_interrupt(guest) -> None:
    guest.write(0x28, FAULT)
    guest.engine.fault = Fault(FaultCode.STORE_ADDRESS, 0xDEAD0, 0x8123_4568, (4, 5, 6), 33)
    done, after = guest.signal(), guest.signal()
    guest.submit(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == -6
    assert guest.read(0x80) == 0x1_0000_0000 - 6
    assert guest.read(0x88, 8) == 0xDEAD0
    assert guest.read(0x90, 8) == 0x8123_4568
    assert [guest.read(0x98 + 4 * i) for i in range(4)] == [4, 5, 6, 33]
    assert guest.lines[1].level
    guest.write(0x24, FAULT)
    assert not guest.lines[1].level
    assert guest.read(0x80) == 0
    guest.engine.fault = None
    guest.submit(dispatch(after))
    guest.pass_time()
    assert guest.value(after) == 0


def test_the_first_fault_stays_until_it_is_cleared(guest) -> None:
    first, second = guest.signal(), guest.signal()
    guest.submit(dispatch(first, kernel=RAM - 64), dispatch(second, grid=(0, 1, 1)))
    guest.pass_time()
    assert (guest.value(first), guest.value(second)) == (-2, -1)
    assert guest.read(0x80) == 0x1_0000_0000 - 2
    assert guest.read(0xA8) == 2


BAD_DISPATCHES = {
    "no dimensions": {"setup": 0},
    "four dimensions": {"setup": 4},
    "reserved setup bits": {"setup": 0x11},
    "reserved field": {"reserved": 1},
    "empty grid": {"grid": (8, 0, 1)},
    "empty workgroup": {"workgroup": (0, 1, 1)},
    "a second dimension that setup denies": {"setup": 1, "grid": (64, 2, 1)},
    "workgroup too large": {"workgroup": (33, 32, 1)},
    "grid too large": {"grid": (1 << 20, 1 << 20, 2)},
    "group memory too large": {"group": 1 << 31},
    "private memory too large": {"private": 1 << 31},
    "misaligned arguments": {"kernarg": DATA + 8},
    "acquire scope 3": {"header": 2 | 3 << 9},
    "release scope 3": {"header": 2 | 3 << 11},
    "reserved header bits": {"header": 2 | 1 << 15},
}


@pytest.mark.parametrize("what", BAD_DISPATCHES)
def test_bad_packet_fails_its_signal_and_nothing_runs(guest, what: str) -> None:
    done, after = guest.signal(), guest.signal()
    guest.submit(dispatch(done, **BAD_DISPATCHES[what]), dispatch(after))
    guest.pass_time()
    assert (guest.value(done), guest.value(after)) == (-1, 0)
    assert len(guest.engine.seen) == 1


BAD_KERNELS = {
    "magic": {"magic": 1},
    "version": {"version": 2},
    "no code": {"code": 0},
    "odd entry": {"entry": 65},
    "private bytes": {"private": 8},
}


@pytest.mark.parametrize("what", BAD_KERNELS)
def test_bad_kernel_object(guest, what: str) -> None:
    guest.kernel(**BAD_KERNELS[what])
    done = guest.signal()
    guest.submit(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == -2


@pytest.mark.parametrize("address", [KERNEL + 8, RAM - 64, 0x4000_0000, (1 << 64) - 64, 0])
def test_kernel_object_that_is_misaligned_or_not_in_memory(guest, address: int) -> None:
    done = guest.signal()
    guest.submit(dispatch(done, kernel=address))
    guest.pass_time()
    assert guest.value(done) == -2


def test_kernel_arguments_must_be_in_memory(guest) -> None:
    guest.kernel(kernarg=32)
    done = guest.signal()
    guest.submit(dispatch(done, kernarg=RAM + RAM_BYTES - 16))
    guest.pass_time()
    assert guest.value(done) == -1


@pytest.mark.parametrize("kind", [6, 7, 100, 255])
def test_unknown_packet_type_is_passed_over_and_its_bytes_are_no_signal(guest, kind: int) -> None:
    done, after = guest.signal(), guest.signal()
    guest.submit(struct.pack("<H", kind).ljust(56, b"\0") + struct.pack("<Q", done))
    guest.submit(dispatch(after))
    guest.pass_time()
    assert (guest.value(done), guest.value(after)) == (1, 0)
    assert guest.read(0x80) == 0x1_0000_0000 - 1


@pytest.mark.parametrize("where", ["misaligned", "unmapped", "register", "not a signal"])
def test_bad_completion_signal_keeps_the_packet_from_running(guest, where: str) -> None:
    places = {"misaligned": guest.signal() + 8, "unmapped": 64, "register": 0x4000_0000}
    before = guest.get(DATA, 128)
    guest.submit(dispatch(places.get(where, DATA)))
    guest.pass_time()
    assert not guest.engine.seen
    assert guest.read(0x80) == 0x1_0000_0000 - 1
    assert guest.get(DATA, 128) == before


def test_watchdog_limit_comes_from_the_board_and_from_the_register(guest) -> None:
    guest.submit(dispatch())
    guest.pass_time()
    limit = guest.read(0x30, 8)
    assert limit > 0
    guest.write(0x30, 12345, 8)
    guest.submit(dispatch())
    guest.pass_time()
    guest.write(0x30, 0, 8)
    guest.submit(dispatch())
    guest.pass_time()
    assert guest.engine.limits == [limit, 12345, 1]


def test_signal_with_a_mailbox_interrupts(guest) -> None:
    guest.write(0x28, SIGNAL)
    guest.submit(dispatch(guest.signal()))
    guest.pass_time()
    assert not guest.lines[1].level
    guest.submit(dispatch(guest.signal(mailbox=DATA, event=42)))
    guest.pass_time()
    assert guest.lines[1].level
    assert guest.load(DATA) == guest.read(0x2C) == 42


# --- queues that cannot be ----------------------------------------------------------------------

BAD_QUEUES = {
    "size 0": {"size": 0},
    "size 3": {"size": 3},
    "size 24": {"size": 24},
    "type 3": {"type": 3},
    "unknown feature": {"features": 4},
    "reserved field": {"reserved": 1},
    "misaligned ring": {"ring": RING + 32},
    "misaligned structure": {"address": QUEUE + 0x1020},
}


@pytest.mark.parametrize("what", BAD_QUEUES)
def test_impossible_queue_is_refused(what: str) -> None:
    guest = Guest()
    guest.open(**BAD_QUEUES[what])
    assert guest.read(STATUS) == 1 << 8
    assert guest.read(0x80) == 0x1_0000_0000 - 12
    guest.ring(0)
    guest.pass_time()
    assert not guest.engine.seen


@pytest.mark.parametrize("address", [0, 0x4000_0000, RAM + RAM_BYTES - 128, (1 << 64) - 64])
def test_queue_that_is_not_in_memory_is_refused(guest, address: int) -> None:
    guest.write(0x1040, address, 8)
    guest.write(0x1048, 1)
    assert guest.read(STATUS + 0x40) == 1 << 8


def test_doorbell_beyond_the_ring_stops_the_queue_until_it_is_enabled_anew(guest) -> None:
    done = guest.signal()
    guest.place(dispatch(done))
    guest.ring(16)
    guest.ring(0)
    guest.pass_time()
    assert guest.value(done) == 1
    assert guest.read(STATUS) == 3 << 8
    guest.write(0x1008, 0)
    assert guest.read(STATUS) == 0
    guest.write(0x1008, 1)
    guest.ring(0)
    guest.pass_time()
    assert guest.value(done) == 0


def test_read_index_that_somebody_moved_stops_the_queue(guest) -> None:
    guest.put(QUEUE + 128, struct.pack("<Q", 5))
    done = guest.signal()
    guest.submit(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == 1
    assert guest.read(STATUS) == 4 << 8


def test_a_doorbell_of_an_earlier_packet_is_harmless(guest) -> None:
    done = guest.signal(value=2)
    guest.place(dispatch(done))
    guest.submit(dispatch(done))
    guest.ring(0)
    guest.pass_time()
    guest.ring(0)
    guest.pass_time()
    assert guest.value(done) == 0
    assert guest.read(READ_INDEX, 8) == 2


def test_a_queue_without_the_feature_refuses_the_packet() -> None:
    guest = Guest()
    guest.open(features=0)
    guest.kernel()
    a, b, c = guest.signal(), guest.signal(), guest.signal()
    guest.submit(dispatch(a), agent(b, 1, 0, 0, 0, 0, 0), copy(c, DATA, DATA + 4096, 64))
    guest.pass_time()
    assert (guest.value(a), guest.value(b), guest.value(c)) == (-1, -1, 0)


def test_disabling_a_queue_abandons_what_it_runs(guest) -> None:
    guest.engine.warp_instructions = 10**9
    done = guest.signal()
    guest.submit(dispatch(done))
    guest.pass_time(20 * US)
    assert guest.read(STATUS) >> 16 == 1
    guest.write(0x1008, 0)
    guest.pass_time(10**13)
    assert guest.value(done) == 1
    guest.engine.warp_instructions = 1
    guest.open()
    guest.submit(dispatch(done))
    guest.pass_time()
    assert guest.value(done) == 0


def test_device_reset_ends_everything_and_keeps_vram(guest) -> None:
    guest.engine.warp_instructions = 10**9
    guest.put(VRAM, b"kept")
    done = guest.signal()
    guest.submit(dispatch(done), agent(0, 1, 0, 0, 0, 0, 0))
    guest.pass_time(20 * US)
    guest.write(0x30, 5, 8)
    guest.write(0x20, 1)
    assert guest.read(0x20) == guest.read(STATUS) == guest.read(0x100) == 0
    assert guest.read(0x30, 8) > 5
    guest.pass_time(10**13)
    assert guest.value(done) == 1
    assert guest.get(VRAM, 4) == b"kept"
    guest.open()
    guest.submit(dispatch(done))
    guest.pass_time(10**13)
    assert guest.value(done) == 0


def test_the_trace_tells_packets_and_faults() -> None:
    out = StringIO()
    guest = Guest(trace=Trace(out))
    guest.open()
    guest.kernel()
    guest.submit(barrier(0), dispatch(kernel=64))
    guest.pass_time()
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    told = [line for line in lines if line["kind"] == "event" and line["dev"] == "gpu0"]
    assert [(line["what"], line["queue"]) for line in told] == [("packet", 0), ("fault", 0)]
    assert (told[0]["type"], told[1]["code"]) == ("BARRIER_AND", -2)


def test_a_power_cut_empties_vram(guest) -> None:
    guest.put(VRAM, b"gone")
    guest.gpus[0].power_cut()
    guest.gpus[0].config.write(0x18, 4, 0)
    guest.gpus[0].config.write(0x1C, 4, VRAM >> 32)
    guest.gpus[0].config.write(0x04, 2, 6)
    assert guest.get(VRAM, 4) == bytes(4)


# --- agent dispatch -----------------------------------------------------------------------------


def test_agent_dispatch_waits_for_the_hosts_answer(guest) -> None:
    guest.write(0x28, AGENT_CALL)
    done, second = guest.signal(), guest.signal()
    guest.submit(agent(done, 0x8001, DATA, 11, 12, 13, 14), agent(second, 2, 0, 0, 0, 0, 0))
    guest.pass_time()
    assert guest.lines[1].level
    assert guest.read(0x100) == 0x8001_0001
    assert guest.read(0x108, 8) == DATA
    assert [guest.read(0x110 + 8 * i, 8) for i in range(4)] == [11, 12, 13, 14]
    assert guest.value(done) == 1
    guest.write(0x24, AGENT_CALL)
    guest.write(0x104, 0)
    assert guest.value(done) == 0
    assert guest.read(0x100) == 0x0002_0001
    guest.write(0x104, 9)
    assert guest.value(second) == -9
    assert guest.read(0x100) == 0
    guest.write(0x104, 0)  # nothing is waiting: no effect
    guest.pass_time()


# --- sharing ------------------------------------------------------------------------------------


def alone(groups: int) -> int:
    guest = Guest()
    guest.open()
    guest.kernel()
    guest.engine.warp_instructions = 10**8
    done = guest.signal()
    guest.submit(dispatch(done, grid=(32 * groups, 1, 1)))
    guest.pass_time(10**13)
    start, end = guest.times(done)
    return end - start


def shared(groups: int, priorities: tuple[int, int]) -> list[int]:
    guest = Guest()
    guest.kernel()
    guest.engine.warp_instructions = 10**8
    signals = [guest.signal(), guest.signal()]
    for number, priority in enumerate(priorities):
        guest.open(number, priority=priority)
        guest.submit(dispatch(signals[number], grid=(32 * groups, 1, 1)), number=number)
    guest.pass_time(10**13)
    return [end - start for start, end in map(guest.times, signals)]


def test_two_large_dispatches_take_twice_as_long_each() -> None:
    one = alone(10_000)
    for took in shared(10_000, (1, 1)):
        assert took == pytest.approx(2 * one, rel=0.01)


def test_two_small_dispatches_do_not_disturb_each_other() -> None:
    assert shared(10, (1, 1)) == [alone(10)] * 2


def test_a_high_priority_queue_gets_four_times_the_share_of_a_low_one() -> None:
    one = alone(10_000)
    low, high = shared(10_000, (0, 2))
    assert high == pytest.approx(5 / 4 * one, rel=0.01)
    assert low == pytest.approx(2 * one, rel=0.01)


def test_runs_repeat_to_the_picosecond() -> None:
    assert shared(5000, (0, 1)) == shared(5000, (0, 1))


# --- snapshots ----------------------------------------------------------------------------------


def test_a_snapshot_goes_on_where_it_was_taken(guest) -> None:
    guest.engine.warp_instructions = 10**7
    done = [guest.signal() for _ in range(3)]
    guest.submit(dispatch(done[0]), copy(done[1], RAM, VRAM, 32 << 20), barrier(done[2], done[0]))
    guest.pass_time(12 * US)
    other = Guest()
    other.bus.memory.view(RAM, RAM_BYTES)[:] = guest.bus.memory.view(RAM, RAM_BYTES)
    other.events.clock.skip_to(guest.now_ps)
    other.gpus[0].restore(guest.gpus[0].snapshot())
    for machine in (guest, other):
        assert any(machine.value(signal) for signal in done)
        machine.pass_time()
        assert [machine.value(signal) for signal in done] == [0, 0, 0]
    assert [guest.times(s) for s in done] == [other.times(s) for s in done]


# --- MSI-X --------------------------------------------------------------------------------------


def test_msix_tells_signals_faults_and_calls_apart(guest) -> None:
    gpu, table = guest.gpus[0], REGISTERS + 0x0100_0000
    gpu.config.write(0x20, 4, table)
    for vector in range(3):
        entry = struct.pack("<QII", DATA + 8 * vector, 0x100 + vector, 0)
        guest.put(table + 16 * vector, entry)
    at = gpu.config.read(0x34, 1)
    while gpu.config.read(at, 1) != 0x11:
        at = gpu.config.read(at + 1, 1)
    gpu.config.write(at + 2, 2, 0x8000)
    guest.write(0x28, 7)
    expected = [0, 0, 0]
    packets = dispatch(guest.signal(mailbox=DATA + 64)), dispatch(kernel=64), agent(0, 1, *[0] * 5)
    for vector, packet in enumerate(packets):
        guest.submit(packet)
        guest.pass_time()
        expected[vector] = 0x100 + vector
        assert [guest.load(DATA + 8 * i) for i in range(3)] == expected
    assert not guest.lines[1].level
