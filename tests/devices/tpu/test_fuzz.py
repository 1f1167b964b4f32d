"""Whatever a guest writes, to registers and into the ring: no exception, no hang, no stray byte.

The machine's rules: everything outside of what programs may name stays as it was (a guard before
and behind the part of RAM that they write to), and a reset always gives a working TPU back.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emu.devices.tpu.declare import SIZE, TABLE, Declaration, Slot, Style, encode
from emu.devices.tpu.registers import State
from emu.devices.tpu.timing import Count
from tests.devices.tpu.conftest import DATA, RAM, RING, SMALL, Driver

GUARD = 0xA5
RAM_BYTES = 8 << 20
END = RAM + RAM_BYTES
TARGET, TARGET_BYTES = RAM + (2 << 20), 1 << 20  # what programs may write to
EDGES = [0, 1, 2, 16, 31, 32, 33, 255, 256, 257]
HOSTS = st.sampled_from([0, RING, END - 1, 0x4000_0000, 1 << 40, (1 << 48) - 1])
SENSE = st.integers(0, 29).map(bool)  # false now and then

PRIMED = encode("read_weights") + encode("matmul", length=1, next=1)  # a tile in the array


@st.composite
def values(draw: st.DrawFn, declaration: Declaration, slot: Slot) -> int:
    """A value for a field: mostly one that can be, else near a limit, or anything."""
    field = slot.field
    if field.name == "host":
        place = st.integers(TARGET, TARGET + TARGET_BYTES // 2)
        return draw(place if declaration.mnemonic == "write_host" or draw(SENSE) else HOSTS)
    if declaration.mnemonic == "write_host" and field.name == "rows":
        return draw(st.integers(0, 300))
    if field.style is Style.CHOICE:
        return draw(st.integers(0, len(field.names) - 1))
    if draw(SENSE):
        return draw(st.integers(1, min(slot.limit, 12)))
    return draw(st.one_of(st.sampled_from([v for v in EDGES if v <= slot.limit]),
                          st.integers(0, slot.limit)))  # fmt: skip


@st.composite
def instructions(draw: st.DrawFn) -> bytes:
    """Mostly instructions; sometimes any bytes."""
    if not draw(SENSE):
        return draw(st.binary(min_size=SIZE, max_size=SIZE))
    declaration = draw(st.sampled_from(list(TABLE.values())))
    chosen = {s.field.name: draw(values(declaration, s)) for s in declaration.operands}
    return encode(declaration.mnemonic, **chosen)


class Guest(RuleBasedStateMachine):
    """A driver without sense."""

    def __init__(self) -> None:
        super().__init__()
        self.driver = Driver(SMALL, ram=RAM_BYTES)
        memory = self.driver.bus.memory.bytes
        self.memory = np.frombuffer(memory, np.uint8)
        self.memory[TARGET + TARGET_BYTES - RAM :] = GUARD
        self.memory[DATA - RAM : TARGET - RAM] = GUARD
        self.driver.tpu.weights.view(0, SMALL.weights)[:] = bytes([3]) * SMALL.weights
        self.driver.write(self.driver.tpu.watchdog.at, 4, 10_000)

    @rule(program=st.lists(instructions(), min_size=1, max_size=24), revive=st.booleans())
    def submit(self, program: list[bytes], revive: bool) -> None:
        if revive and self.driver.state() is not State.IDLE:
            self.reset_and_work()
        entries = self.driver.read(self.driver.tpu.ring_entries.at)
        if entries > len(program) + 2:
            self.driver.tail %= entries
            self.driver.submit(PRIMED + b"".join(program))

    @rule(form=st.integers(0, 3), size=st.integers(1, 16), tiles=st.integers(1, 5))
    def submit_work(self, form: int, size: int, tiles: int) -> None:
        """Programs that may well be right."""
        work = {"buffer": size, "accumulator": size}
        code = [encode("read_weights", weight=64 * size, format=form)] * tiles
        code += [encode("matmul", **work, length=size, format=form, next=1)] * (tiles - 1)
        code += [encode("convolve", **work, height=size, width=3, format=form, next=1)]
        code += [encode("activate", **work, height=size, width=3, result=form, pool=form % 3)]
        code += [encode("write_host", buffer=size, host=TARGET + size, rows=size)]
        self.submit(code, revive=True)

    @rule(
        offset=st.integers(0, 0x100),
        size=st.sampled_from([1, 2, 4, 8]),
        value=st.one_of(st.sampled_from(EDGES), st.integers(0, (1 << 64) - 1)),
    )
    def write_register(self, offset: int, size: int, value: int) -> None:
        tpu = self.driver.tpu
        completion = tpu.completion_address.at
        if offset + size > completion and offset < completion + 8:
            offset, size, value = completion, 8, TARGET + value % TARGET_BYTES // 2
        self.driver.write(offset - offset % size, size, value & (1 << 8 * size) - 1)

    @rule(offset=st.integers(0, 0x1FF), size=st.sampled_from([1, 2, 4, 8]))
    def read_register(self, offset: int, size: int) -> None:
        self.driver.read(offset - offset % size, size)

    @rule(microseconds=st.integers(0, 3000))
    def wait(self, microseconds: int) -> None:
        self.driver.let_time_pass(microseconds * 1e-6)

    @rule()
    def snapshot_and_restore(self) -> None:
        self.driver.tpu.restore(self.driver.tpu.snapshot())

    @rule()
    def reset_and_work(self) -> None:
        driver = self.driver
        driver.write(driver.tpu.completion_address.at, 8, 0)
        driver.reset()
        driver.write(driver.tpu.watchdog.at, 4, 10_000)
        driver.run("interrupt 5")
        assert driver.read(driver.tpu.completed.at) == 5

    @invariant()
    def nothing_else_was_written(self) -> None:
        assert (self.memory[TARGET + TARGET_BYTES - RAM :] == GUARD).all()
        assert (self.memory[DATA - RAM : TARGET - RAM] == GUARD).all()

    @invariant()
    def registers_hold_what_they_may(self) -> None:
        tpu = self.driver.tpu
        assert tpu.status.state in list(State)
        assert all(tpu.read(tpu.counter[what].at, 8) >= 0 for what in Count)

    def teardown(self) -> None:
        self.driver.let_time_pass(1.0)
        assert self.driver.state() in (State.IDLE, State.HALTED, State.FAILED, State.WAITING)


@given(st.lists(instructions(), min_size=15, max_size=40))
@settings(max_examples=80, deadline=None)
def test_any_program_ends(program: list[bytes]) -> None:
    guest = SHARED[0] if SHARED else Guest()
    SHARED[:] = [guest]
    guest.reset_and_work()
    guest.submit(program, revive=False)
    guest.driver.let_time_pass(1.0)
    assert guest.driver.state() in (State.IDLE, State.HALTED, State.FAILED)
    guest.nothing_else_was_written()


SHARED: list[Guest] = []
TestGuest = Guest.TestCase
TestGuest.settings = settings(max_examples=20, stateful_step_count=25, deadline=None)
