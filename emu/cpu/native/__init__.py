"""The native engine: an interpreter emitted as machine code from the instruction table.

Read `layout` (what emitted code shares with Python), `handler` (how one instruction is put
together), `readings` and `floating` (what each operation of the graph means in LLVM), `tensor`
(calls of the tensor unit), `refill` (pages missing in a buffer), `decoder` and `interpreter` (the
whole module), then `engine` (what Python does when emitted code returns). docs/cpu.md explains the
technique with a picture.
"""

from emu.cpu.native.engine import NativeEngine

__all__ = ["NativeEngine"]
