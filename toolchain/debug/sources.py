"""Source text: finding the files that a line table names, and their lines."""

from __future__ import annotations

from pathlib import Path

_TOOLCHAIN = Path(__file__).resolve().parents[1]
_CHECKOUT = _TOOLCHAIN.parent
_FOLDERS = (_TOOLCHAIN / "kern", _CHECKOUT, _CHECKOUT / "kernel_src", _CHECKOUT / "asm")
"""Where the runtime's and the kernel's sources are, when the path in the image is not valid."""


def is_runtime(file: str) -> bool:
    """Whether a file is of Kern's runtime, whose functions the compiler calls unasked."""
    return Path(file).parts[:1] == ("runtime",)


class Sources:
    """The lines of files; a file that cannot be found has none."""

    def __init__(self, folders: tuple[Path, ...] = ()) -> None:
        self._folders = (*folders, *_FOLDERS)
        self._files: dict[str, list[str]] = {}

    def lines(self, file: str) -> list[str]:
        """All lines of `file`."""
        if file not in self._files:
            self._files[file] = self._read(file)
        return self._files[file]

    def line(self, file: str, number: int) -> str | None:
        """Line `number`, counted from 1."""
        lines = self.lines(file)
        return lines[number - 1] if 0 < number <= len(lines) else None

    def _read(self, file: str) -> list[str]:
        candidates = [Path(file)]
        for folder in self._folders:
            candidates += [folder / file, folder / Path(file).name]
        for path in candidates:
            try:
                return path.read_text("utf-8", "replace").splitlines()
            except OSError:
                continue
        return []
