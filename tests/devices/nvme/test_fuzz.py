"""Whatever a guest does, the controller does not raise, does not hang, and writes nowhere but where
it was told to.

`Hostile` is a guest at its worst: commands with bad fields and bad addresses, doorbells beyond the
rings, rings in registers, entries and lists that change under way, resets and power cuts in
between. All addresses that it names lie in an arena in the middle of memory, or nowhere; the
memory around the arena, and a namespace that it never writes to, must stay as they are.
"""

from __future__ import annotations

import struct
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emu.devices.nvme.drives import Drive
from tests.devices.nvme.conftest import BAR, RAM, Driver

SUPPRESS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
OFFSETS = st.one_of(st.integers(0, 0x5F), st.integers(0x1000, 0x1210), st.integers(0, 0x3FF8))
WORDS = st.one_of(
    st.integers(0, 70),
    st.sampled_from([0x460001, 0x460000, 0x8000_1000, 0x1F001F, 0xFFFF_FFFF, 0x4E56_4D65]),
    st.integers(0, (1 << 64) - 1),
)
ACCESS = st.tuples(st.booleans(), OFFSETS, st.sampled_from([1, 2, 4, 8]), WORDS)

ARENA, GUARD_BYTES = RAM + 0x10_0000, 0x10_0000
GUARDS = RAM, ARENA + 0x30_0000
QUEUES = [ARENA + 0x1_0000 * i for i in range(8)]
BUFFERS = [ARENA + 0x10_0000 + 0x1000 * i for i in range(6)]
LISTS = [ARENA + 0x20_0000, ARENA + 0x20_1FF0, ARENA + 0x20_3FF8]
NOWHERE = [0, 0x1000, BAR, 0x4400_0000 - 8, RAM + (64 << 20), (1 << 64) - 4096, (1 << 64) - 8]
ADDRESSES = st.one_of(
    st.sampled_from(BUFFERS),
    st.sampled_from(BUFFERS).flatmap(lambda b: st.integers(b, b + 4095)),
    st.sampled_from(LISTS),
    st.sampled_from(NOWHERE),
    st.just(0x4400_0000),  # the controller memory buffer
)
DWORDS = st.one_of(
    st.integers(0, 40),
    st.sampled_from([0x7F0002, 0x3FF_0001, 0xF_0001, 0xF_0002, 0x1_0001, 0x1_0003, 4, 1 << 30]),
    st.integers(0, 0xFFFF_FFFF),
)
FIELDS = st.fixed_dictionaries(
    {
        "flags": st.sampled_from([0, 0, 0, 0, 1, 2, 0x40]),
        "prp1": ADDRESSES,
        "prp2": ADDRESSES,
        "cdw10": DWORDS,
        "cdw11": st.one_of(st.just(0), DWORDS),
        "cdw12": DWORDS,
        "cdw13": st.sampled_from([0, 0, 1, 0xFFFF_FFFF]),
        "cdw14": st.sampled_from([0, 0, 1 << 24]),
    }
)
ADMIN = st.sampled_from([0, 1, 2, 4, 5, 6, 8, 9, 0x0A, 0x0C, 0x0C, 0x7C, 0x80])
READING = st.sampled_from([0, 2, 2, 5, 0x0C, 0x7F])
CHANGING = st.sampled_from([0, 1, 1, 2, 5, 8, 9, 0x0C, 0x19, 0xFF])


@SUPPRESS
@given(accesses=st.lists(ACCESS, max_size=30))
def test_registers_survive_any_access(image, make_driver, accesses) -> None:
    driver = make_driver(image, readonly=True)
    driver.enable()
    for write, offset, size, value in accesses:
        if write:
            driver.bus.write(BAR + offset, size, value)
        else:
            assert 0 <= driver.bus.read(BAR + offset, size) < 1 << 8 * size
        driver.let_time_pass(1e-4)
    driver.close()
    driver.nvme.dump()


