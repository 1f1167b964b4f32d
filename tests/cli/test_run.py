"""`aios run` as a user meets it: exit codes, pipes, sentences."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from emu.errors import AiosError
from emu.platform import Drive, VirtioDrive
from toolchain import cli
from toolchain.cli.run import add_machine_arguments, make_machine, parse_drive

ROOT = Path(__file__).parents[2]
RAM = 0x8000_0000
PROGRAM = """
static volatile unsigned char *const uart = (void *)0x10000000;
int main(void) {
    for (int c;;) {
        while (!(uart[5] & 1));
        c = uart[0];
        if (c == 4) *(volatile unsigned *)0x100000 = 0x1043333;
        uart[0] = c + 1;
    }
}
asm(".section .text.init\\n .globl _start\\n _start: lui sp, 0x80010\\n call main\\n");
"""


@pytest.fixture
def program(tool, tmp_path) -> Path:
    """A guest that answers each byte with the next one and fails with 260 at the end of input."""
    (tmp_path / "p.c").write_text(PROGRAM)
    flags = "-march=rv64gc -mabi=lp64d -mcmodel=medany -nostdlib -O2 -Wl,-n -Wl,-Ttext=0x80000000"
    gcc = tool("riscv64-unknown-elf-gcc")
    subprocess.run(
        [gcc, *flags.split(), "p.c", "-o", "p.elf"], cwd=tmp_path, check=True, capture_output=True
    )
    return tmp_path / "p.elf"


def aios(*arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-c", "import sys; from toolchain.cli import main; sys.exit(main())"]
    return subprocess.run(
        [*command, *map(str, arguments)],
        input=data,
        capture_output=True,
        cwd=ROOT,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )


def test_console_is_a_pipe_and_the_exit_code_the_guests(program) -> None:
    done = aios("run", "--kernel", program, "--engine", "reference", data=b"HAL")
    assert done.stdout == b"IBM"
    assert done.stderr == b""
    assert done.returncode == 4  # 260 does not fit in a byte


def test_traces_of_two_runs_are_identical(program, tmp_path) -> None:
    for name in ("a", "b"):
        aios("run", "--kernel", program, "--trace", tmp_path / name, data=b"HAL")
    first = (tmp_path / "a").read_bytes()
    assert first
    assert first == (tmp_path / "b").read_bytes()


def test_the_instruction_limit_says_so(program) -> None:
    done = aios("run", "--kernel", program, "--max-instructions", "100")
    assert done.returncode == 124
    assert done.stderr == b"aios: The guest was stopped after 100 instructions.\n"


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--kernel", "/nonexistent"], "The kernel /nonexistent cannot be read: No such file"),
        (["--kernel", __file__], "test_run.py is not an ELF file"),
        (["--kernel", __file__, "--board", "toaster"], "There is no board 'toaster'"),
        (["--kernel", sys.executable], "is for another machine"),
        (["--bios", __file__, "--drive", "none.img"], "The drive file none.img cannot be opened"),
        (["--bios", __file__, "--trace", "/nonexistent/t"], "The trace /nonexistent/t cannot be"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(capsys, options, sentence) -> None:
    assert cli.main(["run", *options]) == cli.EXIT_BAD_INPUT
    error = capsys.readouterr().err
    assert error.startswith("aios: error: ")
    assert sentence in error
    assert error.count("\n") == 1


def test_drives_are_paths_or_options() -> None:
    assert parse_drive("a.img") == Drive("a.img")
    assert parse_drive("file=a,,b.img,if=nvme,readonly=on") == Drive("a,b.img", readonly=True)
    assert parse_drive("file=a,block=4096,controller=1,nsid=3,faults=p.toml") == Drive(
        "a", block=4096, controller=1, nsid=3, faults="p.toml"
    )
    assert parse_drive("file=a,if=virtio,legacy=on") == VirtioDrive("a", legacy=True)
    for text, match in (
        ("file=a,legacy=on", "says legacy=on, which is for if=virtio only"),
        ("file=a,if=virtio,nsid=1", "asks for what only NVMe has"),
        ("file=a,nsid=one", "says nsid=one, but it must be a number"),
        ("file=a,if=ide", "says if=ide; besides file it takes if=nvme, if=virtio"),
        ("if=nvme", "names no file; write file=PATH"),
        ("file=a,nonsense", "'nonsense' is no key=value"),
        ("file=a,cache=none", "says cache=none"),
    ):
        with pytest.raises(AiosError, match=match):
            parse_drive(text)


def test_every_subcommand_has_a_name_and_help() -> None:
    for name in cli.names():
        command = cli._command(name)
        assert (command.NAME, bool(command.HELP)) == (name, True)


def test_an_extract_to_nowhere_is_one_sentence(capsys, tmp_path) -> None:
    (tmp_path / "x.npy").write_bytes(b"1234")
    image, nowhere = str(tmp_path / "disk.img"), str(tmp_path / "absent" / "x.npy")
    assert cli.main(["disk", "create", image, str(tmp_path / "x.npy")]) == 0
    assert cli.main(["disk", "extract", image, "x.npy", nowhere]) == 2
    assert capsys.readouterr().err == (
        f"aios: error: the file '{nowhere}' cannot be written: No such file or directory\n"
    )


def test_a_power_cut_has_its_exit_code_and_a_sentence(program) -> None:
    done = aios("run", "--kernel", program, "--power-cut-at", "20ns")
    assert done.returncode == 123
    assert b"aios: The power was cut at 2e-05 ms" in done.stderr
    done = aios("run", "--kernel", program, "--power-cut-at", "soon")
    assert done.returncode == 2
    assert b"'soon' is not a time; write a number and ns, us, ms or s, as 3ms" in done.stderr


def test_signature_is_written_as_spike_does(tool, tmp_path) -> None:
    """Lines of the granularity, most significant digit first."""
    (tmp_path / "p.S").write_text("""
        .globl _start, tohost, begin_signature, end_signature
    _start: la t0, tohost; li t1, 1
    1:  sd t1, 0(t0); j 1b
        .balign 16
    begin_signature: .byte 1, 2, 3, 4, 5, 6, 7, 8
    end_signature:
        .balign 16
    tohost: .dword 0
    """)
    gcc = tool("riscv64-unknown-elf-gcc")
    flags = "-march=rv64gc -mabi=lp64d -nostdlib -Wl,-n -Wl,-Ttext=0x80000000 -mcmodel=medany"
    subprocess.run([gcc, *flags.split(), "p.S", "-o", "p.elf"], cwd=tmp_path, check=True)
    out = tmp_path / "signature"
    done = aios("run", "--kernel", tmp_path / "p.elf", "--engine", "reference",
                "--signature", out, "--signature-granularity", 4)  # fmt: skip
    assert (done.returncode, out.read_text()) == (0, "04030201\n08070605\n")


def options(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_machine_arguments(parser)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 512 << 20), ("2G", 2 << 30), ("64m", 64 << 20), ("128", 128 << 20)],
)
def test_memory_is_written_as_boards_or_as_qemu_have_it(text, size) -> None:
    assert options("--memory", text).memory == options("-m", text).memory == size


def test_memory_that_is_no_size_is_a_sentence(capsys) -> None:
    with pytest.raises(SystemExit):
        options("-m", "much")
    assert "'much' is no size; write a number and KiB, MiB or GiB" in capsys.readouterr().err


def test_bios_none_is_no_firmware() -> None:
    assert options("--bios", "none").bios is None
    assert options("--bios", "fw.bin").bios == "fw.bin"


def test_initrd_and_memory_reach_the_machine(tmp_path) -> None:
    kernel, files = tmp_path / "raw", tmp_path / "initrd"
    kernel.write_bytes(bytes(64))
    files.write_bytes(b"files")
    arguments = ("--bios", str(kernel), "--initrd", str(files), "-m", "32M", "--board", "edge")
    with make_machine(options(*arguments, "--engine", "reference")) as machine:
        assert machine.memory.size == 32 << 20
        assert bytes(machine.memory.view(RAM + (16 << 20), 5)) == b"files"
