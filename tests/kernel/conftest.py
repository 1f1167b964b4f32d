"""The kernel, built once, and the two machines that it boots on: ours and QEMU's.

A machine is a function: `boot(typed, drive=..., append=...)` types into the console and gives what
came back and the exit code.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from toolchain import disk, image

ROOT = Path(__file__).parents[2]
MAIN = "import sys; from toolchain.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Session:
    """What a boot said, without carriage returns, and how it ended."""

    said: str
    code: int

    def answer(self, command: str) -> str:
        """What was printed after a command was typed, up to the next prompt."""
        return self.said.split(f"AIos> {command}\n", 1)[1].split("AIos> ", 1)[0]


Boot = Callable[..., Session]


@pytest.fixture(scope="session")
def kernel() -> Path:
    """The kernel as an executable."""
    return image.default_image()


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Make an image of the whole kernel in which a module of `programs/` does the work: its `run`
    is called in place of what main.kern ends with."""
    made: dict[str, Path] = {}

    def build_once(name: str) -> Path:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            files = [path for path in image.kernel_files() if path.name != "main.kern"]
            main = (ROOT / "kernel_src" / "main.kern").read_text()
            statements = main.index("\nboot()\n")
            (folder / "main.kern").write_text(f"{main[:statements]}\n{name}.run()\n")
            files += [folder / "main.kern", Path(__file__).parent / "programs" / f"{name}.kern"]
            made[name] = folder / f"{name}.elf"
            made[name].write_bytes(image.build(files, root="main"))
        return made[name]

    return build_once


@pytest.fixture
def drive(tmp_path: Path) -> Path:
    """A drive with the digit classifier, two digits and room for an output."""
    path = tmp_path / "disk.img"
    names = ("digits.onnx", "digit3.npy", "digit7.npy")
    disk.create(path, [(name, ROOT / "models" / name) for name in names], [("out.npy", 4096)])
    return path


def _finish(command: list[str | Path], typed: str) -> Session:
    run = subprocess.run(command, input=typed.encode(), capture_output=True, timeout=60, cwd=ROOT)
    said = run.stdout.decode().replace("\r", "")
    if not said:
        raise AssertionError(run.stderr.decode())
    return Session(said, run.returncode)


@pytest.fixture
def qemu(tool: Callable[[str], str], kernel: Path) -> Boot:
    """QEMU's virt machine: no Xaitensor, one NVMe drive at most."""

    def boot(typed: str, drive: Path | None = None, append: str = "") -> Session:
        command: list[str | Path] = [tool("qemu-system-riscv64"), "-M", "virt", "-m", "1G"]
        command += ["-bios", "none", "-kernel", kernel, "-append", append]
        # not -nographic: its multiplexer may lose a byte of what is piped in at once; and the byte
        # that waits in the UART when the kernel switches the FIFOs on is lost, as in hardware
        command += ["-display", "none", "-monitor", "none", "-serial", "stdio"]
        if drive is not None:
            command += ["-drive", f"file={drive},if=none,format=raw,id=d"]
            command += ["-device", "nvme,drive=d,serial=aios"]
        return _finish(command, "\n" + typed)

    return boot


@pytest.fixture
def aios(kernel: Path) -> Boot:
    """Our machine."""

    def boot(
        typed: str, drive: Path | None = None, append: str = "", board: str = "workstation"
    ) -> Session:
        command: list[str | Path] = [sys.executable, "-c", MAIN, "run", "--board", board]
        command += ["--kernel", kernel, "--append", append]
        if drive is not None:
            command += ["--drive", drive]
        return _finish(command, typed)

    return boot


@pytest.fixture(params=["aios", "qemu"])
def machine(request: pytest.FixtureRequest) -> Boot:
    """Each of the machines."""
    boot: Boot = request.getfixturevalue(request.param)
    return boot
