"""Make the images for hosts without the cross compiler: `python -m bench.cpu.keep_images`.

To be run whenever a program has changed; a test compares the archive's comment with the sources.
"""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path

from bench.cpu import programs


def keep_images(archive: Path = programs.KEPT) -> None:
    """Build all images into `archive`; its bytes are the same whenever the images are."""
    with tempfile.TemporaryDirectory() as name, zipfile.ZipFile(archive, "w") as kept:
        kept.comment = programs.digest().encode()
        for program in programs.PROGRAMS.values():
            entry = zipfile.ZipInfo(f"{program.name}.elf")
            image = programs.build_image(program, Path(name))
            kept.writestr(entry, image, zipfile.ZIP_DEFLATED, 9)


if __name__ == "__main__":
    keep_images()
