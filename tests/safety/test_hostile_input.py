"""`aios run` with hostile files, options and streams: one sentence and a code that is not zero."""

from __future__ import annotations

import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from emu.memory import Memory

ROOT = Path(__file__).parents[2]
RAM = 0x8000_0000
_SPIN = b"\x6f\0\0\0"
_HELLO = bytes.fromhex("b7020010 1303a004 23806200 6ff0dfff")  # lui t0; li t1, 74; sb; j .-4


def aios(*arguments: object, shell: str = "") -> subprocess.CompletedProcess[bytes]:
    """`aios` with the redirections of `shell`."""
    code = "import sys; from toolchain.cli import main; sys.exit(main())"
    return subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {shell}', sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip


def elf(path: Path, memsz: int, paddr: int = RAM, code: bytes = _SPIN) -> Path:
    """A kernel of one segment."""
    header = (b"\x7fELF\2\1\1".ljust(16, b"\0"), 2, 243, 1, RAM, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = (1, 7, 120, paddr, paddr, len(code), memsz, 0)
    path.write_bytes(struct.pack("<16sHHIQQQIHHHHHH", *header) + struct.pack("<2I6Q", *segment))
    with path.open("ab") as file:
        file.write(code)
    return path


def refusal(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr of a command that failed."""
    error = done.stderr.decode()
    assert done.returncode not in (0, 1), error
    assert error.count("\n") == 1, error
    assert error.startswith("aios: error: ")
    return error


def test_a_full_disk_ends_a_traced_run_with_a_sentence(tmp_path: Path) -> None:
    kernel = elf(tmp_path / "k", 4096)
    options = ("--board", "edge", "--max-instructions", 100, "--trace", "/dev/full")
    done = aios("run", "--kernel", kernel, *options)
    assert done.returncode not in (0, 1)
    stopped, error = done.stderr.decode().splitlines()
    assert "stopped after 100 instructions" in stopped
    assert "The trace /dev/full cannot be written: No space left on device." in error


@pytest.mark.parametrize("shell", [">/dev/full", ">&-", "<&- >&-"])
def test_output_that_cannot_be_written_is_a_sentence(tmp_path: Path, shell: str) -> None:
    (tmp_path / "hello").write_bytes(_HELLO)
    drive = tmp_path / "drive"
    drive.write_bytes(bytes(4096))
    options = ("--board", "edge", "--max-instructions", 100, "--drive", drive)
    done = aios("run", "--bios", tmp_path / "hello", *options, shell=shell)
    assert "The guest's output cannot be written: " in refusal(done)
    assert drive.read_bytes() == bytes(4096)


@pytest.mark.parametrize(
    ("pattern", "replacement", "sentence"),
    [
        (r"ps_per_insn *= *\d+", "ps_per_insn = 0", "must be a number of at least 1"),
        (r"read_iops *= *[\d_]+", "read_iops = 0", "must be a number of at least 1"),
        (r"(?s)(\[tpu\].*?)count *= *\d+", r"\1count = 400", "finds no free PCIe slot"),
        (r'size *= *"[^"]*"', 'size = "99999999TiB"', "cannot reserve address space"),
    ],
)
def test_boards_that_cannot_be_are_a_sentence(
    tmp_path: Path, pattern: str, replacement: str, sentence: str
) -> None:
    text, changes = re.subn(
        pattern, replacement, (ROOT / "emu/boards/edge.toml").read_text(), count=1
    )
    assert changes
    (tmp_path / "b.toml").write_text(text)
    kernel = elf(tmp_path / "k", 4096)
    assert sentence in refusal(aios("run", "--kernel", kernel, "--board", tmp_path / "b.toml"))


def test_a_kernel_of_gigabytes_of_zeros_costs_no_memory(tmp_path: Path) -> None:
    kernel = elf(tmp_path / "k", 12 << 30)
    options = ("--board", "workstation", "--max-instructions", 100)
    done = aios("run", "--kernel", kernel, *options)
    assert done.returncode == 124


@pytest.mark.parametrize(("start", "size"), [(5, 7), (4095, 2), (1, 3 * 4096), (4096, 8192)])
def test_zeroing_memory_reaches_just_what_was_named(start: int, size: int) -> None:
    memory = Memory(RAM, 1 << 16)
    memory.view(RAM, 1 << 16)[:] = b"x" * (1 << 16)
    memory.zero(RAM + start, size)
    expected = b"x" * start + bytes(size) + b"x" * ((1 << 16) - start - size)
    assert bytes(memory.view(RAM, 1 << 16)) == expected


def test_arguments_of_no_encoding_reach_the_guest(tmp_path: Path) -> None:
    kernel = elf(tmp_path / "k", 4096)
    options = ("--board", "edge", "--max-instructions", 100, "--append", "\udcff\udcfe")
    assert aios("run", "--kernel", kernel, *options).returncode == 124
