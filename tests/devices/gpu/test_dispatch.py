"""Kernel objects as bytes, and the geometry of grids against plain loops."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emu.devices.gpu.dispatch import BadDispatch, Dispatch, FaultCode, KernelObject

ADDRESS = 0x8000_1000
KERNEL = KernelObject(ADDRESS - 0x800, 0x40, 24, 256, 32)
_SIZES = st.tuples(*[st.integers(1, 5)] * 3)


def test_a_kernel_object_is_read_as_it_is_laid_out() -> None:
    form = (
        b"AKRN" + (1).to_bytes(4, "little") + (-0x800).to_bytes(8, "little", signed=True)
        + (0x40).to_bytes(8, "little") + (24).to_bytes(4, "little") + (256).to_bytes(4, "little")
        + (32).to_bytes(4, "little") + bytes(28)
    )  # fmt: skip
    assert KernelObject.parse(form, ADDRESS) == KERNEL
    assert KERNEL.encode(ADDRESS) == form


@pytest.mark.parametrize(
    ("offset", "byte", "address", "message"),
    [
        (0, 0, ADDRESS, r"The kernel object at 0x80001000 begins with b'\\x00KRN'."),
        (4, 2, ADDRESS, "The kernel object's version is 2, not 1."),
        (8, 1, ADDRESS, "The kernel's entry 0x80000801 is odd."),
        (16, 0, ADDRESS, "A kernel of 0 bytes of code is not possible."),
        (23, 1, ADDRESS, "A kernel of 72057594037928000 bytes of code is not possible."),
        (32, 40, ADDRESS, "40 bytes of private memory are no multiple of 16."),
        (36, 1, ADDRESS, "A reserved byte of the kernel object is not zero."),
        (63, 1, ADDRESS, "A reserved byte of the kernel object is not zero."),
        (0, 0x41, ADDRESS + 32, "The kernel object at 0x80001020 is not aligned to 64 bytes."),
        (15, 0x7F, ADDRESS, "The kernel's entry 0x.* wraps."),
    ],
)
def test_a_wrong_kernel_object_is_refused_in_words(
    offset: int, byte: int, address: int, message: str
) -> None:
    form = bytearray(KERNEL.encode(ADDRESS))
    form[offset] = byte
    if offset == 15:
        form[8:16] = (0x7FFF_FFFF_FFFF_FFFE).to_bytes(8, "little")
        address = (1 << 64) - 64
    with pytest.raises(BadDispatch, match=message) as refused:
        KernelObject.parse(bytes(form), address)
    assert refused.value.code is FaultCode.BAD_KERNEL


@given(st.binary(min_size=64, max_size=64), st.integers(0, (1 << 64) - 1))
def test_any_bytes_are_a_kernel_object_or_refused(form: bytes, address: int) -> None:
    try:
        kernel = KernelObject.parse(form, address)
    except BadDispatch:
        return
    assert kernel.encode(address) == form


@pytest.mark.parametrize(
    ("grid", "workgroup", "group_bytes", "private_bytes", "message"),
    [
        ((1, 1, 1), (0, 1, 1), 0, 0, "A workgroup of 0 work-items is not possible."),
        ((1, 1, 1), (33, 32, 1), 0, 0, "A workgroup of 1056 work-items is not possible."),
        ((1, 0, 1), (1, 1, 1), 0, 0, r"The grid \(1, 0, 1\) has no work-items."),
        ((1, 1, 1), (1, 1, 1), 1 << 20, 0, "1048576 bytes of group memory are more than 262144."),
        ((1, 1, 1), (1, 1, 1), 0, 65537, "65552 bytes of private memory are more than 65536."),
    ],
)
def test_a_wrong_packet_is_refused_in_words(
    grid: tuple[int, int, int],
    workgroup: tuple[int, int, int],
    group_bytes: int,
    private_bytes: int,
    message: str,
) -> None:
    dispatch = Dispatch(KERNEL, 0, grid, workgroup, group_bytes, private_bytes)
    with pytest.raises(BadDispatch, match=message) as refused:
        dispatch.check()
    assert refused.value.code is FaultCode.BAD_PACKET


def test_the_larger_of_kernel_and_packet_says_how_much_memory_there_is() -> None:
    less = Dispatch(KERNEL, 0, (1, 1, 1), (1, 1, 1), 100, 17)
    more = Dispatch(KERNEL, 0, (1, 1, 1), (1, 1, 1), 300, 33)
    assert (less.group_memory, less.private_memory) == (256, 32)
    assert (more.group_memory, more.private_memory) == (300, 48)


@given(_SIZES, _SIZES)
def test_every_work_item_of_the_grid_starts_in_exactly_one_place(
    grid: tuple[int, int, int], workgroup: tuple[int, int, int]
) -> None:
    dispatch = Dispatch(KERNEL, 0, grid, workgroup)
    started = []
    for number, group in enumerate(dispatch.workgroups()):
        assert dispatch.number(group) == number
        for item in range(dispatch.warps * 32):
            if dispatch.starts(group, item):
                local = dispatch.local_id(item)
                origin = zip(group, workgroup, local, strict=True)
                started.append(tuple(g * size + i for g, size, i in origin))
    assert sorted(started) == list(product(*map(range, grid)))
