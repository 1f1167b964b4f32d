"""The UART: a 16550A with its FIFOs (National Semiconductor PC16550D data sheet).

Sending takes no time: the transmitter is always empty again. Receiving follows the console's rule
(`emu/console.py`): a terminal's bytes come at once, a pipe's only when the guest is idle. Asking
for LSR again and again and touching no other device meanwhile (but the clock) is one way of being
idle; `_POLLS` in a row count as such.
"""

from __future__ import annotations

from emu.bus import Bus
from emu.clock import EventQueue
from emu.console import Console
from emu.devices.device import Device, on_read, on_write, register
from emu.devices.line import Line
from emu.devices.registers import RO, RW, WO, Register, bits

FIFO_SIZE = 16
_POLLS = 64
_TERMINAL_PATIENCE = 0.002  # seconds of host time that a polling guest lets a terminal sleep


class Rbr(Register, offset=0, size=1, side="read"):
    """Receiver buffer; reading takes the oldest byte."""

    data = bits[7:0](RO, doc="the byte")


class Thr(Register, offset=0, size=1, side="write"):
    """Transmitter holding register; writing sends."""

    data = bits[7:0](WO, doc="the byte")


class Dll(Register, offset=0, size=1, bank=1):
    """Divisor latch, low (with LCR.DLAB set)."""

    divisor = bits[7:0](RW, reset=1, doc="divisor, bits 7:0; no effect on timing")


class Ier(Register, offset=1, size=1):
    """Interrupt enable."""

    erbfi = bits[0](RW, doc="received data available")
    etbei = bits[1](RW, doc="transmitter holding register empty")
    elsi = bits[2](RW, doc="receiver line status")
    edssi = bits[3](RW, doc="modem status")
    reserved = bits[7:4]


class Dlm(Register, offset=1, size=1, bank=1):
    """Divisor latch, high (with LCR.DLAB set)."""

    divisor = bits[7:0](RW, doc="divisor, bits 15:8; no effect on timing")


class Iir(Register, offset=2, size=1, side="read"):
    """Interrupt identification; reading it takes back a transmitter-empty interrupt."""

    none = bits[0](RO, reset=1, doc="1: no interrupt is pending")
    cause = bits[3:1](RO, doc="3 line status, 2 data, 6 data timeout, 1 transmitter empty, 0 modem")
    fifos = bits[7:6](RO, doc="3: the FIFOs are enabled")
    reserved = bits[5:4]


class Fcr(Register, offset=2, size=1, side="write"):
    """FIFO control."""

    enable = bits[0](WO, doc="enable the FIFOs")
    clear_rx = bits[1](WO, doc="empty the receiver FIFO")
    clear_tx = bits[2](WO, doc="empty the transmitter FIFO; it always is")
    dma = bits[3](WO, doc="DMA mode; no effect")
    trigger = bits[7:6](WO, doc="receiver trigger level: 1, 4, 8 or 14 bytes")
    reserved = bits[5:4]


class Lcr(Register, offset=3, size=1):
    """Line control; only DLAB has an effect."""

    format = bits[5:0](RW, doc="word length, stop bits, parity")
    break_ = bits[6](RW, doc="send a break")
    dlab = bits[7](RW, doc="show the divisor latch at offsets 0 and 1")


class Mcr(Register, offset=4, size=1):
    """Modem control."""

    dtr = bits[0](RW, doc="data terminal ready")
    rts = bits[1](RW, doc="request to send")
    out1 = bits[2](RW, doc="output 1")
    out2 = bits[3](RW, doc="output 2")
    loop = bits[4](RW, doc="connect the transmitter to the receiver")
    reserved = bits[7:5]


class Lsr(Register, offset=5, size=1):
    """Line status."""

    dr = bits[0](RO, doc="data ready")
    oe = bits[1](RO, doc="overrun: a byte was lost; reading clears")
    errors = bits[4:2](RO, doc="parity error, framing error, break; never")
    thre = bits[5](RO, reset=1, doc="transmitter holding register empty; always")
    temt = bits[6](RO, reset=1, doc="transmitter empty; always")
    fifo_error = bits[7](RO, doc="never")


class Msr(Register, offset=6, size=1):
    """Modem status."""

    changes = bits[3:0](RO, doc="never")
    cts = bits[4](RO, reset=1, doc="clear to send; RTS in loop mode")
    dsr = bits[5](RO, reset=1, doc="data set ready; DTR in loop mode")
    ri = bits[6](RO, doc="ring; OUT1 in loop mode")
    dcd = bits[7](RO, reset=1, doc="carrier; OUT2 in loop mode")


class Scr(Register, offset=7, size=1):
    """Scratch."""

    scratch = bits[7:0](RW, doc="holds what is written")


