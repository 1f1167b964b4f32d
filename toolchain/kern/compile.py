"""The compiler's driver: from sources to an RV64 object, pass by pass.

Every program is compiled together with the prelude (names seen everywhere) and the runtime: the
modules `kern.*`, which the code generator calls and whose names no program can write. One that
speaks of tensors is compiled with the module `tensors` too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from emu.errors import AiosError
from toolchain.kern import check, parse, typed
from toolchain.kern.diagnostics import Diagnostic, KernErrors, Source

_HERE = Path(__file__).parent
_TENSORS = re.compile(r"\btensor(s\.|\b(?!\.))")
"""The type, or the module of the same name and an s; a module's name `tensor.` does not count."""
_WORD = re.compile(r"\w+")
_RUNTIME = ("text", "containers", "panics", "memory", "arithmetic")


def read_source(path: Path) -> Source:
    """The source in a file; its module is the file's name without `.kern`."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise AiosError(f"{path}: cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        raise AiosError(f"{path}: byte {error.start} is not UTF-8 text.") from None
    return Source(str(path), path.stem, text)


def library(*, tests: str = "") -> list[Source]:
    """The prelude and the runtime, with what reports tests that are "bare" or "hosted"."""
    names = (*_RUNTIME, *{"": (), "bare": ("testing",), "hosted": ("hosted",)}[tests])
    return [_read("prelude")] + [
        Source(
            f"runtime/{name}.kern",
            f"kern.{name}",
            (_HERE / "runtime" / f"{name}.kern").read_text("utf-8"),
        )
        for name in names
    ]


def tensor_library(sources: Sequence[Source]) -> list[Source]:
    """The module `tensors`, with the functions whose names occur, if these sources need it."""
    if not any(_TENSORS.search(source.text) for source in sources):
        return []
    from toolchain.kern.check.tensors import OPERATORS, PREFIXES
    from toolchain.kern.tensorlib import used

    written = {word for source in sources for word in _WORD.findall(source.text)}
    base = _read("tensors")
    text = base.text + used({*written, *OPERATORS.values(), *PREFIXES.values()})
    return [replace(base, text=text)]


def _read(name: str) -> Source:
    return Source(f"{name}.kern", name, (_HERE / f"{name}.kern").read_text("utf-8"))


def analyse(sources: Sequence[Source], *, root: str, tests: str = "") -> typed.Program:
    """The checked program; raises KernErrors with all that is wrong in all files. `tests` as
    `codegen.generate` takes it: the program's tests take its entry's place."""
    everything = [*library(tests=tests), *tensor_library(sources), *sources]
    modules = []
    wrong: list[Diagnostic] = []
    for source in everything:
        try:
            with _bounded(source.file):
                modules.append(parse.parse(source))
        except KernErrors as errors:
            wrong += errors.diagnostics
    if wrong:
        raise KernErrors(wrong, everything)
    with _bounded("the program"):
        return check.check(modules, root, bool(tests), everything)


@contextmanager
def _bounded(what: str) -> Iterator[None]:
    """The passes recurse over the tree; a tree deeper than Python's stack is refused as a whole."""
    try:
        yield
    except RecursionError:
        raise AiosError(
            f"{what}: an expression or a chain of 'else if' has too many parts; split it"
        ) from None


def compile(sources: Sequence[Source], *, root: str, opt: int = 2) -> bytes:
    """The object of a whole program.

    `root` is the module whose statements are the program (`kern_main`); `opt` is 0 (every local in
    memory, for the debugger), 1 or 2.
    """
    return emit(analyse(sources, root=root), opt=opt)


def emit(program: typed.Program, *, opt: int, tests: str = "") -> bytes:
    """The object of a checked program: what harts run, and what lanes run."""
    from toolchain.kern import backend, codegen  # LLVM is slow to load, errors should be fast

    with _bounded("the program"):
        module = codegen.generate(program, optimised=opt > 0, tests=tests)
        lane_module = codegen.generate_lanes(program)
    data = backend.emit_object(module, opt)
    if not lane_module:
        return data
    from toolchain import elf
    from toolchain.kern import lanes

    parts = [elf.read_object(data, "the program"), *lanes.emit(lane_module)]
    sections = [section for part in parts for section in part.sections]
    return elf.write(sections, [symbol for part in parts for symbol in part.symbols])
