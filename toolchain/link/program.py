"""`link`, the linker's one public function: it runs the passes in order."""

from __future__ import annotations

from collections.abc import Sequence

from toolchain import elf
from toolchain.link import align, layout, relocate, stubs, symbols
from toolchain.link.errors import LinkErrors

RAM_BASE = 0x8000_0000


def link(
    objects: Sequence[bytes],
    *,
    base: int = RAM_BASE,
    entry: str = "_start",
    names: Sequence[str] = (),
) -> bytes:
    """Link relocatable files into an RV64 executable loaded at `base` that starts at `entry`.

    The section that holds `entry` comes first, so an image whose loader only jumps to `base` works
    too. Debug sections are kept and relocated, `.eh_frame` and notes are dropped. The linker itself
    defines `__text_start`, `__text_end`, likewise for rodata, data and bss, and `_end`.
    `names` are what diagnostics call the objects. Raises `LinkErrors`.
    """
    called = [*names, *(f"object {i + 1}" for i in range(len(names), len(objects)))]
    files = [elf.read_object(data, name) for data, name in zip(objects, called, strict=True)]
    stub_file = stubs.make(files)
    if stub_file is not None:
        files.append(stub_file)
    for section in (s for f in files for s in f.sections):
        align.apply(section, [x for f in files for x in f.symbols if x.where is section])
    bounds = layout.bound_symbols()
    table = symbols.resolve(files, bounds)
    start = table.definition(entry)
    if start is None:
        raise LinkErrors([f"The entry symbol '{entry}' is not defined in any object."])
    first = start.where if isinstance(start.where, elf.Section) else None
    image = layout.place(files, base=base, first=first, bounds=bounds)
    relocate.apply_all(files, table)
    image.gather()
    return elf.write(
        image.sections,
        symbols.kept(files, table, image),
        entry=start.address,
        segments=image.segments,
    )
