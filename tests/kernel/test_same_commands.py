"""The kernel's NVMe driver does the same on our drive and on QEMU's: it gives the same commands in
the same order, and gets the same status for each."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from emu.platform import Drive
from tests.kernel.commands import READ, SET_FEATURES, WRITE, Command, Witness, from_qemu

SIZE = 4 << 20
DO_NOT_RETRY = 0x4000
NOT_CHANGEABLE = 0x10E


def is_coalescing(command: Command) -> bool:
    return (command.queue, command.opcode, command.what) == (0, SET_FEATURES, (0x08,))


def make_drive(path: Path) -> Path:
    path.write_bytes(random.Random(4).randbytes(SIZE))
    return path


def run_on_qemu(qemu: str, kernel: Path, drive: Path) -> tuple[list[str], list[Command]]:
    command = [qemu, "-M", "virt", "-m", "1G", "-bios", "none", "-kernel", str(kernel)]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-drive", f"file={drive},if=none,format=raw,id=d"]
    command += ["-device", "nvme,drive=d,serial=aios", "-trace", "pci_nvme*"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True, text=True
    )
    return done.stdout.splitlines(), from_qemu(done.stderr.splitlines())


def run_on_ours(kernel: Path, drive: Path) -> tuple[list[str], list[Command]]:
    console, witness = MemoryConsole(), Witness()
    with Machine(
        board.load("workstation"),
        kernel=kernel.read_bytes(),
        drives=[Drive(str(drive))],
        console=console,
        trace=witness,
    ) as machine:
        witness.memory = machine.memory
        assert machine.run(10**9).code == 0
    return console.text.splitlines(), witness.commands


def test_commands_and_statuses_are_those_on_qemu(
    tool: Callable[[str], str], build: Callable[[str], Path], tmp_path: Path
) -> None:
    kernel = build("exercise")
    theirs, ours = make_drive(tmp_path / "theirs.img"), make_drive(tmp_path / "ours.img")
    their_words, their_commands = run_on_qemu(tool("qemu-system-riscv64"), kernel, theirs)
    our_words, our_commands = run_on_ours(kernel, ours)
    assert our_words == their_words
    assert ours.read_bytes() == theirs.read_bytes()

    # QEMU 7.2 has no interrupt coalescing to set, so it is asked once; nothing else may differ.
    refused = [c for c in their_commands if is_coalescing(c)]
    assert [c.status for c in refused] == [NOT_CHANGEABLE | DO_NOT_RETRY]
    accepted = [c for c in our_commands if is_coalescing(c)]
    assert {c.status for c in accepted} == {0}
    ours_else = [c for c in our_commands if not is_coalescing(c)]
    assert ours_else == [c for c in their_commands if not is_coalescing(c)]

    transfers = [c for c in our_commands if c.queue == 1 and c.opcode in (READ, WRITE)]
    assert len(transfers) > 50
    assert max(c.what[1] for c in transfers) == 1024  # as large as both controllers allow
    assert any(c.status for c in our_commands), "mistakes are among what is compared"
