"""The layouts are those of ROCR's headers, as tinygrad has generated ctypes from them."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from emu.devices.gpu import packets
from emu.devices.gpu.packets import AgentDispatch, Barrier, KernelDispatch, PacketType

hsa = pytest.importorskip("tinygrad.runtime.autogen.hsa")


def signal(handle: int) -> Any:
    return hsa.hsa_signal_t(handle=handle)


def test_every_structure_has_the_size_that_is_relied_on() -> None:
    forms = ["kernel_dispatch", "agent_dispatch", "barrier_and", "barrier_or"]
    assert {ctypes.sizeof(getattr(hsa, f"hsa_{form}_packet_t")) for form in forms} == {64}
    assert ctypes.sizeof(hsa.amd_signal_t) == 64
    assert ctypes.sizeof(hsa.amd_queue_t) == 256


def test_packet_types_have_their_numbers() -> None:
    names = {PacketType.VENDOR: "VENDOR_SPECIFIC"}
    for kind in PacketType:
        assert kind == getattr(hsa, f"HSA_PACKET_TYPE_{names.get(kind, kind.name)}")


def test_header_fields_are_where_hsa_has_them() -> None:
    value = hsa.HSA_PACKET_TYPE_BARRIER_OR << hsa.HSA_PACKET_HEADER_TYPE
    value |= 1 << hsa.HSA_PACKET_HEADER_BARRIER
    value |= hsa.HSA_FENCE_SCOPE_SYSTEM << hsa.HSA_PACKET_HEADER_SCACQUIRE_FENCE_SCOPE
    value |= hsa.HSA_FENCE_SCOPE_AGENT << hsa.HSA_PACKET_HEADER_SCRELEASE_FENCE_SCOPE
    assert packets.Header.parse(value) == packets.Header(PacketType.BARRIER_OR, True)


def test_kernel_dispatch_packet() -> None:
    packet = hsa.hsa_kernel_dispatch_packet_t(
        header=2, setup=3 << hsa.HSA_KERNEL_DISPATCH_PACKET_SETUP_DIMENSIONS,
        workgroup_size_x=2, workgroup_size_y=3, workgroup_size_z=4,
        grid_size_x=50, grid_size_y=60, grid_size_z=70,
        private_segment_size=80, group_segment_size=90,
        kernel_object=1000, kernarg_address=1600, completion_signal=signal(1280),
    )  # fmt: skip
    assert packets.parse(bytes(packet), PacketType.KERNEL_DISPATCH) == KernelDispatch(
        (2, 3, 4), (50, 60, 70), 80, 90, 1000, 1600, 1280
    )


@pytest.mark.parametrize("name", ["and", "or"])
def test_barrier_packets(name: str) -> None:
    packet = getattr(hsa, f"hsa_barrier_{name}_packet_t")(header=3, completion_signal=signal(64))
    for i, handle in enumerate([0, 128, 192, 0, 256]):
        packet.dep_signal[i] = signal(handle)
    kind = PacketType[f"BARRIER_{name.upper()}"]
    assert packets.parse(bytes(packet), kind) == Barrier((128, 192, 256), name == "or", 64)


def test_agent_dispatch_packet() -> None:
    packet = hsa.hsa_agent_dispatch_packet_t(
        header=4, type=7, return_address=4096, completion_signal=signal(64)
    )
    for i in range(4):
        packet.arg[i] = 10 + i
    expected = AgentDispatch(7, 4096, (10, 11, 12, 13), 64)
    assert packets.parse(bytes(packet), PacketType.AGENT_DISPATCH) == expected


def test_a_queue_and_its_signals_as_a_client_of_hsa_makes_them(guest) -> None:
    """Structures straight from the headers drive the device."""
    from tests.devices.gpu.conftest import DATA, KERNARG, KERNEL

    ring, done = DATA, DATA + 0x1000
    queue = hsa.amd_queue_t(read_dispatch_id=5, write_dispatch_id=6)
    queue.hsa_queue.type, queue.hsa_queue.size = hsa.HSA_QUEUE_TYPE_MULTI, 8
    queue.hsa_queue.base_address = ring
    queue.hsa_queue.features = hsa.HSA_QUEUE_FEATURE_KERNEL_DISPATCH
    guest.put(DATA + 0x2000, bytes(queue))
    made = hsa.amd_signal_t(
        kind=hsa.AMD_SIGNAL_KIND_USER, value=3, event_mailbox_ptr=DATA + 0x3000, event_id=77
    )
    guest.put(done, bytes(made))
    packet = hsa.hsa_kernel_dispatch_packet_t(
        header=2, setup=1, workgroup_size_x=32, workgroup_size_y=1, workgroup_size_z=1,
        grid_size_x=32, grid_size_y=1, grid_size_z=1,
        kernel_object=KERNEL, kernarg_address=KERNARG, completion_signal=signal(done),
    )  # fmt: skip
    guest.put(ring + 5 * 64, bytes(packet))
    guest.write(0x1040, DATA + 0x2000, 8)
    guest.write(0x1048, 1)
    guest.ring(5, number=1)
    guest.pass_time()
    after = hsa.amd_signal_t.from_buffer_copy(guest.get(done, 64))
    assert (after.value, after.event_id, guest.load(DATA + 0x3000)) == (2, 77, 77)
    assert 0 < after.start_ts < after.end_ts <= guest.now_ps // 1000
    left = hsa.amd_queue_t.from_buffer_copy(guest.get(DATA + 0x2000, 256))
    assert left.read_dispatch_id == 6
    assert guest.load(ring + 5 * 64, "<H") == hsa.HSA_PACKET_TYPE_INVALID
