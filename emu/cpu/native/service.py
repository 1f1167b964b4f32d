"""What the background process of the native engine answers (`emu.cpu.background`).

It imports what an answer needs with the first request of its kind: the first run ever waits for the
interpreter, but not yet for translations.
"""

from __future__ import annotations

from emu.cpu.early import GOOD, HASTY


def answer(request: bytes) -> bytes:
    """The interpreter's code, or the translation that is asked for; both are kept for later."""
    if request in (HASTY, GOOD):
        from emu.cpu.native.handlers import compiled_interpreter

        return compiled_interpreter(request)
    from emu.cpu.native.translate import compiler

    return compiler.answer(request)
