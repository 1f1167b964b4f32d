"""Tensor instructions of warps: NumPy's results, the hart's refusals, executed once for a warp."""

from __future__ import annotations

import numpy as np
import pytest

from emu.cpu.tensor.descriptor import Descriptor
from emu.devices.gpu.dispatch import GROUP_BASE, PRIVATE_BASE, FaultCode
from tests.devices.gpu.lanes import Bench
from tests.tensor.bench import descriptor as describe

B = Bench
FORMS, X, Y = B.DATA, B.DATA + 0x4000, B.FAR
"""Descriptors; one operand in each region."""
LOADS = "; ".join(f"addi t0, a0, {128 * i}; tld tr{i}, (t0)" for i in range(4))
RNG = np.random.default_rng(7)


def _describe(bench: Bench, *descriptors: Descriptor) -> None:
    for i, descriptor in enumerate(descriptors):
        bench.put(FORMS + 128 * i, descriptor.encode())


def _array(bench: Bench, address: int, dims: tuple[int, ...]) -> np.ndarray:  # type: ignore[type-arg]
    size = 4 * int(np.prod(dims))
    return np.frombuffer(bench.bytes(address, size), np.float32).reshape(dims)


def _view(address: int, *dims: int) -> Descriptor:
    """Dense, of f32."""
    steps = [int(np.prod(dims[i + 1 :])) for i in range(len(dims))]
    return describe(address, "f32", dims, steps)


def test_a_product_of_operands_in_both_regions() -> None:
    bench = Bench()
    a = RNG.integers(-8, 8, (7, 12)).astype(np.float32)
    b = RNG.integers(-8, 8, (12, 9)).astype(np.float32)
    bench.put(X, a.tobytes())
    bench.put(Y, b.tobytes())
    _describe(bench, _view(X + 0x1000, 7, 9), _view(X, 7, 12), _view(Y, 12, 9), _view(X))
    outcome = bench.run(f"{LOADS}; tmatmul tr0, tr1, tr2, zero; ret")
    assert outcome.fault is None
    assert np.array_equal(_array(bench, X + 0x1000, (7, 9)), a @ b)
    assert outcome.counts.tensor_flops == 2 * 7 * 12 * 9
    assert outcome.counts.tensor_bytes == 4 * (7 * 12 + 12 * 9 + 7 * 9)
    assert outcome.counts.warp_instructions == 10


def test_an_instruction_is_executed_once_for_the_lanes_together() -> None:
    """x += x is done once by a whole warp, and once for each lane that comes alone."""
    bench = Bench()
    bench.put(X, np.ones(4, np.float32).tobytes())
    _describe(bench, *[_view(X, 4)] * 4)
    assert bench.run(f"{LOADS}; tadd tr0, tr1, tr2; ret").fault is None
    assert _array(bench, X, (4,)).tolist() == [2.0] * 4
    alone = "csrr t1, lane_id; sltiu t1, t1, 1; beqz t1, out; tadd tr0, tr1, tr2; out: ret"
    assert bench.run(f"{LOADS}; {alone}").fault is None
    assert _array(bench, X, (4,)).tolist() == [4.0] * 4


def test_each_warp_has_registers_of_its_own() -> None:
    """Both warps load other descriptors into the same register; each works on its own."""
    bench = Bench()
    bench.put(X, np.arange(8, dtype=np.float32).tobytes())
    _describe(bench, _view(X, 4), _view(X + 16, 4))
    text = """
        csrr t0, warp_id; slli t0, t0, 7; add t0, t0, a0; tld tr5, (t0)
        li a1, 0; csrr a2, group_warps; bar a1, a2
        tadd tr5, tr5, tr5; ret"""
    assert bench.run(text, grid=(64, 1, 1), workgroup=(64, 1, 1)).fault is None
    assert _array(bench, X, (8,)).tolist() == [2.0 * i for i in range(8)]


def test_fields_are_read_into_every_lane_and_set_from_the_lowest() -> None:
    bench = Bench()
    text = """
        csrr t0, lane_id; addi t1, t0, 40; tset tr1, t1, 8; tget t2, tr1, 8
        slli t0, t0, 2; add t0, t0, a0; sw t2, 0(t0); ret"""
    assert bench.run(text).fault is None
    assert bench.words(B.DATA, 32) == [40] * 32


def test_operands_may_lie_in_group_memory() -> None:
    bench = Bench()
    bench.put(X, np.arange(16, dtype=np.float32).tobytes())
    _describe(bench, *(_view(a, 16) for a in (GROUP_BASE + 32, X, GROUP_BASE + 32, X + 256)))
    text = f"{LOADS}; tadd tr0, tr1, tr1; tmul tr3, tr1, tr2; csrr t0, group_memory"
    outcome = bench.run(f"{text}; lw t1, 36(t0); sw t1, 0(a0); ret", group_size=128)
    assert outcome.fault is None
    assert _array(bench, X + 256, (16,)).tolist() == [2.0 * i * i for i in range(16)]
    assert bench.words(B.DATA, 1) == [0x40000000]  # 2.0


@pytest.mark.parametrize(
    ("views", "code", "address"),
    [
        ((_view(X, 4), _view(X, 5)), FaultCode.TENSOR, 0),
        ((_view(X, 4), _view(B.END - 8, 4)), FaultCode.LOAD_ADDRESS, B.END),
        ((_view(B.END - 8, 4), _view(X, 4)), FaultCode.STORE_ADDRESS, B.END),
        ((_view(X, 4), _view(0, 4)), FaultCode.LOAD_ADDRESS, 0),
        ((_view(X, 4), _view(PRIVATE_BASE, 4)), FaultCode.LOAD_ADDRESS, PRIVATE_BASE),
        ((_view(X, 4), _view(GROUP_BASE + 60, 4)), FaultCode.LOAD_ADDRESS, GROUP_BASE + 64),
    ],
)
def test_what_a_hart_refuses_ends_the_dispatch(
    views: tuple[Descriptor, Descriptor], code: FaultCode, address: int
) -> None:
    bench = Bench()
    _describe(bench, views[0], views[1], views[1], views[1])
    fault = bench.run(f"{LOADS}; tadd tr0, tr1, tr2; ret", group_size=64, private_size=64).fault
    assert fault is not None
    assert (fault.code, fault.address, fault.pc) == (code, address, B.CODE + 32)


def test_a_misaligned_descriptor_is_a_fault() -> None:
    fault = Bench().run("addi t0, a0, 8; tld tr0, (t0); ret").fault
    assert fault is not None
    assert (fault.code, fault.address) == (FaultCode.TENSOR, B.DATA + 8)


def test_the_watchdog_counts_the_work_of_tensor_instructions() -> None:
    """37 products of 2 * 64**3 operations and 3 * 64**2 elements are 20 times 2**20."""
    bench = Bench()
    _describe(bench, *[_view(X + 0x4000 * i, 64, 64) for i in range(4)])
    loop = f"{LOADS}; again: tmatmul tr0, tr1, tr2, zero; j again"
    outcome = bench.run(loop, limit=100)
    assert outcome.fault is not None
    assert outcome.fault.code is FaultCode.WATCHDOG
    assert outcome.counts.tensor_flops == 37 * 2 * 64**3
    assert outcome.counts.warp_instructions == 8 + 37 + 36
