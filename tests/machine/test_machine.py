"""The machine's loop: ends, limits, sleep, input, reset, traces."""

from __future__ import annotations

import io
import subprocess

import pytest

from emu.errors import AiosError
from emu.machine import CODE_LIMIT, CODE_POWER_CUT, CODE_STUCK
from emu.trace import Trace

FINISH = ("lui t0, 0x100", "lui t1, 0x5", "addi t1, t1, 0x555", "sw t1, 0(t0)")

HELLO = """
static volatile unsigned char *const uart = (void *)0x10000000;
static volatile unsigned *const finisher = (void *)0x100000;
static void put(int c) { while (!(uart[5] & 0x20)); uart[0] = c; }
static int get(void) { while (!(uart[5] & 1)); return uart[0]; }
void main(unsigned long hart, const unsigned *tree) {
    for (const char *p = "hello\\n"; *p; p++) put(*p);
    if (hart != 0 || *tree != 0xedfe0dd0) *finisher = 99 << 16 | 0x3333;
    for (int c; (c = get()) != 4;) put(c ^ 0x20);
    *finisher = 7 << 16 | 0x3333;
    for (;;);
}
"""

START = """
.section .text.init
.globl _start
_start: la sp, stack_top
    call main
.bss
.space 4096
stack_top:
"""


@pytest.fixture
def hello(tool, tmp_path) -> bytes:
    """A C program by gcc that greets, echoes with the case changed, and fails with 7."""
    (tmp_path / "hello.c").write_text(HELLO)
    (tmp_path / "start.S").write_text(START)
    flags = "-march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib -O2 -Wl,-n -Wl,-Ttext=0x80000000"
    command = [tool("riscv64-unknown-elf-gcc"), *flags.split(), "start.S", "hello.c", "-o", "a.elf"]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    return (tmp_path / "a.elf").read_bytes()


def test_a_c_program_talks_and_fails_with_its_code(hello, make_machine) -> None:
    machine = make_machine(hello, b"abc")
    status = machine.run()
    assert machine.console.text == "hello\nABC"
    assert (status.code, status.by_guest) == (7, True)


def test_two_runs_give_the_same_trace(hello, make_machine) -> None:
    traces = []
    for _ in range(2):
        out = io.StringIO()
        machine = make_machine(hello, b"abc", trace=Trace(out))
        machine.run()
        traces.append(out.getvalue())
    assert traces[0] == traces[1]
    assert '"dev": "finisher"' in traces[0]


def test_engines_agree_to_the_byte_of_the_trace(hello, make_machine) -> None:
    pytest.importorskip("emu.cpu.native.engine")
    traces = []
    for engine in ("native", "reference"):
        out = io.StringIO()
        make_machine(hello, b"abc", trace=Trace(out), engine=engine).run()
        traces.append(out.getvalue())
    assert traces[0] == traces[1]


def test_success_is_code_0(elf, assemble, make_machine) -> None:
    status = make_machine(elf(assemble(*FINISH))).run()
    assert (status.code, status.by_guest) == (0, True)


def test_the_instruction_limit_is_exact_and_can_be_continued(elf, assemble, make_machine) -> None:
    machine = make_machine(elf(assemble("addi a0, a0, 1", "jal x0, 0")))
    status = machine.run(1000)
    assert status.code == CODE_LIMIT
    assert status.reason == "The guest was stopped after 1000 instructions."
    assert machine.hart.instret == 1000
    machine.run(500)
    assert machine.hart.instret == 1500


def test_a_guest_that_only_traps_is_stopped_too(elf, make_machine) -> None:
    machine = make_machine(elf(bytes(8)))
    assert machine.run(10_000).code == CODE_LIMIT


def test_sleeping_for_ever_ends_the_run(elf, assemble, make_machine) -> None:
    status = make_machine(elf(assemble("wfi", "jal x0, 0"))).run()
    assert status.code == CODE_STUCK
    assert status.reason == "The guest sleeps, and nothing is left that could wake it."


