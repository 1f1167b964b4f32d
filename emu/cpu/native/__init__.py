"""The native engine: an interpreter emitted as machine code from the instruction table.

docs/cpu.md explains the technique with a picture. Then read, in this order:

    layout, records           what emitted code shares with Python: records, handlers' numbers
    handler                   how one instruction is put together
    readings, floating        what each operation of the graph means in LLVM
    control, tensor           CSRs, traps, fences and interrupts; calls of the tensor unit
    walk, refill, fetch       what is missing in a buffer, as emitted code finds it,
    fault, alarm              and what it does where there is no memory
    decoder, interpreter      the whole module
    handlers, service         its machine code: kept, loaded, made in the background
    codepages, engine         what Python does when emitted code returns
    translate/                hot code as optimised code of its own
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emu.cpu.native.engine import NativeEngine

__all__ = ["NativeEngine"]


def __getattr__(name: str) -> Any:
    """The engine, on first use: who compiles code for it needs no hart."""
    if name != "NativeEngine":
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    from emu.cpu.native.engine import NativeEngine

    return NativeEngine
