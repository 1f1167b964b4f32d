"""The test finisher (SiFive test device): how a guest ends or resets the machine."""

from __future__ import annotations

from collections.abc import Callable

from emu.devices.device import Device, on_write, register
from emu.devices.registers import WO, Register, bits

PASS, FAIL, RESET = 0x5555, 0x3333, 0x7777


class Command(Register, offset=0x0, size=4):
    """What is to happen; other values do nothing."""

    action = bits[15:0](WO, doc="0x5555 end with success, 0x3333 end with `code`, 0x7777 reset")
    code = bits[31:16](WO, doc="exit code for 0x3333")


class Finisher(Device, prefix="FINISHER"):
    """Calls `finish(code)` or `restart()`."""

    SIZE = 0x1000

    command = register(Command)

    def __init__(self, finish: Callable[[int], None], restart: Callable[[], None]) -> None:
        super().__init__("finisher")
        self._finish, self._restart = finish, restart

    @on_write(command)
    def _act(self, value: int, old: int) -> None:
        action = self.command.action
        if action == PASS:
            self._finish(0)
        elif action == FAIL:
            self._finish(self.command.code)
        elif action == RESET:
            self._restart()
