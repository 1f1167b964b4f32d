"""What processes of AIos find on the disk when they are measured: everything, or nothing of ours.

A `cache` here is a folder with all that AIos and Python keep from one run to the next: compiled
guest code, the engine, the kernel's image (`AIOS_CACHE`), and Python's own bytecode, which Python
would otherwise keep beside its sources, or not at all if the environment says so.

A process of AIos may leave another behind that finishes a translation for the next run
(`emu.cpu.background`): `Family` waits for it too, so that it is in nobody's way.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
_PACKAGES = ("emu", "toolchain", "bench")
_PYTHON = "python"


def environment(cache: Path) -> dict[str, str]:
    """The environment of a process that uses `cache`, which need not exist."""
    found = dict(os.environ)
    found.pop("PYTHONDONTWRITEBYTECODE", None)
    return found | {"AIOS_CACHE": str(cache), "PYTHONPYCACHEPREFIX": str(cache / _PYTHON)}


class Family:
    """A process to be started, with all that it starts: `descriptor` must be open in it (`pass_fds`
    of subprocess), and so stays open in each of them. The context ends when they all have."""

    def __init__(self) -> None:
        self._end, self.descriptor = os.pipe()

    def __enter__(self) -> Family:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: object, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)
        os.read(self._end, 1)  # nobody writes: it is at its end when the last one has closed it
        os.close(self._end)


def new_cache(folder: Path, used: Path) -> Path:
    """A cache in `folder` as it is before the first run of a fresh checkout: what `used` has of the
    bytecode of Python's library and of installed packages, which installing makes."""
    shutil.copytree(used / _PYTHON, folder / _PYTHON)
    ours = folder / _PYTHON / ROOT.relative_to(ROOT.anchor)
    for package in _PACKAGES:
        shutil.rmtree(ours / package, ignore_errors=True)
    return folder


def kept_files(cache: Path) -> set[tuple[str, int]]:
    """What AIos keeps in a cache: names and sizes."""
    return {(path.name, path.stat().st_size) for path in cache.glob("*") if path.is_file()}