class Uart(Device, prefix="UART"):
    """The console's UART."""

    SIZE = 0x100
    state = ("_rx", "_thre_pending", "interested", "_polls", "_last_access", "sent")

    rbr = register(Rbr)
    thr = register(Thr)
    dll = register(Dll)
    dlm = register(Dlm)
    ier = register(Ier)
    iir = register(Iir)
    fcr = register(Fcr)
    lcr = register(Lcr)
    mcr = register(Mcr)
    lsr = register(Lsr)
    msr = register(Msr)
    scr = register(Scr)

    def __init__(self, bus: Bus, events: EventQueue, line: Line, console: Console) -> None:
        super().__init__("uart", events)
        self._bus, self._line, self._console = bus, line, console
        self._rx = bytearray()
        self._thre_pending = False
        self._polls = self._last_access = 0
        self.sent = 0
        """How many bytes the guest has sent."""
        self.interested = False
        """Whether the guest has ever asked for input; before, none is waited for."""

    def has_room(self) -> bool:
        """Whether a byte may be received without losing one."""
        return len(self._rx) < (FIFO_SIZE if self.fcr.enable else 1)

    def wants_input(self) -> bool:
        """Whether the guest would notice a byte and has none left."""
        return self.interested and not self._rx

    def receive(self, byte: int) -> None:
        """A byte arrives from the line; with the FIFO full it is lost and LSR says so."""
        if self.has_room():
            self._rx.append(byte)
            self.lsr.dr = 1
        else:
            self.lsr.oe = 1
        self._update()

    def _trigger(self) -> int:
        return (1, 4, 8, 14)[self.fcr.trigger] if self.fcr.enable else 1

    def _cause(self) -> int | None:
        """The pending interrupt of the highest priority, as IIR names it."""
        if self.ier.elsi and self.lsr.oe:
            return 3
        if self.ier.erbfi and self._rx:
            # The time-out of a started but unfinished batch comes at once: the line is silent.
            return 2 if len(self._rx) >= self._trigger() else 6
        return 1 if self.ier.etbei and self._thre_pending else None

    def _update(self) -> None:
        self._line.set(self._cause() is not None)

    @on_read(rbr)
    def _take(self) -> int:
        byte = self._rx.pop(0) if self._rx else 0
        self.lsr.dr = int(bool(self._rx))
        self._update()
        return byte

    @on_write(thr)
    def _send(self, value: int, old: int) -> None:
        if self.mcr.loop:
            self.receive(value)
        else:
            self.sent += 1
            self._console.write(value)
        self._thre_pending = True  # empty again at once
        self._update()

    @on_write(ier)
    def _set_enable(self, value: int, old: int) -> None:
        self.interested |= bool(self.ier.erbfi)
        if self.ier.etbei and not old & Ier.etbei.mask:
            self._thre_pending = True
        self._update()

    @on_read(iir)
    def _identify(self) -> int:
        cause = self._cause()
        if cause == 1:
            self._thre_pending = False
            self._update()
        self.iir.none, self.iir.cause = int(cause is None), cause or 0
        self.iir.fifos = 3 * self.fcr.enable
        return self.iir.value

    @on_write(fcr)
    def _control_fifo(self, value: int, old: int) -> None:
        if self.fcr.clear_rx or (value ^ old) & Fcr.enable.mask:
            self._rx.clear()
            self.lsr.dr = 0
        self.fcr.clear_rx = self.fcr.clear_tx = 0
        self._update()

    @on_write(lcr)
    def _control_line(self, value: int, old: int) -> None:
        self.select_bank(self.lcr.dlab)

    @on_read(lsr)
    def _status(self) -> int:
        if not self._rx and not self.mcr.loop:
            self._poll_console()
        value = self.lsr.value
        if self.lsr.oe:
            self.lsr.oe = 0
            self._update()
        return value

    def _poll_console(self) -> None:
        """LSR was read with nothing received: take a byte from the console if one may be taken."""
        self.interested = True
        accesses = self._bus.accesses
        self._polls = self._polls + 1 if accesses == self._last_access + 1 else 1
        self._last_access = accesses
        byte = None
        if self._polls >= _POLLS:
            self._polls = 0
            if not self.events.work_pending():
                byte = self._console.wait(_TERMINAL_PATIENCE)
        elif self._polls == 1:
            byte = self._console.poll()
        if byte is not None:
            self.receive(byte)

    @on_read(msr)
    def _modem(self) -> int:
        if not self.mcr.loop:
            return self.msr.reset_value
        loop = self.mcr
        return loop.rts << 4 | loop.dtr << 5 | loop.out1 << 6 | loop.out2 << 7

    def restore(self, saved: dict[str, object]) -> None:
        """Take over a snapshot, the register bank included."""
        super().restore(saved)
        self.select_bank(self.lcr.dlab)

    def reset(self) -> None:
        """Forget what was received and not read."""
        super().reset()
        self._rx.clear()
        self._thre_pending = False
        self._update()
