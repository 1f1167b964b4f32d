"""How fast guest programs run: `aios bench cpu`."""

from bench.cpu.loops import measure

__all__ = ["measure"]
