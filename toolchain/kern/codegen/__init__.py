"""Code generation: a typed tree becomes LLVM IR with debug information, as text.

Read `layout` (how types are represented), `ir` (how instructions are written), `function` (what
every emitter works with), then the emitters by subject: `objects`, `arithmetic`, `control`,
`containers`, `text`, `intrinsics`. Importing them registers them. `lanes` writes what a GPU runs.
"""

from __future__ import annotations

from toolchain.kern import typed
from toolchain.kern.codegen import (  # noqa: F401  (registers the emitters)
    arithmetic,
    containers,
    control,
    intrinsics,
    lanes,
    objects,
    text,
)
from toolchain.kern.codegen.module import ModuleEmitter
from toolchain.kern.codegen.registry import check_complete

check_complete()


def generate(program: typed.Program, *, optimised: bool = True, tests: str = "") -> str:
    """The LLVM module of a program. With tests in place of its entry when `tests` is "bare" (there
    is nothing but them) or "hosted" (the program's exported functions are there too)."""
    return ModuleEmitter(program, optimised=optimised, tests=tests).emit()


def generate_lanes(program: typed.Program, *, optimised: bool = True) -> str:
    """The LLVM module of a program's gpu functions; empty when it has none."""
    if not program.lanes:
        return ""
    return lanes.LaneModule(program, optimised=optimised).emit()
