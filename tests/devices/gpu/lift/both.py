"""One kernel on both engines of lanes, from the same memory: all that they leave must be equal."""

from __future__ import annotations

from collections.abc import Mapping

from emu.devices.gpu.dispatch import Dispatch, Extent, Outcome
from emu.devices.gpu.lift import LiftedEngine
from tests.devices.gpu.lanes import Bench, assemble

ENGINE = LiftedEngine(units=4)
"""Shared, so that a kernel is compiled once."""


def is_lifted(code: bytes, workgroup: Extent = (32, 1, 1)) -> bool:
    """Whether a kernel is lifted at all, for groups of this shape."""
    bench = Bench(ENGINE)
    dispatch = Dispatch(bench.kernel(code), 0, workgroup, workgroup)
    return ENGINE.kernel(dispatch, code) is not None


def both(
    text: str | bytes,
    data: Mapping[int, bytes] | None = None,
    *,
    lifts: bool | None = True,
    workgroup: Extent = (32, 1, 1),
    **where: object,
) -> tuple[Outcome, Bench]:
    """Run a kernel on both engines; what came of it, and the memory. `data` is put at addresses
    first. `lifts` is whether the kernel is one that is lifted, None if that does not matter."""
    code = assemble(text, Bench.CODE) if isinstance(text, str) else text
    benches, outcomes = (Bench(), Bench(ENGINE)), []
    for bench in benches:
        for address, content in (data or {}).items():
            bench.put(address, content)
        outcomes.append(bench.run(code, workgroup=workgroup, **where))  # type: ignore[arg-type]
    assert lifts is None or is_lifted(code, workgroup) is lifts
    assert outcomes[1] == outcomes[0]
    one, other = benches
    for start, length in ((Bench.CODE, Bench.END - Bench.CODE), (Bench.FAR, Bench.FAR_SIZE)):
        assert other.bytes(start, length) == one.bytes(start, length)
    return outcomes[1], other