class Hostile(RuleBasedStateMachine):
    """Namespace 1 may be written to, namespace 3 only read; number 2 is free."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        paths = [Path(self.folder.name) / name for name in ("open.img", "guarded.img")]
        for path in paths:
            path.write_bytes(bytes(range(256)) * 1024)
        self.guarded = paths[1]
        self.driver = Driver(
            [
                Drive(str(paths[0]), controller=0, nsid=1),
                Drive(str(paths[1]), controller=0, nsid=3),
            ],
            write_cache=64 << 10,
        )
        for guard in GUARDS:
            self.driver.fill(guard, GUARD_BYTES, 0xA5)
        self.turn_on()

    def turn_on(self) -> None:
        """A sane beginning, with the admin queues in the arena and one I/O queue pair."""
        driver = self.driver
        driver.turn_on()
        for register, value in ((0x14, 0), (0x24, 0x1F_001F)):
            driver.write(register, value)
        for register, address in ((0x28, QUEUES[0]), (0x30, QUEUES[1])):
            driver.write(register, address)
            driver.write(register + 4, 0)
        driver.write(0x14, 0x46_0001)
        driver.let_time_pass()
        driver.tails = {0: 0, 1: 0, 2: 0}
        driver.sizes = {0: 32, 1: 16, 2: 16}
        driver.rings = {0: (QUEUES[0], 0), 1: (QUEUES[2], 0), 2: (QUEUES[4], 0)}
        driver.push(0, 5, prp1=QUEUES[3], cdw10=0xF_0001, cdw11=3)
        driver.let_time_pass()
        driver.push(0, 1, prp1=QUEUES[2], cdw10=0xF_0001, cdw11=1 << 16 | 1)
        driver.let_time_pass()

    @rule(opcode=ADMIN, nsid=st.sampled_from([0, 1, 2, 3, 9, 0xFFFF_FFFF]), fields=FIELDS)
    def admin(self, opcode: int, nsid: int, fields: dict[str, int]) -> None:
        if opcode in (1, 5):  # a ring of this many bytes must end in the arena too
            fields = {**fields, "prp1": QUEUES[4 + opcode // 5]}
        if opcode == 0x7C:
            fields = {**fields, "prp1": fields["prp1"] & -4096, "prp2": QUEUES[6]}
        self.driver.push(0, opcode, nsid=nsid, **fields)

    @rule(base=st.sampled_from([*NOWHERE, QUEUES[4], QUEUES[5] + 64]), qid=st.integers(0, 3))
    def make_queue(self, base: int, qid: int) -> None:
        entry = 15 << 16 | qid
        self.driver.push(0, 5, prp1=base, cdw10=entry, cdw11=3)
        self.driver.push(0, 1, prp1=base, cdw10=entry, cdw11=qid << 16 | 1)

    @rule(qid=st.integers(1, 2), opcode=CHANGING, fields=FIELDS)
    def change(self, qid: int, opcode: int, fields: dict[str, int]) -> None:
        self.driver.push(qid, opcode, nsid=1, **fields)

    @rule(qid=st.integers(1, 2), opcode=READING, nsid=st.sampled_from([2, 3, 3, 4]), fields=FIELDS)
    def read(self, qid: int, opcode: int, nsid: int, fields: dict[str, int]) -> None:
        self.driver.push(qid, opcode, nsid=nsid, **fields)

    @rule(qid=st.integers(1, 2), lba=st.integers(0, 500), count=st.integers(1, 16))
    def many_good_reads(self, qid: int, lba: int, count: int) -> None:
        for i in range(count):
            self.driver.push(qid, 2, nsid=3, cdw10=lba + i, prp1=BUFFERS[0])

    @rule(at=st.sampled_from(LISTS), entries=st.lists(ADDRESSES, min_size=1, max_size=12))
    def change_a_list(self, at: int, entries: list[int]) -> None:
        self.driver.put(at, struct.pack(f"<{len(entries)}Q", *entries))

    @rule(queue=st.sampled_from(QUEUES[:6]), entry=st.integers(0, 31), byte=st.integers(0, 3))
    def change_an_entry(self, queue: int, entry: int, byte: int) -> None:
        """The opcode, flags or identifier of an entry that may be under way."""
        self.driver.put(queue + 64 * entry + byte, b"\2")

    @rule(qid=st.integers(0, 66), head=st.booleans(), value=st.one_of(st.integers(0, 40), WORDS))
    def ring_a_doorbell(self, qid: int, head: bool, value: int) -> None:
        self.driver.write(0x1000 + 8 * qid + 4 * head & 0x3FFC, value & 0xFFFF_FFFF)

    @rule(offset=st.sampled_from([0xC, 0x10, 0x50, 0x54, 0x1C]), value=st.integers(0, 3))
    def write_a_register(self, offset: int, value: int) -> None:
        self.driver.write(offset, value)

    @rule(cc=st.sampled_from([0x46_0000, 0x46_0001, 0x46_4001, 0x46_0071, 0x460081, 0x46_0011]))
    def configure(self, cc: int) -> None:
        self.driver.write(0x14, cc)

    @rule(microseconds=st.integers(0, 300))
    def wait(self, microseconds: int) -> None:
        self.driver.let_time_pass(microseconds / 1e6)
        clock = self.driver.events.clock
        clock.skip_to(clock.now_ps + microseconds * 10**6)

    @rule(on=st.booleans())
    def be_bus_master(self, on: bool) -> None:
        self.driver.nvme.config.write(4, 2, 6 if on else 2)

    @rule()
    def cut_the_power(self) -> None:
        self.driver.nvme.power_cut()
        self.turn_on()

    @rule()
    def reset_the_function(self) -> None:
        self.driver.nvme.reset()
        self.turn_on()

    @rule()
    def start_again(self) -> None:
        self.driver.write(0x20, 0x4E56_4D65)
        self.turn_on()

    @rule()
    def save_and_restore(self) -> None:
        saved = self.driver.nvme.snapshot()
        self.driver.nvme.restore(saved)
        assert self.driver.nvme.snapshot() == saved

    @rule()
    def come_to_rest(self) -> None:
        """Whatever was asked for, it is over after a while, or the controller says that it died."""
        self.driver.let_time_pass(2)
        if self.driver.read(0x1C) & 0xF == 1:
            assert self.driver.nvme.commands_under_way == 0

    @invariant()
    def registers_can_be_read(self) -> None:
        assert self.driver.read(0x1C) & ~0x1F == 0

    def teardown(self) -> None:
        driver = self.driver
        driver.nvme.dump()
        self.turn_on()
        driver.push(1, 2, nsid=3, cdw10=2, prp1=BUFFERS[5])
        driver.let_time_pass()
        assert driver.get(BUFFERS[5], 512) == bytes(range(256)) * 2, "it works after a reset"
        for guard in GUARDS:
            assert driver.get(guard, GUARD_BYTES) == b"\xa5" * GUARD_BYTES
        driver.nvme.power_cut()
        driver.close()
        assert self.guarded.read_bytes() == bytes(range(256)) * 1024
        self.folder.cleanup()


TestHostile = Hostile.TestCase
TestHostile.settings = settings(stateful_step_count=40, deadline=None)
