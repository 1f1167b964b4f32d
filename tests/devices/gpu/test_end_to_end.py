"""Kernels through queues, by either engine: the same bytes, faults, counts and picoseconds."""

from __future__ import annotations

import struct

import pytest

from emu.devices.gpu import default_engine
from tests.devices.gpu.conftest import (
    DATA,
    KERNARG,
    KERNEL,
    VRAM,
    VRAM_STRIDE,
    Guest,
    barrier,
    copy,
    dispatch,
)
from tests.devices.gpu.lanes import assemble

ITEMS = 1000
SQUARES = """
    csrr    t0, group_id_x
    csrr    t1, group_size_x
    mul     t0, t0, t1
    csrr    t1, local_id_x
    add     t0, t0, t1
    ld      a1, 0(a0)
    slli    t2, t0, 2
    add     a1, a1, t2
    mul     t0, t0, t0
    sw      t0, 0(a1)
    ret
"""
ENDLESS = "loop: j loop"


def machine(*, reference: bool, gpus: int = 1) -> Guest:
    guest = Guest(gpus)
    guest.engine = default_engine(108, reference=reference)
    for gpu in guest.gpus:
        gpu.engine = guest.engine
    for gpu in range(gpus):
        guest.open(gpu=gpu)
    guest.write(0x30, 10_000, 8)
    return guest


def load(guest: Guest, text: str, at: int, out: int) -> None:
    code = assemble(text, at + 64)
    guest.kernel(at=at, code=len(code), kernarg=8)
    guest.put(at + 64, code)
    guest.put(KERNARG, struct.pack("<Q", out))


def story(reference: bool) -> tuple[object, ...]:
    """A chain of packets, some of which fail: all that can be seen of it."""
    guest = machine(reference=reference)
    load(guest, SQUARES, KERNEL, VRAM)
    load(guest, ENDLESS, KERNEL + 4096, VRAM)
    load(guest, "lw t0, 0(zero)", KERNEL + 8192, VRAM)
    done = [guest.signal() for _ in range(5)]
    grid = {"grid": (ITEMS, 1, 1), "workgroup": (64, 1, 1), "barrier": 1}
    guest.submit(
        dispatch(done[0], **grid),
        barrier(done[1], done[0]),
        copy(done[2], VRAM, DATA, 4 * ITEMS),
        dispatch(done[3], kernel=KERNEL + 4096, **grid),
        dispatch(done[4], kernel=KERNEL + 8192, **grid),
    )
    guest.pass_time(10**12)
    squares = struct.unpack(f"<{ITEMS}I", guest.get(DATA, 4 * ITEMS))
    faults = guest.get(0x4000_0080, 0x30)
    values = [guest.value(signal) for signal in done]
    return squares, values, [guest.times(signal) for signal in done], faults, guest.read(0x40, 8)


@pytest.fixture(scope="module")
def told() -> tuple[object, ...]:
    return story(reference=False)


def test_a_kernel_writes_what_it_computes(told) -> None:
    assert told[0] == tuple(i * i for i in range(ITEMS))


def test_what_fails_says_why_and_the_rest_completes(told) -> None:
    assert told[1] == [0, 0, 0, -9, -5]


def test_both_engines_tell_the_same_story(told) -> None:
    assert story(reference=True) == told


def test_a_kernel_reaches_the_memory_of_another_gpu() -> None:
    guest = machine(reference=False, gpus=2)
    load(guest, SQUARES, KERNEL, VRAM + VRAM_STRIDE)
    done = guest.signal()
    guest.submit(dispatch(done, grid=(64, 1, 1)))
    guest.pass_time()
    assert guest.value(done) == 0
    found = struct.unpack("<64I", guest.get(VRAM + VRAM_STRIDE, 256))
    assert found == tuple(i * i for i in range(64))


def test_code_and_object_may_lie_in_vram() -> None:
    guest = machine(reference=False)
    load(guest, SQUARES, VRAM + 4096, DATA)
    done = guest.signal()
    guest.submit(dispatch(done, kernel=VRAM + 4096))
    guest.pass_time()
    assert guest.value(done) == 0
    assert guest.load(DATA + 4 * 63, "<I") == 63 * 63


def test_a_kernel_without_bus_mastering_reaches_nothing() -> None:
    guest = machine(reference=False)
    load(guest, SQUARES, KERNEL, VRAM)
    guest.place(dispatch())
    guest.gpus[0].config.write(0x04, 2, 2)
    guest.ring(0)
    guest.pass_time()
    assert guest.get(VRAM + 4, 4) == bytes(4)