def test_sleep_skips_to_the_timer(elf, assemble, make_machine) -> None:
    """mtimecmp is set one second ahead; WFI costs no host time and ends with the timer pending."""
    code = assemble(
        *("lui t0, 0x2004", "lui t1, 0x989", "addi t1, t1, 0x680", "sd t1, 0(t0)"),
        *("addi t2, x0, 128", "csrrw x0, mie, t2", "wfi", *FINISH),
    )
    machine = make_machine(elf(code))
    assert machine.run().code == 0
    assert machine.clock.now_ps == pytest.approx(1e12, rel=1e-3)


def test_the_timer_interrupt_arrives_on_time(elf, assemble, make_machine) -> None:
    """A busy guest is interrupted at the tick that it has asked for."""
    code = assemble(
        *("auipc t0, 0", "addi t0, t0, 44", "csrrw x0, mtvec, t0"),
        *("lui t0, 0x2004", "addi t1, x0, 100", "sd t1, 0(t0)"),
        *("addi t2, x0, 128", "csrrw x0, mie, t2", "csrrsi x0, mstatus, 8", "jal x0, 0"),
        *("addi x0, x0, 0", *FINISH),
    )
    machine = make_machine(elf(code))
    assert machine.run(100_000).code == 0
    assert machine.hart.csr_read(0x342) == 1 << 63 | 7
    assert 100 <= machine.clock.ticks <= 101


@pytest.mark.parametrize("engine", ["native", "reference"])
def test_the_timer_interrupt_arrives_on_time_amid_tensor_instructions(
    elf, assemble, make_machine, engine
) -> None:
    """Each takes 20 ns and more: far fewer than 10 000 of them fit into the 10 us."""
    code = assemble(
        *("auipc t0, 0", "addi t0, t0, 72", "csrrw x0, mtvec, t0"),
        *("lui t1, 8", "csrrs x0, mstatus, t1", "addi t1, x0, 1", "tset tr0, t1, 1"),
        *("addi t0, t0, 16", "tset tr0, t0, 0", "tmv tr1, tr0"),  # a scalar behind the program
        *("lui t0, 0x2004", "addi t1, x0, 100", "sd t1, 0(t0)"),
        *("addi t2, x0, 128", "csrrw x0, mie, t2", "csrrsi x0, mstatus, 8"),
        *("tadd tr0, tr1, tr1", "jal x0, -4", *FINISH, "addi x0, x0, 0"),
    )
    machine = make_machine(elf(code), engine=engine)
    assert machine.run(100_000).code == 0
    assert 100 <= machine.clock.ticks <= 101
    assert machine.hart.instret < 1000


def test_reset_starts_again_and_time_goes_on(elf, assemble, make_machine) -> None:
    """The first time a word of RAM is zero: set it and reset; the second time finish."""
    code = assemble(
        *("lui t3, 0x40100", "slli t3, t3, 1", "ld t4, 0(t3)", "addi t5, x0, 1", "sd t5, 0(t3)"),
        *("lui t0, 0x100", "bne t4, x0, 16"),
        *("lui t1, 0x7", "addi t1, t1, 0x777", "sw t1, 0(t0)"),
        *FINISH,
    )
    out = io.StringIO()
    machine = make_machine(elf(code), trace=Trace(out))
    assert machine.run(1000).code == 0
    assert '"what": "reset"' in out.getvalue()
    times = [int(line.split('"t": ')[1].split(",")[0]) for line in out.getvalue().splitlines()]
    assert times == sorted(times)


def test_step_executes_one_instruction(elf, assemble, make_machine) -> None:
    machine = make_machine(elf(assemble("addi a3, x0, 5", "jal x0, 0")))
    while machine.hart.state.pc != 0x8000_0000:
        machine.step()
    assert machine.step() is None
    assert machine.hart.state.x[13] == 5
    assert machine.hart.state.x[11] == 0xBFE0_0000  # the device tree, below 3 GiB


