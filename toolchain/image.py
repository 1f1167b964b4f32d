"""From kernel sources to the image that boots, made once for each state of the sources.

`default_image` is AIos itself: all of `kernel_src/` and `asm/`, root module `main`. The image is
kept in the cache directory under a hash of everything it is made from, the toolchain's own files
included, and one of itself, so the warm path reads and hashes files and imports no compiler.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from emu.cache import cache_directory
from emu.errors import AiosError

_ROOT = Path(__file__).resolve().parents[1]
_MAKERS = (
    "toolchain/kern", "toolchain/asm", "toolchain/link", "toolchain/elf.py", "emu/isa",
    "emu/devices/gpu/dispatch.py",
)  # fmt: skip
_MAKER_SUFFIXES = (".py", ".lark", ".kern")


def kernel_files() -> list[Path]:
    """The kernel's sources: Kern modules, then assembly."""
    sources = _ROOT / "kernel_src"
    modules = [*sorted(sources.glob("*.kern")), *sorted((sources / "gpu").glob("*.kern"))]
    assembly = sorted((_ROOT / "asm").glob("*.s"))
    if not modules or not assembly:
        raise AiosError(f"the kernel's sources are not in '{_ROOT}'; use a checkout of AIos")
    return [*modules, *assembly]


def build(files: Sequence[Path], *, root: str, opt: int = 2) -> bytes:
    """Compile `.kern` files as one program, assemble `.s` files, take `.o` files; link them all."""
    from toolchain.asm import assemble
    from toolchain.kern.compile import compile as compile_kern
    from toolchain.kern.compile import read_source
    from toolchain.link import link

    objects, names, modules = [], [], []
    for path in files:
        name = _shown(path)
        try:
            if path.suffix == ".kern":
                modules.append(replace(read_source(path), file=name))
                continue
            if path.suffix == ".s":
                objects.append(assemble(path.read_text("utf-8"), name))
            elif path.suffix == ".o":
                objects.append(path.read_bytes())
            else:
                raise AiosError(f"'{path}' is neither a .kern, a .s nor a .o file")
        except OSError as error:
            raise AiosError(f"'{path}' cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise AiosError(f"'{path}' is no text in UTF-8") from None
        names.append(name)
    if modules:
        objects.append(compile_kern(modules, root=root, opt=opt))
        names.append("the Kern program")
    return link(objects, names=names)


def _shown(path: Path) -> str:
    """A source's name in messages and debug information: in a checkout, relative to its root, so
    that an image is the same wherever the checkout is."""
    return str(path.relative_to(_ROOT) if path.is_relative_to(_ROOT) else path)


def default_image(opt: int = 2) -> Path:
    """The path of AIos's image, built now if the sources have changed since it was last."""
    files = kernel_files()
    stem = f"aios-O{opt}-{_digest([*files, *_maker_files()], f'opt {opt}')}-"
    folders = (cache_directory(), _ROOT / "build")
    for folder in folders:
        for path in folder.glob(f"{stem}*.elf"):
            if _is_whole(path, stem):
                return path
    image = build(files, root="main", opt=opt)
    return _store(image, f"{stem}{_content_hash(image)}.elf", folders)


def _is_whole(path: Path, stem: str) -> bool:
    """Whether a kept image is what was stored: files can be cut off or damaged."""
    try:
        return path.name == f"{stem}{_content_hash(path.read_bytes())}.elf"
    except OSError:
        return False


def _content_hash(image: bytes) -> str:
    return hashlib.sha256(image).hexdigest()[:24]


def _maker_files() -> Iterable[Path]:
    for maker in _MAKERS:
        place = _ROOT / maker
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.suffix in _MAKER_SUFFIXES:
                yield path


def _digest(files: Iterable[Path], salt: str) -> str:
    digest = hashlib.sha256(salt.encode())
    for path in files:
        data = path.read_bytes()
        digest.update(f"{path.relative_to(_ROOT)} {len(data)}\0".encode())
        digest.update(data)
    return digest.hexdigest()[:24]


def _store(image: bytes, name: str, folders: Iterable[Path]) -> Path:
    """Keep the image in the first of the folders that can be written: the cache, or beside the
    checkout's other builds."""
    for folder in folders:
        partial = folder / f"{name}.{os.getpid()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(image)
            return partial.replace(folder / name)
        except OSError:
            continue
    raise AiosError("the kernel's image can be stored neither in the cache directory nor in build/")
