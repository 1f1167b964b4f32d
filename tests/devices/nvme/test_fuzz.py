"""Whatever a guest writes, the controller does not raise, and leaves the drive alone."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SUPPRESS = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
OFFSETS = st.one_of(st.integers(0, 0x3F), st.integers(0x1000, 0x1210), st.integers(0, 0x3FF8))
WORDS = st.one_of(
    st.integers(0, 70),
    st.sampled_from([0x460001, 0x460000, 0x8000_1000, 0x1F001F, 0xFFFF_FFFF]),
    st.integers(0, (1 << 64) - 1),
)
ACCESS = st.tuples(st.booleans(), OFFSETS, st.sampled_from([1, 2, 4, 8]), WORDS)
COMMAND = st.fixed_dictionaries(
    {
        "flags": st.sampled_from([0, 0, 0, 1, 0x40]),
        "nsid": st.sampled_from([0, 1, 1, 2, 0xFFFF_FFFF]),
        "prp1": st.sampled_from([0x8005_0000, 0x8005_0008, 0x83FF_F000, 0x1000, (1 << 64) - 4096]),
        "prp2": st.sampled_from([0, 0x8006_0000, 0x8006_0008, 0x8006_0FF8, (1 << 64) - 8]),
        "cdw10": WORDS.map(lambda n: n & 0xFFFF_FFFF),
        "cdw11": WORDS.map(lambda n: n & 0xFFFF_FFFF),
        "cdw12": WORDS.map(lambda n: n & 0xFFFF_FFFF),
        "cdw13": st.sampled_from([0, 1, 0xFFFF_FFFF]),
    }
)


@SUPPRESS
@given(accesses=st.lists(ACCESS, max_size=30))
def test_registers_survive_any_access(image, make_driver, accesses) -> None:
    driver = make_driver(image, readonly=True)
    driver.enable()
    for write, offset, size, value in accesses:
        if write:
            driver.bus.write(0x4000_0000 + offset, size, value)
        else:
            assert 0 <= driver.bus.read(0x4000_0000 + offset, size) < 1 << 8 * size
        driver.let_time_pass(1e-4)
    driver.backing.close()
    driver.nvme.dump()


@SUPPRESS
@given(commands=st.lists(st.tuples(st.integers(0, 1), st.integers(0, 13), COMMAND), max_size=12))
def test_commands_always_complete_with_a_status(image, make_driver, commands) -> None:
    driver = make_driver(image, readonly=True)
    before = image.read_bytes()
    driver.enable()
    driver.create_queues()
    for qid, opcode, fields in commands:
        driver.push(qid, opcode, **fields)
        driver.let_time_pass(1e-3)
    assert not driver.read(0x1C) & 2, "no command can make the controller fail"
    assert image.read_bytes() == before
    driver.backing.close()