def test_devices_are_listed_by_name(elf, assemble, make_machine, tmp_path) -> None:
    from emu.platform import Drive

    drive = tmp_path / "d.img"
    drive.write_bytes(bytes(4096))
    machine = make_machine(
        elf(assemble("wfi")), board="server", drives=[Drive(str(drive))] if drive else []
    )
    names = list(machine.devices)
    assert names[:6] == ["clint", "plic", "uart", "rtc", "finisher", "nvme0"]
    assert sum(name.startswith("gpu") for name in names) == 8
    assert "LSR" in machine.devices["uart"].dump()


def test_firmware_gets_the_kernel_as_its_next_stage(elf, assemble, make_machine) -> None:
    """a2 points to what OpenSBI calls dynamic information; its third word is the next address."""
    firmware = assemble("ld a3, 16(a2)", "jalr x0, 0(a3)")
    machine = make_machine(assemble(*FINISH), bios=firmware)
    assert machine.run(1000).code == 0


def test_too_many_drives_are_a_sentence(elf, assemble, make_machine, tmp_path) -> None:
    from emu.platform import Drive

    drives = []
    for i in range(2):
        (tmp_path / f"{i}").write_bytes(bytes(512))
        drives.append(Drive(str(tmp_path / f"{i}")))
    with pytest.raises(AiosError, match="The board edge has 1 NVMe slots, but 2 drives are given"):
        make_machine(elf(assemble("wfi")), drives=drives)


def test_unknown_engines_are_a_sentence(elf, assemble, make_machine) -> None:
    with pytest.raises(AiosError, match="There is no engine 'fast'; the engines are native, ref"):
        make_machine(elf(assemble("wfi")), engine="fast")


LOOP = ("jal zero, 0",)
WAIT = ("wfi", "jal zero, -4")


@pytest.mark.parametrize("program", [LOOP, WAIT])
def test_a_power_cut_ends_the_run_at_its_moment(make_machine, elf, assemble, program) -> None:
    machine = make_machine(elf(assemble(*program)))
    machine.cut_power_at(3 * 10**9)
    status = machine.run()
    assert (status.code, status.by_guest) == (CODE_POWER_CUT, False)
    assert status.reason == "The power was cut at 3 ms; drives kept what had been flushed."
    assert machine.clock.now_ps == 3 * 10**9


def test_a_power_cut_comes_in_spite_of_a_reset(make_machine, elf, assemble) -> None:
    restart = ("lui t0, 0x100", "lui t1, 0x7", "addi t1, t1, 0x777", "sw t1, 0(t0)")
    machine = make_machine(elf(assemble(*restart)))
    machine.cut_power_at(10**8)
    assert machine.run(10**6).code == CODE_POWER_CUT


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("between", ["nop", "sw x0, 0(t2)"])
def test_a_reservation_does_not_outlive_what_devices_may_have_done(
    elf, assemble, make_machine, engine: str, between: str
) -> None:
    """A store to a device may start a transfer at once; so may an event, at any later time."""
    code = ("lui t2, 0x2000", "auipc t3, 1", "lr.w t4, (t3)", between, "sc.w t5, x0, (t3)")
    machine = make_machine(elf(assemble(*code, *FINISH)), engine=engine)
    machine.run()
    assert machine.hart.state.x[30] == (between != "nop")


def test_an_event_breaks_the_reservation(elf, assemble, make_machine) -> None:
    code = ("auipc t3, 1", "lr.w t4, (t3)", *["nop"] * 100, "sc.w t5, x0, (t3)")
    machine = make_machine(elf(assemble(*code, *FINISH)))
    machine.events.schedule(50 * machine.clock.ps_per_insn, lambda: None)
    machine.run()
    assert machine.hart.state.x[30] == 1


def test_until_the_power_fails_a_run_is_what_it_would_be_without(hello, make_machine) -> None:
    """A guest that sleeps for input is given it as fast as ever."""
    whole = make_machine(hello, b"abc")
    status = whole.run()
    cut = make_machine(hello, b"abc")
    cut.cut_power_at(10 * whole.clock.now_ps)
    assert cut.run() == status
    assert cut.clock.now_ps == whole.clock.now_ps
