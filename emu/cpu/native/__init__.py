"""The native engine: an interpreter emitted as machine code from the instruction table.

Read `layout` (what emitted code shares with Python), `handler` (how one instruction is put
together), `readings` and `floating` (what each operation of the graph means in LLVM), `tensor`
(calls of the tensor unit), `refill` (pages missing in a buffer), `decoder` and `interpreter` (the
whole module), then `engine` (what Python does when emitted code returns). docs/cpu.md explains the
technique with a picture.
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
