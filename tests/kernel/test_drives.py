"""What the kernel makes of its drives, and of what goes wrong with them: it says so in a sentence,
uses what still works, and stays at its prompt. The faults are those of fault plans, or done to the
device from outside; each board has its turn."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from emu import board
from emu.clock import PS_PER_MS, PS_PER_US
from emu.console import MemoryConsole
from emu.devices.nvme import Nvme
from emu.machine import CODE_POWER_CUT, ExitStatus, Machine
from emu.platform import Drive
from tests.kernel.commands import FLUSH, WRITE, Witness
from toolchain import disk

ROOT = Path(__file__).parents[2]
ATOMIC = 4096
"""Bytes that a power cut leaves whole or undone."""
BOARDS = ("edge", "workstation", "server")
Hook = Callable[[Machine], None]


def make_disk(path: Path, *names: str) -> Path:
    contents = [(name, ROOT / "models" / name) for name in names or ("digits.onnx", "digit7.npy")]
    disk.create(path, contents, [("out.npy", 4096)])
    return path


def blank(path: Path, size: int = 1 << 20) -> Path:
    path.write_bytes(bytes(size))
    return path


def plan(path: Path, *faults: str) -> str:
    path.write_text("".join(f"[[fault]]\n{fault}\n" for fault in faults))
    return str(path)


class Boot:
    """One run of the kernel: what it said, how it ended, and what was left of the machine."""

    def __init__(
        self,
        kernel: Path,
        drives: list[Drive],
        typed: str = "",
        name: str = "workstation",
        hook: Hook = lambda machine: None,
        append: str = "",
    ) -> None:
        console = MemoryConsole(typed.encode())
        self.witness = Witness()
        with Machine(
            board.load(name),
            kernel=kernel.read_bytes(),
            drives=drives,
            console=console,
            append=append,
            trace=self.witness,
        ) as machine:
            self.witness.memory = machine.memory
            hook(machine)
            self.status: ExitStatus = machine.run(2 * 10**9)
            self.took_ms = machine.clock.now_ps / PS_PER_MS
        self.said = console.text.replace("\r", "")

    def answer(self, command: str) -> str:
        """What was printed after a command was typed, up to the next prompt."""
        return self.said.split(f"AIos> {command}\n", 1)[1].split("AIos> ", 1)[0]


def drive_of(machine: Machine, number: int = 0) -> Nvme:
    device = machine.devices[f"nvme{number}"]
    assert isinstance(device, Nvme)
    return device


def at(milliseconds: float, action: Callable[[Nvme], None]) -> Hook:
    """Do `action` to the first drive at that moment."""

    def hook(machine: Machine) -> None:
        when = round(milliseconds * PS_PER_MS)
        machine.events.schedule(when, lambda: action(drive_of(machine)), timer=True)

    return hook


def set_fatal(nvme: Nvme) -> None:
    nvme.csts.cfs = 1


def power_cut_at(milliseconds: float) -> Hook:
    return lambda machine: machine.cut_power_at(round(milliseconds * PS_PER_MS))


def unplug(nvme: Nvme) -> None:
    nvme.config.write(0x04, 2, 0)


def test_four_drives_of_the_server_are_all_usable(kernel: Path, tmp_path: Path) -> None:
    drives = [Drive(str(blank(tmp_path / f"{i}.img", (i + 1) << 20))) for i in range(3)]
    drives.append(Drive(str(make_disk(tmp_path / "3.img"))))
    typed = "drives\nmodels\n" + "".join(f"readtest {i} random 40\n" for i in range(4))
    boot = Boot(kernel, drives, typed, "server")
    listed = [line.split()[:4] for line in boot.answer("drives").splitlines()]
    assert listed == [[str(i), f"NVMe{i}", "namespace", "1"] for i in range(4)]
    assert "digits.onnx" in boot.answer("models")
    for i in range(4):
        assert boot.answer(f"readtest {i} random 40").startswith("40 reads of 4096 bytes in")


def test_reading_nothing_waits_for_nothing(kernel: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.img"
    disk.create(empty, [])
    boot = Boot(kernel, [Drive(str(empty))], "models\n")
    up_ms = re.search(r"up in ([0-9.]+) ms", boot.said)
    assert up_ms is not None
    assert float(up_ms[1]) < 5  # the kernel sleeps for up to 20 ms at a time
    assert boot.status.code == 0


def test_namespaces_of_one_controller_are_drives(kernel: Path, tmp_path: Path) -> None:
    paths = [blank(tmp_path / "a.img"), make_disk(tmp_path / "b.img"), blank(tmp_path / "c.img")]
    drives = [
        Drive(str(paths[0]), controller=0),
        Drive(str(paths[1]), controller=0, block=4096, nsid=5),
        Drive(str(paths[2]), controller=0),
    ]
    boot = Boot(kernel, drives, "drives\ndevices\nmodels\nreadtest 1 random 9\n", "edge")
    assert [line.split() for line in boot.answer("drives").splitlines()] == [
        f"{i} NVMe0 namespace {nsid} {path.stat().st_size >> 10} KiB in blocks of {n} bytes".split()
        for i, (nsid, path, n) in enumerate(zip((1, 5, 6), paths, (512, 4096, 512), strict=True))
    ]
    assert ", 3 namespaces" in boot.answer("devices")
    assert "digits.onnx" in boot.answer("models")


def test_namespaces_that_the_kernel_cannot_use_are_left_out(
    tool: Callable[[str], str], kernel: Path, tmp_path: Path
) -> None:
    """On QEMU, for our drives have no such formats."""
    command = [tool("qemu-system-riscv64"), "-M", "virt", "-m", "1G", "-bios", "none"]
    command += ["-kernel", str(kernel), "-display", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-device", "nvme,id=n,serial=aios"]
    sizes = "logical_block_size=8192,physical_block_size=8192"
    for i, options in enumerate((sizes, "ms=8", ""), 1):
        path = make_disk(tmp_path / f"{i}.img")
        path.write_bytes(path.read_bytes().ljust(1 << 20, b"\0"))
        command += ["-drive", f"file={path},if=none,format=raw,id=d{i}"]
        command += ["-device", f"nvme-ns,drive=d{i},bus=n,{options}".rstrip(",")]
    typed = b"\nlog\ndrives\nmodels\npoweroff\n"
    done = subprocess.run(command, input=typed, capture_output=True, timeout=60, check=True)
    said = done.stdout.decode().replace("\r", "")
    assert re.search(
        r"NVMe0: namespace 1 has \d+ blocks of 2\^13 bytes with 0 of metadata, which the kernel",
        said,
    )
    assert re.search(r"NVMe0: namespace 2 has \d+ blocks of 2\^9 bytes with 8 of metadata", said)
    assert "0  NVMe0 namespace 3  1024 KiB in blocks of 512 bytes\n" in said
    assert "digits.onnx" in said


@pytest.mark.parametrize("name", BOARDS)
def test_a_read_error_is_a_sentence_and_the_kernel_lives(
    kernel: Path, tmp_path: Path, name: str
) -> None:
    faults = plan(tmp_path / "plan.toml", 'kind = "read-error"\nlba = 8\nblocks = 8')
    boot = Boot(kernel, [Drive(str(make_disk(tmp_path / "d.img")), faults=faults)],
                "models\ndrives\npoweroff\n", name)  # fmt: skip
    sentence = "reading drive 0 failed: unrecovered read error (status 2/81)"
    assert boot.answer("models") == f"error: {sentence}\n"
    assert "NVMe0 namespace 1" in boot.answer("drives")
    assert boot.status.code == 0


def test_the_registry_comes_from_a_drive_that_can_be_read(kernel: Path, tmp_path: Path) -> None:
    faults = plan(tmp_path / "plan.toml", 'kind = "read-error"')
    drives = [
        Drive(str(make_disk(tmp_path / "bad.img")), faults=faults),
        Drive(str(make_disk(tmp_path / "good.img"))),
    ]
    boot = Boot(kernel, drives, "log\nmodels\n")
    assert "drive 0 holds no registry: reading drive 0 failed" in boot.answer("log")
    assert "digits.onnx" in boot.answer("models")


@pytest.mark.parametrize("name", BOARDS)
def test_a_write_error_leaves_the_output_as_it_was(kernel: Path, tmp_path: Path, name: str) -> None:
    path = make_disk(tmp_path / "d.img")
    before = path.read_bytes()
    faults = plan(tmp_path / "plan.toml", 'kind = "write-error"')
    boot = Boot(kernel, [Drive(str(path), faults=faults)],
                "spawn digits\ninfer 0 digit7.npy out.npy\nmodels\n", name)  # fmt: skip
    said = boot.answer("infer 0 digit7.npy out.npy")
    assert "error: writing drive 0 failed: write fault (status 2/80)\n" in said
    assert "out.npy" in boot.answer("models")
    assert path.read_bytes() == before


def test_slow_commands_are_waited_for(kernel: Path, tmp_path: Path) -> None:
    faults = plan(tmp_path / "plan.toml", 'kind = "slow"\ndelay_us = 300_000\nnth = 3')
    boot = Boot(
        kernel, [Drive(str(make_disk(tmp_path / "d.img")), faults=faults)], "spawn digits\nlog\n"
    )
    assert boot.answer("spawn digits") == "agent 0 runs digits.onnx\n"
    assert boot.took_ms > 300
    assert "reset" not in boot.answer("log")


def test_a_command_that_takes_for_ever_is_aborted_and_given_again(
    kernel: Path, tmp_path: Path
) -> None:
    faults = plan(tmp_path / "plan.toml", 'kind = "slow"\ndelay_us = 3_600_000_000\nnth = 3')
    boot = Boot(
        kernel, [Drive(str(make_disk(tmp_path / "d.img")), faults=faults)], "spawn digits\nlog\n"
    )
    assert boot.answer("spawn digits") == "agent 0 runs digits.onnx\n"
    assert 5000 < boot.took_ms < 6000
    assert "reset" not in boot.answer("log")


@pytest.mark.parametrize("name", BOARDS)
def test_a_controller_with_a_fatal_status_is_reset_and_goes_on(
    kernel: Path, tmp_path: Path, name: str
) -> None:
    drives = [Drive(str(make_disk(tmp_path / "d.img")))]
    typed = "readtest 0 random 3000\nlog\nmodels\n"
    boot = Boot(kernel, drives, typed, name, at(104, set_fatal))
    assert boot.answer("readtest 0 random 3000").startswith("3000 reads of 4096 bytes")
    assert "NVMe0 reports a fatal status and is reset" in boot.answer("log")
    assert "digits.onnx" in boot.answer("models")


@pytest.mark.parametrize("name", ["workstation", "server"])
def test_a_controller_that_is_pulled_out_takes_only_its_drive_with_it(
    kernel: Path, tmp_path: Path, name: str
) -> None:
    drives = [
        Drive(str(make_disk(tmp_path / "0.img"))),
        Drive(str(blank(tmp_path / "1.img"))),
    ]
    typed = "readtest 0 random 3000\nspawn digits\nreadtest 1 random 9\ndrives\n"
    boot = Boot(kernel, drives, typed, name, at(104, unplug))
    assert re.fullmatch(
        r"error: reading drive 0 failed: the controller is out of order \(status 7/00\)\n",
        boot.answer("readtest 0 random 3000"),
    )
    assert boot.answer("spawn digits") == "error: NVMe0 is out of order\n"
    assert boot.answer("readtest 1 random 9").startswith("9 reads")
    assert "bytes, out of order\n" in boot.answer("drives")


def test_no_power_cut_costs_the_registry(kernel: Path, tmp_path: Path) -> None:
    """The power fails around every command with which the kernel stores a result. Each time it
    boots again and finds its model."""
    typed = "spawn digits\ninfer 0 digit7.npy out.npy\n"
    original = make_disk(tmp_path / "original.img").read_bytes()
    path = tmp_path / "d.img"
    path.write_bytes(original)
    seen = Boot(kernel, [Drive(str(path))], typed).witness
    stored = path.read_bytes()
    given = [
        at
        for command, at in zip(seen.commands, seen.times, strict=True)
        if command.queue == 1 and command.opcode in (WRITE, FLUSH)
    ]
    left = []
    for moment in [at + later for at in given for later in (PS_PER_US, 200 * PS_PER_US)]:
        path.write_bytes(original)
        cut = Boot(kernel, [Drive(str(path))], typed, hook=power_cut_at(moment / PS_PER_MS))
        assert cut.status.code == CODE_POWER_CUT
        left.append(path.read_bytes())
        again = Boot(kernel, [Drive(str(path))], "models\nspawn digits\n")
        assert "out.npy" in again.answer("models")
        assert again.answer("spawn digits") == "agent 0 runs digits.onnx\n"
    assert left[0] == original
    assert left[-1] == stored
    assert len(set(left)) == 3, "the content is durable before the table that announces it"


@dataclass(frozen=True)
class Cut:
    """An endless writer's run that a power cut has ended: what the file holds, what was durable,
    and the writes behind that (number, first block, blocks)."""

    content: bytes
    durable: bytes
    later: list[tuple[int, int, int]]


def cut_writer(kernel: Path, path: Path, milliseconds: float, faults: str | None = None) -> Cut:
    """Write to a new drive until the power fails. What should be durable is worked out from the
    commands that were seen on the way to the drive: the n-th write is all n."""
    blank(path)
    drives = [Drive(str(path), faults=faults)]
    boot = Boot(kernel, drives, hook=power_cut_at(milliseconds), append="endless")
    assert boot.status.code == CODE_POWER_CUT
    durable, content = bytes(1 << 20), bytearray(1 << 20)
    later: list[tuple[int, int, int]] = []
    n = 0
    for command in boot.witness.commands:
        if command.queue == 1 and command.opcode == WRITE:
            n += 1
            lba, blocks = command.what
            content[512 * lba : 512 * (lba + blocks)] = bytes([n & 0xFF]) * 512 * blocks
            later.append((n & 0xFF, lba, blocks))
        elif command.queue == 1 and command.opcode == FLUSH and command.status == 0:
            durable, later = bytes(content), []
    return Cut(path.read_bytes(), durable, later)


MOMENTS = (1.0, 1.3, 2.1, 3.7)


def test_exactly_what_was_flushed_survives(build: Callable[[str], Path], tmp_path: Path) -> None:
    kernel = build("exercise")
    cuts = [cut_writer(kernel, tmp_path / "d.img", moment) for moment in MOMENTS]
    assert all(cut.content == cut.durable for cut in cuts)
    assert any(cut.later for cut in cuts)


def test_torn_writes_leave_beginnings_and_the_drive_is_seen_again(
    build: Callable[[str], Path], kernel: Path, tmp_path: Path
) -> None:
    faults, torn = plan(tmp_path / "plan.toml", 'kind = "torn-write"'), 0
    for moment in MOMENTS:
        cut = cut_writer(build("exercise"), tmp_path / "d.img", moment, faults)
        for at in range(0, len(cut.content), ATOMIC):
            unit = cut.content[at : at + ATOMIC]
            covering = {n for n, lba, blocks in cut.later if lba <= at // 512 < lba + blocks}
            assert unit == cut.durable[at : at + ATOMIC] or unit in {
                bytes([n]) * ATOMIC for n in covering
            }
            torn += unit != cut.durable[at : at + ATOMIC]
        again = Boot(kernel, [Drive(str(tmp_path / "d.img"))], "readtest 0 random 9\n")
        assert again.answer("readtest 0 random 9").startswith("9 reads")
    assert torn > 0
