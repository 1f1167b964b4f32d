"""No access of a guest to any device is an exception on the host."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.bus import BusFault

BASES = (0x10_0000, 0x10_1000, 0x200_0000, 0x200_4000, 0xC00_0000, 0xC00_2000, 0xC20_0000)
PLACES = st.one_of(
    st.tuples(st.sampled_from(BASES), st.integers(0, 0x1100)),
    st.tuples(st.sampled_from([0x1000_0000, 0x1000_1000, 0x1000_8000]), st.integers(0, 0x140)),
    st.tuples(st.sampled_from([0x3000_0000, 0x3000_8000, 0x3001_0000]), st.integers(0, 0x1000)),
    st.tuples(st.sampled_from([0x4000_0000, 1 << 40, 0x300_0000]), st.integers(0, 0x2000)),
)
VALUES = st.one_of(st.integers(0, 7), st.integers(0, (1 << 64) - 1))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    accesses=st.lists(
        st.tuples(st.booleans(), PLACES, st.sampled_from([1, 2, 4, 8]), VALUES), max_size=60
    )
)
def test_any_access_to_any_device(elf, make_machine, accesses) -> None:
    machine = make_machine(elf(b"\x13\0\0\0"))
    for write, (base, offset), size, value in accesses:
        try:
            if write:
                machine.bus.write(base + offset, size, value)
            else:
                assert 0 <= machine.bus.read(base + offset, size) < 1 << 8 * size
        except BusFault:
            continue
        machine.clock.skip_to(machine.clock.now_ps + 10**6)
        machine.events.run_due()
    for device in machine.devices.values():
        device.dump()
        device.restore(device.snapshot())
    machine.close()
