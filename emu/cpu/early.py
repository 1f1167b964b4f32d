"""The interpreter's code, asked for before anything else of a run is done.

    early.begin()                # the first run ever: where code is kept, nothing happens
    ...                          # import and build the machine
    code = early.take()          # what the background process has made meanwhile

It imports little, so that the other process has all the time there is. `emu.cpu.native.handlers`
says what the two kinds of code are.
"""

from __future__ import annotations

from emu.cpu.background import Background
from emu.cpu.jit import kept, source_key

SERVICE = "emu.cpu.native.service:answer"
"""What the background process runs, which all harts share."""

HASTY, GOOD = b"hasty", b"good"
"""The requests for the interpreter's code; all others are for translations."""

LEVELS: dict[bytes, tuple[int, tuple[str, ...]]] = {
    HASTY: (0, ()),
    GOOD: (2, ("simplify_cfg", "instruction_combine")),
}
"""How well LLVM compiles them: level and passes. Handlers have neither loops nor calls: what its
third level does besides takes as long as making the machine code, and no program is measurably
faster for it."""

SOURCES = (
    *("emu.isa", "emu.cpu.native", "emu.cpu.state", "emu.cpu.jit", __name__),
    *(f"emu.cpu.{name}" for name in ("alarm", "csr", "mmu", "regime", "routine", "traps")),
)
"""What emitted code is made from: the table, the engine, and the routines that become functions of
the interpreter."""

_PATIENCE_S = 60.0
"""How long an interpreter that was asked for is waited for; a slow host takes a few seconds."""

_begun: list[Background[None]] = []
"""What `begin` has asked, once; `take` waits for its answer."""


def key(name: str) -> str:
    """What code of the native engine depends on, for `emu.cpu.jit`."""
    return f"{name} {source_key(*SOURCES)}"


def interpreter_key(kind: bytes) -> str:
    """The same for the interpreter's code, `HASTY` or `GOOD`."""
    return key(f"interpreter-{kind.decode()}")


def kept_interpreter(kind: bytes) -> bytes | None:
    """The interpreter's code of that kind if it is in the cache."""
    opt, passes = LEVELS[kind]
    return kept(interpreter_key(kind), opt=opt, passes=passes)


def begin() -> None:
    """Have the interpreter compiled in haste if there is no code of it."""
    if not _begun and kept_interpreter(GOOD) is None and kept_interpreter(HASTY) is None:
        _begun.append(Background(SERVICE))
        _begun[0].submit(None, HASTY)


def take() -> bytes | None:
    """What `begin` has asked for, as soon as it is there; None when it has not, or in vain."""
    if not _begun:
        return None
    answers = _begun[0].wait(_PATIENCE_S)
    return next((answer for _, answer in answers if isinstance(answer, bytes)), None)
