"""Spike as an oracle: run an image, and read what it committed from its log."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import dropwhile, islice
from pathlib import Path
from typing import NamedTuple

from tests.cpu.spike.layout import BASE, TOHOST

ISA = "rv64gc_zba_zbb_zbs_zicntr_zicclsm_svadu"
_MOST, _LIMIT = 6000, 500_000
"""Instructions compared, and executed at most: Spike counts up to 5,000 for each trap."""

_COMMIT = re.compile(r"core   0: (\d) 0x([0-9a-f]{16}) \(0x([0-9a-f]+)\)(.*)")
_EFFECT = re.compile(r" (x|f)(\d+) +0x([0-9a-f]+)| mem 0x([0-9a-f]+)(?: 0x([0-9a-f]+))?")


class Store(NamedTuple):
    """Bytes that an instruction wrote to memory: physical address, size, value."""

    address: int
    size: int
    value: int


@dataclass(frozen=True)
class Commit:
    """One instruction that retired: where, in which mode, and what it wrote."""

    mode: int
    pc: int
    word: int
    x: tuple[tuple[int, int], ...]
    f: tuple[tuple[int, int], ...]
    stores: tuple[Store, ...]


def executable() -> str | None:
    """The path of Spike's program: the Python package's own, or one that is installed."""
    package = importlib.util.find_spec("riscv")
    if package is not None and package.origin is not None:
        inside = Path(package.origin).parent / "data" / "bin" / "spike"
        if inside.exists():
            return str(inside)
    return shutil.which("spike")


def _elf(image: bytes, start: int, tohost: int) -> bytes:
    """One segment, and the symbols by which a program ends the simulation and leaves results."""
    names = b"\0.strtab\0.symtab\0tohost\0fromhost\0begin_signature\0end_signature\0"
    places = {"tohost": tohost, "fromhost": tohost + 8}
    places |= {"begin_signature": BASE, "end_signature": BASE + len(image)}
    symbols = b"".join(
        struct.pack("<IBBHQQ", names.index(name.encode()), 0x10, 0, 0xFFF1, at, 8)
        for name, at in places.items()
    )
    names_at = 120 + len(image)
    symbols_at = names_at + len(names)
    sections_at = symbols_at + 24 + len(symbols)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        *(b"\x7fELF\x02\x01\x01", 2, 243, 1, start, 64, sections_at, 5, 64, 56, 1, 64, 3, 1),
    )
    segment = struct.pack("<IIQQQQQQ", 1, 7, 120, BASE, BASE, len(image), len(image), 8)
    sections = bytes(64)
    strings, table = names.index(b".strtab"), names.index(b".symtab")  # Spike goes by their names
    sections += struct.pack("<IIQQQQIIQQ", strings, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
    sections += struct.pack(
        "<IIQQQQIIQQ", table, 2, 0, 0, symbols_at, 24 + len(symbols), 1, 1, 8, 24
    )
    return header + segment + image + names + bytes(24) + symbols + sections


def run(spike: str, image: bytes, start: int, first: int, folder: Path) -> list[Commit]:
    """The instructions that Spike commits with `image` in RAM, starting at `start`: from the one
    at `first` on, until the program ends the simulation, but not too many."""
    program, log = folder / "program.elf", folder / "log"
    program.write_bytes(_elf(image, start, TOHOST))
    options = [f"--instructions={_LIMIT}", "--log-commits", f"--log={log}"]
    _spike(spike, len(image), *options, str(program))
    commits = dropwhile(lambda commit: commit.pc != first, _commits(log))
    return list(islice(commits, _MOST))


def memory_after(spike: str, image: bytes, start: int, tohost: int, folder: Path) -> bytes:
    """RAM as a program leaves it that starts at `start` with `image` there, and in the end stores 1
    to `tohost`."""
    program, results = folder / "program.elf", folder / "results"
    program.write_bytes(_elf(image, start, tohost))
    options = [f"+signature={results}", "+signature-granularity=8"]
    _spike(spike, len(image), *options, str(program))
    return b"".join(bytes.fromhex(line)[::-1] for line in results.read_text().split())


def _spike(spike: str, size: int, *arguments: str) -> None:
    done = subprocess.run(
        [spike, f"--isa={ISA}", "--priv=msu", f"-m{BASE:#x}:{size:#x}", *arguments],
        stdin=subprocess.DEVNULL, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"Spike ended with {done.returncode}: {done.stderr.decode()}")


def _commits(log: Path) -> Iterator[Commit]:
    with log.open() as lines:
        for line in lines:
            found = _COMMIT.match(line)
            if found is None:
                continue
            mode, pc, word, rest = found.groups()
            x, f, stores = [], [], []
            for kind, number, value, address, stored in _EFFECT.findall(rest):
                if kind:
                    (x if kind == "x" else f).append((int(number), int(value, 16)))
                elif stored:
                    stores.append(Store(int(address, 16), len(stored) // 2, int(stored, 16)))
            yield Commit(int(mode), int(pc, 16), int(word, 16), tuple(x), tuple(f), tuple(stores))
            if stores and stores[0].address == TOHOST:
                return
