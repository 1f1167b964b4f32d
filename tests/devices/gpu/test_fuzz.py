"""Whatever a guest writes, the GPU does not raise, hang, or write where nobody sent it.

A machine of rules writes registers, rings, signals and queues, rightly and wrongly, while time
passes. All addresses that it names are near `DATA` or in the structures themselves; memory beyond
is guarded. Whatever happened, a reset makes the GPU work again.
"""

from __future__ import annotations

import struct

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emu.devices.gpu.dispatch import Fault, FaultCode
from tests.devices.gpu.conftest import (
    COPY,
    DATA,
    FILL,
    KERNARG,
    KERNEL,
    QUEUE,
    RAM,
    RAM_BYTES,
    REGISTERS,
    RING,
    SIGNALS,
    US,
    VRAM,
    VRAM_STRIDE,
    Guest,
    agent,
    barrier,
    copy,
    dispatch,
)

GPUS, QUEUES_USED, SIZE = 2, 3, 16
GUARDS = [(DATA + 0x10_0000, 1 << 16), (VRAM + (8 << 20), 1 << 16), (RAM, 1 << 16)]
EVENTS_MAX = 20_000

good_signal = st.integers(0, 9).map(lambda i: SIGNALS + 64 * i)
signal = st.one_of(
    *[good_signal] * 4,
    st.sampled_from(
        [0, 0, 0, SIGNALS + 8, 64, REGISTERS, DATA, RING, RAM + RAM_BYTES, (1 << 64) - 64]
    ),
)
REACHED = [DATA, DATA + 1, DATA + 4096, VRAM, VRAM + 4096, VRAM + VRAM_STRIDE, SIGNALS, RING, QUEUE]
UNREACHED = [0, RAM - 1, REGISTERS + 0x1000, RAM + RAM_BYTES - 8, VRAM + (64 << 20) - 8]
place = st.sampled_from([*REACHED * 2, *UNREACHED, (1 << 64) - 8])
length = st.one_of(*[st.integers(0, 4096)] * 3, st.sampled_from([1 << 33, 1 << 40, (1 << 64) - 1]))
extent = st.tuples(*[st.sampled_from([0, 1, 1, 1, 1, 2, 4, 32, 65535])] * 3)
header = st.sampled_from([2] * 6 + [0] * 8 + [3, 3, 5, 5, 4, 4, 1, 6, 255])
flags = st.sampled_from([0] * 8 + [0x100, 0x100, 0x200, 0x600, 0x1800, 0x8000])
index = st.one_of(st.integers(0, 40), st.sampled_from([1 << 32, (1 << 64) - 1]))
microseconds = st.sampled_from([0, 1, 5, 20, 100, 5000])
number = st.integers(0, QUEUES_USED - 1)
gpu_number = st.integers(0, GPUS - 1)


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A packet, with a right or a wrong value in every field."""
    kind, done = draw(header), draw(signal)
    if kind == 0:
        source, target, n = draw(place), draw(place), draw(length)
        pitch, rows = max(0, n + draw(st.sampled_from([0, 0, 5, -1]))), draw(st.integers(0, 3))
        format_ = draw(st.sampled_from([COPY] * 6 + [FILL, FILL, 0, 0xFF]))
        fields = {"rows": rows, "pitch": pitch & (1 << 64) - 1, "source_pitch": n}
        raw = copy(done, source, target, n, format=format_, **fields)
    elif kind in (3, 5):
        raw = barrier(done, *draw(st.lists(signal, max_size=5)))
    elif kind == 4:
        raw = agent(done, draw(st.integers(0, 9)), draw(place), 1, 2, 3, 4)
    else:
        kernel = draw(st.sampled_from([KERNEL] * 8 + [KERNEL + 8, DATA, 0, REGISTERS]))
        grid, workgroup = draw(extent), draw(extent)
        raw = dispatch(done, grid=grid, workgroup=workgroup, kernel=kernel, kernarg=draw(place))
    return struct.pack("<H", kind | draw(flags)) + raw[2:]


class FrontEnd(RuleBasedStateMachine):
    """Two GPUs with three queues each."""

    @initialize()
    def begin(self) -> None:
        self.guest = Guest(GPUS)
        self.make_signals()
        for base, n in GUARDS:
            self.guest.put(base, b"\xa5" * 64)
            self.guest.put(base + n - 64, b"\xa5" * 64)
        for gpu in range(GPUS):
            for queue in range(QUEUES_USED):
                self.guest.open(queue, size=SIZE, gpu=gpu)

    def make_signals(self) -> None:
        for i in range(10):
            mailbox = DATA if i % 2 else 0
            self.guest.signal(value=max(0, i - 6), mailbox=mailbox, at=SIGNALS + 64 * i)
        self.guest.kernel(kernarg=16)

    @rule(
        batch=st.lists(packets(), min_size=1, max_size=4),
        queue=number,
        gpu=gpu_number,
        quiet=st.integers(0, 4).map(lambda n: n == 0),
        us=microseconds,
    )
    def submit(self, batch: list[bytes], queue: int, gpu: int, quiet: bool, us: int) -> None:
        for packet in batch:
            last = self.guest.place(packet, queue, gpu)
        if not quiet:
            self.guest.ring(last, queue, gpu)
        self.let_time_pass(us)

    @rule(batch=st.lists(packets(), min_size=1, max_size=4), queue=number, gpu=gpu_number)
    def submit_to_a_fresh_queue(self, batch: list[bytes], queue: int, gpu: int) -> None:
        self.guest.gpus[gpu].config.write(0x04, 2, 6)
        self.guest.write(0x1008 + 0x40 * queue, 0, 4, gpu)
        self.guest.open(queue, gpu=gpu, size=SIZE)
        self.make_signals()
        self.submit(batch, queue, gpu, False, 100)

    @rule(n=index, queue=st.integers(0, 15), gpu=gpu_number)
    def ring(self, n: int, queue: int, gpu: int) -> None:
        self.guest.ring(n, queue, gpu)

    @rule(
        offset=st.one_of(
            st.integers(0, 0x140), st.integers(0x1000, 0x1100), st.integers(0, 0x1_FFF8)
        ),
        size=st.sampled_from([1, 2, 4, 8]),
        value=st.one_of(st.integers(0, 40), st.sampled_from([QUEUE, QUEUE + 256, (1 << 64) - 1])),
        gpu=gpu_number,
    )
    def touch_register(self, offset: int, size: int, value: int, gpu: int) -> None:
        offset = min(offset, 0x2_0000 - size)
        self.guest.write(offset, value & (1 << 8 * size) - 1, size, gpu)
        assert 0 <= self.guest.read(offset, size, gpu) < 1 << 8 * size

    @rule(
        size=st.sampled_from([0, 1, 2, 15, 16, 1 << 20]),
        type=st.integers(0, 3),
        features=st.integers(0, 4),
        read=st.sampled_from([0, 1, 15, 1 << 40, (1 << 63) - 1, 1 << 63]),
        address=st.sampled_from([QUEUE, QUEUE + 8, QUEUE + 4096, DATA]),
        queue=number,
        gpu=gpu_number,
    )
    def reopen(self, queue: int, gpu: int, size: int, **fields: int) -> None:
        self.guest.write(0x1008 + 0x40 * queue, 0, 4, gpu)
        self.guest.open(queue, gpu=gpu, size=min(size, SIZE), **fields)
        self.guest.written[gpu, queue] %= 1 << 32

    @rule(
        base=st.sampled_from([RING, RING + 0x4000, QUEUE, QUEUE + 128, SIGNALS, KERNEL]),
        offset=st.integers(0, 127),
        value=st.one_of(st.integers(0, 70), place),
    )
    def change_memory(self, base: int, offset: int, value: int) -> None:
        self.guest.put(base + 8 * offset // 8, struct.pack("<Q", value))

    @rule(
        offset=st.sampled_from([0x04, 0x10, 0x18, 0x1C]),
        value=st.sampled_from([0, 2, 4, 6, REGISTERS, 0x406, 0x200]),
    )
    def change_configuration(self, offset: int, value: int) -> None:
        self.guest.gpus[1].config.write(offset, 4, value)

    @rule(code=st.sampled_from([None, *FaultCode]), warps=st.integers(0, 10**7))
    def change_kernels(self, code: FaultCode | None, warps: int) -> None:
        self.guest.engine.fault = None if code is None else Fault(code, 1, 2, (3, 4, 5), 6)
        self.guest.engine.warp_instructions = warps

    @rule(us=microseconds)
    def let_time_pass(self, us: int) -> None:
        guest, events = self.guest, 0
        end = guest.now_ps + us * US
        while (at := guest.events.next_ps()) is not None and at <= end:
            guest.events.clock.skip_to(at)
            events += guest.events.run_due()
            assert events < EVENTS_MAX, "the device does not come to rest"
        guest.events.clock.skip_to(end)

    @rule()
    def take_a_snapshot(self) -> None:
        for gpu in self.guest.gpus:
            gpu.restore(gpu.snapshot())
            gpu.dump()

    @precondition(lambda self: hasattr(self, "guest"))
    @invariant()
    def nothing_is_written_that_nobody_named(self) -> None:
        for base, n in GUARDS:
            view = self.guest.bus.storage(base, n)
            assert view is None or view[0].bytes[view[1] : view[1] + 64] == b"\xa5" * 64

    def teardown(self) -> None:
        if not hasattr(self, "guest"):
            return
        guest = self.guest
        guest.engine.fault = None
        gpu = guest.gpus[0]
        gpu.config.write(0x04, 2, 6)
        guest.write(0x20, 1)
        guest.open()
        guest.kernel()
        done = guest.signal()
        guest.submit(dispatch(done))
        guest.pass_time(10**12)
        assert guest.value(done) == 0


FrontEnd.TestCase.settings = settings(stateful_step_count=40, deadline=None)
TestFrontEnd = FrontEnd.TestCase
assert KERNARG < DATA
