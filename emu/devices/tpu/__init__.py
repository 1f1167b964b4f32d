"""The TPU: the machine of Jouppi et al., ISCA 2017, with a ring of instructions in memory.

Read in this order: `isa.py`, the instructions (`declare.py` says how one is declared, `text.py` is
their assembly); `core.py`, what the machine holds; `execute.py`, what each instruction does, by
`matrix.py` and `activation.py`, which compute; `timing.py`, when; `registers.py` and `device.py`,
how a driver gets at all that. docs/tpu.md is the manual.
"""

from emu.devices.tpu.device import Tpu

__all__ = ["Tpu"]
