"""The programs of `aios bench cpu`: what they are, and how they are built for each machine.

A program is one C file of `bench/programs/` (`program.h` there says what it must be). The same
file, with the same options, becomes a process of the host (`build_native`) and an image for a bare
RISC-V machine of the `virt` kind (`image`), which QEMU and AIos run unchanged. How much work an
image does is written into it (`with_rounds`), so one build serves quick and full runs. Hosts
without the cross compiler take the images of `bench/programs/images.zip`, which
`python -m bench.cpu.keep_images` makes.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import struct
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from emu.errors import AiosError

SOURCES = Path(__file__).parents[1] / "programs"
KEPT = SOURCES / "images.zip"
NATIVE_GCC, GUEST_GCC = "gcc", "riscv64-unknown-elf-gcc"

# Without -fno-math-errno a square root asks for its sign first, on every machine.
_OPTIONS = ("-O2", "-fno-math-errno")
_GUEST_OPTIONS = (
    *("-march=rv64gc", "-mabi=lp64d", "-mcmodel=medany", "-ffreestanding", "-nostdlib"),
    *("-nostartfiles", "-T", str(SOURCES / "guest.ld")),
)


@dataclass(frozen=True)
class Program:
    """One program. `rounds` is the work of a full run, which takes QEMU about three seconds: more
    than `report.LONG_SECONDS`, so that all count when AIos starts cold."""

    name: str
    what: str
    rounds: int
    hosted: bool = True
    """Whether it can be a process; one about interrupts and page tables cannot."""

    @property
    def source(self) -> Path:
        """Its C file."""
        return SOURCES / f"{self.name}.c"

    def scaled(self, scale: float) -> int:
        """The rounds of a run with `scale` times the work; at least one."""
        return max(1, round(self.rounds * scale))


PROGRAMS = {
    program.name: program
    for program in (
        Program("mix", "list, matrix, state machine, CRC (as CoreMark)", 900),
        Program("strings", "strings and records (as Dhrystone)", 1300),
        Program("sieve", "sieve of Eratosthenes, 1 MiB", 400),
        Program("imatmul", "256x256 matrices, integers", 85),
        Program("dmatmul", "256x256 matrices, double precision", 9),
        Program("nbody", "five bodies, double precision", 3500),
        Program("sha256", "SHA-256", 1600),
        Program("crc32", "CRC-32 by table", 9500),
        Program("quicksort", "quicksort of random numbers", 400),
        Program("chase", "pointers through 2 MiB", 380),
        Program("calls", "recursive calls", 3200),
        Program("bytecode", "an interpreter of byte code", 520),
        Program("interrupts", "interrupts, Sv39 with 4 KiB pages", 1600, hosted=False),
    )
}


def choose(names: str) -> list[Program]:
    """The programs that a list with commas names; all for an empty one."""
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    for name in wanted:
        if name not in PROGRAMS:
            known = ", ".join(PROGRAMS)
            raise AiosError(f"There is no program '{name}' to measure; the programs are {known}.")
    return [PROGRAMS[name] for name in wanted or PROGRAMS]


def build_native(program: Program, folder: Path) -> Path | None:
    """The program as a process, built in `folder`; None where there is no gcc, or no such thing."""
    if not program.hosted or shutil.which(NATIVE_GCC) is None:
        return None
    path = folder / program.name
    _compile([NATIVE_GCC, *_OPTIONS, "-o", str(path), str(SOURCES / "host.c"), str(program.source)])
    return path


def image(program: Program, folder: Path) -> bytes:
    """The program as an ELF image: built in `folder`, or the one that is kept."""
    if shutil.which(GUEST_GCC):
        return build_image(program, folder)
    with zipfile.ZipFile(KEPT) as kept:
        return kept.read(f"{program.name}.elf")


def build_image(program: Program, folder: Path) -> bytes:
    """The program as an ELF image, built in `folder` by the cross compiler."""
    path = folder / f"{program.name}.elf"
    sources = (str(SOURCES / "guest.c"), str(program.source))
    _compile([GUEST_GCC, *_OPTIONS, *_GUEST_OPTIONS, "-o", str(path), *sources])
    return path.read_bytes()


def digest() -> str:
    """A hash of everything that an image is made from, which the archive of images carries too."""
    made_from = hashlib.sha256(" ".join((*_OPTIONS, *_GUEST_OPTIONS[:-1])).encode())
    for path in sorted(SOURCES.glob("*.[chl]*")):
        made_from.update(f"{path.name} {path.stat().st_size}\0".encode() + path.read_bytes())
    return made_from.hexdigest()


def _compile(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise AiosError(f"'{' '.join(command)}' failed: {done.stderr.strip()}")


def with_rounds(image: bytes, rounds: int) -> bytes:
    """The image, told to do that many rounds: the value of the symbol `rounds` in the file."""
    elf = ELFFile(io.BytesIO(image))
    symbols = elf.get_section_by_name(".symtab")
    found = (
        symbols.get_symbol_by_name("rounds") if isinstance(symbols, SymbolTableSection) else None
    )
    address = found[0]["st_value"] if found else -1
    for segment in elf.iter_segments("PT_LOAD"):
        offset = address - segment["p_vaddr"]
        if 0 <= offset < segment["p_filesz"]:
            at = segment["p_offset"] + offset
            return image[:at] + struct.pack("<Q", rounds) + image[at + 8 :]
    raise AiosError("The image has no variable `rounds` in its file.")
