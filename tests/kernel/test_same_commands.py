"""The kernel's NVMe driver does the same on our drive and on QEMU's: it gives the same commands in
the same order, and gets the same status for each."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

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


def make_drives(folder: Path, blocks: dict[int, int]) -> dict[int, Path]:
    """A file for each namespace."""
    folder.mkdir()
    paths = {nsid: folder / f"{nsid}.img" for nsid in blocks}
    for nsid, path in paths.items():
        path.write_bytes(random.Random(nsid).randbytes(SIZE))
    return paths


def run_on_qemu(
    qemu: str, kernel: Path, drives: dict[int, Path], blocks: dict[int, int]
) -> tuple[list[str], list[Command]]:
    command = [qemu, "-M", "virt", "-m", "1G", "-bios", "none", "-kernel", str(kernel)]
    command += ["-display", "none", "-monitor", "none", "-serial", "stdio"]
    command += ["-device", "nvme,id=n,serial=aios", "-trace", "pci_nvme*"]
    for nsid, path in drives.items():
        size = blocks[nsid]
        command += ["-drive", f"file={path},if=none,format=raw,id=d{nsid}"]
        command += ["-device", f"nvme-ns,drive=d{nsid},bus=n,nsid={nsid},"
                    f"logical_block_size={size},physical_block_size={size}"]  # fmt: skip
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=True, text=True
    )
    return done.stdout.splitlines(), from_qemu(done.stderr.splitlines())


def run_on_ours(
    kernel: Path, drives: dict[int, Path], blocks: dict[int, int]
) -> tuple[list[str], list[Command]]:
    console, witness = MemoryConsole(), Witness()
    with Machine(
        board.load("workstation"),
        kernel=kernel.read_bytes(),
        drives=[
            Drive(str(path), controller=0, nsid=nsid, block=blocks[nsid])
            for nsid, path in drives.items()
        ],
        console=console,
        trace=witness,
    ) as machine:
        witness.memory = machine.memory
        assert machine.run(10**9).code == 0
    return console.text.splitlines(), witness.commands


@pytest.mark.parametrize("blocks", [{1: 512}, {1: 4096, 3: 512}], ids=["one", "two"])
def test_commands_and_statuses_are_those_on_qemu(
    tool: Callable[[str], str],
    build: Callable[[str], Path],
    tmp_path: Path,
    blocks: dict[int, int],
) -> None:
    """`blocks` has the block size of each namespace."""
    kernel = build("exercise")
    theirs, ours = (make_drives(tmp_path / name, blocks) for name in ("theirs", "ours"))
    qemu = tool("qemu-system-riscv64")
    their_words, their_commands = run_on_qemu(qemu, kernel, theirs, blocks)
    our_words, our_commands = run_on_ours(kernel, ours, blocks)
    assert our_words == their_words
    for nsid in blocks:
        assert ours[nsid].read_bytes() == theirs[nsid].read_bytes()

    # QEMU 7.2 has no interrupt coalescing to set, so it is asked once; nothing else may differ.
    refused = [c for c in their_commands if is_coalescing(c)]
    assert [c.status for c in refused] == [NOT_CHANGEABLE | DO_NOT_RETRY]
    accepted = [c for c in our_commands if is_coalescing(c)]
    assert {c.status for c in accepted} == {0}
    ours_else = [c for c in our_commands if not is_coalescing(c)]
    assert ours_else == [c for c in their_commands if not is_coalescing(c)]

    transfers = [c for c in our_commands if c.queue == 1 and c.opcode in (READ, WRITE)]
    assert len(transfers) > 50
    for nsid, size in blocks.items():  # as large as both controllers allow
        assert max(c.what[1] for c in transfers if c.nsid == nsid) * size == 512 << 10
    assert any(c.status for c in our_commands), "mistakes are among what is compared"
