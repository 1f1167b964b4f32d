"""What the background process of the native engine answers (`emu.cpu.background`).

The first run ever waits for the interpreter, and will soon ask for translations: what those need is
imported when the interpreter has been made.
"""

from __future__ import annotations

import importlib
import threading

from emu.cpu.early import GOOD, HASTY


def answer(request: bytes) -> bytes:
    """The interpreter's code, or the translation that is asked for; both are kept for later."""
    if request in (HASTY, GOOD):
        from emu.cpu.native.handlers import compiled_interpreter

        code = compiled_interpreter(request)
        threading.Thread(target=_prepare).start()
        return code
    from emu.cpu.native.translate import compiler

    return compiler.answer(request)


def _prepare() -> None:
    """Import what translating needs; in a thread, so that the answer need not wait."""
    importlib.import_module("emu.cpu.native.translate.compiler")
