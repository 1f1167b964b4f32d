"""`--timeout` and `--max-instructions` end a run, whatever guest and host are doing."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.isa.assemble import assemble_line
from emu.machine import CODE_LIMIT, Machine
from toolchain.cli import main

ROOT = Path(__file__).parents[2]
_LIMIT_S = 0.4
_GUESTS = {
    "computes": "j .",
    "traps at each step": "csrw mtvec, x0 ; .zero",
    "traps and returns": "auipc x5, 0 ; addi x5, x5, 16 ; csrw mtvec, x5 ; ecall ; mret",
    "reads a device": "lui x5, 0x10000 ; lbu x6, 5(x5) ; j .-4",
    "sleeps for input": "lui x5, 0x10000 ; li x6, 1 ; sb x6, 1(x5) ; wfi ; j .-4",
    "asks for input": "lui x5, 0x10000 ; lbu x6, 5(x5) ; andi x6, x6, 1 ; beqz x6, .-8 ; j .",
    "writes": "lui x5, 0x10000 ; li x6, 74 ; sb x6, 0(x5) ; j .-4",
    "turns pages": "sfence.vma ; fence.i ; j .-8",
}


def _program(text: str) -> bytes:
    code = b""
    for line in text.split(" ; "):
        code += bytes(4) if line == ".zero" else assemble_line(line, len(code))
    return code


def _start(path: Path, *options: str) -> subprocess.Popen[bytes]:
    """`aios run` with pipes that are never closed, filled nor emptied."""
    code = "import sys; from toolchain.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", code, "run", "--board", "edge", "--bios", str(path), *options]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe)


@pytest.mark.parametrize("name", _GUESTS)
def test_a_timeout_ends_the_run(tmp_path: Path, name: str) -> None:
    (tmp_path / "guest").write_bytes(_program(_GUESTS[name]))
    with _start(tmp_path / "guest", "--timeout", str(_LIMIT_S)) as process:
        try:
            code = process.wait(timeout=60)
        finally:
            process.kill()
        assert process.stderr is not None
        error = process.stderr.read().decode()
    assert error == f"aios: The run was stopped after {_LIMIT_S} s, as --timeout asked.\n"
    assert code == CODE_LIMIT


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize(
    "name", ["computes", "traps at each step", "traps and returns", "reads a device", "turns pages"]
)
def test_a_number_of_instructions_ends_the_run(name: str, engine: str) -> None:
    """Traps count as well."""
    machine = Machine(
        board.load("edge"), bios=_program(_GUESTS[name]), console=MemoryConsole(), engine=engine
    )
    with machine:
        status = machine.run(max_instructions=30_000)
        assert status.code == CODE_LIMIT
        assert machine.hart.instret <= 30_000


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "1e10", "soon"])
def test_what_is_no_time_is_refused(capsys: pytest.CaptureFixture[str], text: str) -> None:
    with pytest.raises(SystemExit):
        main(["run", f"--timeout={text}"])
    assert f"argument --timeout: {text} is not" in capsys.readouterr().err.replace("'", "")


def test_compiled_code_that_does_not_come_back_is_left(tmp_path: Path) -> None:
    """The last resort: a thread ends the process."""
    script = """
import ctypes, signal
from emu import board
from emu.console import MemoryConsole
from emu.machine import Machine
from toolchain import time_limit
time_limit._GRACE_S = 0.1
with time_limit.TimeLimit(0.1) as limit:
    limit.start(Machine(board.load("edge"), bios=b"", console=MemoryConsole()))
    signal.signal(signal.SIGALRM, signal.SIG_IGN)
    ctypes.CDLL(None).usleep(30_000_000)
"""
    start = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False, timeout=60)
    assert done.returncode == CODE_LIMIT
    assert time.monotonic() - start < 20
