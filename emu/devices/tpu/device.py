"""The TPU as a PCIe function: the ring of instructions, the doorbell, completion, errors.

The driver puts instructions into a ring in memory and writes TAIL. The device takes them one after
the other (`execute.py`). What only concerns its inside is done at once, a bit ahead of virtual
time; where the host's memory, an interrupt or the host's answer is concerned, and whenever the
program is `_AHEAD` ahead, it goes on by an event at the time that the schedule gives. Whatever a
program does wrong ends in `_fail`: error registers, the ring stops, CONTROL.reset makes it usable
again.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from emu.board import TpuBoard
from emu.clock import PS_PER_US
from emu.devices.device import Device, on_read, on_write, register, register_array
from emu.devices.memory import DeviceMemory
from emu.devices.pcie import PciFunction
from emu.devices.system import System
from emu.devices.tpu import registers as r
from emu.devices.tpu.core import Core
from emu.devices.tpu.declare import SIZE, Instruction, decode
from emu.devices.tpu.errors import Code, ProgramError
from emu.devices.tpu.registers import State
from emu.devices.tpu.text import show
from emu.devices.tpu.timing import QUEUE, Schedule

if TYPE_CHECKING:
    from emu.devices.tpu.execute import Executor

RING_MAX = 1 << 16
WEIGHT_BAR = 2
_AHEAD = 100 * PS_PER_US
_DONE, _FAILED = 0, 1  # MSI-X vectors


class Tpu(PciFunction, prefix="TPU"):
    """A tensor processing unit after Jouppi et al., ISCA 2017. The figures come from the board;
    the instructions are described in docs/tpu.md. BAR 2 is the weight memory."""

    IDENTITY = (0x1DE5, 0x0002, 0x120000, 0)
    MSIX_VECTORS = 2
    state = "core", "schedule", "_awaited", "_watched_from", "_announced"

    magic = register(r.Magic)
    version = register(r.Version)
    array_size = register(r.ArraySize)
    clock_mhz = register(r.ClockMhz)
    buffer_size = register(r.BufferSize)
    weight_size = register(r.WeightSize)
    accumulators = register(r.Accumulators)
    fifo = register(r.Fifo)
    control = register(r.Control)
    status = register(r.Status)
    ring_base = register(r.RingBase)
    ring_entries = register(r.RingEntries)
    tail = register(r.Tail)
    head = register(r.Head)
    completed = register(r.Completed)
    completion_address = register(r.CompletionAddress)
    host_sync = register(r.HostSync)
    watchdog = register(r.Watchdog)
    debug_tag = register(r.DebugTag)
    error = register(r.Error)
    error_address = register(r.ErrorAddress)
    error_value = register(r.ErrorValue)
    counter = register_array(r.Counter)

    def __init__(self, name: str, system: System, board: TpuBoard) -> None:
        super().__init__(name, system)
        self.board = board
        self.core, self.schedule = Core(board), Schedule(board)
        self.weights = DeviceMemory(f"{name}.weights", board.weights)
        self.add_bar(WEIGHT_BAR, 1 << (board.weights - 1).bit_length(), self.weights)
        self._awaited = b""  # the `wait_host` that waits
        self._watched_from = 0  # the watchdog counts from here, in picoseconds
        # Doorbells during a transfer: from which entry on instructions are new, and since when.
        self._announced: deque[tuple[int, int]] = deque(maxlen=QUEUE)
        self._identify()

    def _identify(self) -> None:
        board = self.board
        self.array_size.rows, self.array_size.columns = board.rows, board.columns
        self.clock_mhz.mhz, self.fifo.tiles = board.clock_mhz, board.fifo_tiles
        self.buffer_size.bytes_ = self.core.buffer_rows * self.core.row_bytes
        self.weight_size.bytes_ = board.weights
        self.accumulators.rows = board.accumulators

    @property
    def _state(self) -> State:
        return State(self.status.state)

    # --- registers ------------------------------------------------------------------------------

    @on_write(control)
    def _set_control(self, value: int, old: int) -> None:
        if r.Control.reset_.of(value):
            Device.reset(self)
            self._start_anew()
            self.control.interrupt = r.Control.interrupt.of(value)
        if r.Control.clear.of(value):
            self.schedule.counters[:] = [0] * len(self.schedule.counters)
        self._drive_interrupt()

    @on_write(status)
    def _acknowledge(self, value: int, old: int) -> None:
        self._drive_interrupt()

    @on_write(ring_entries)
    def _set_ring(self, value: int, old: int) -> None:
        if self._state in (State.RUNNING, State.WAITING):
            self._fail(Code.RING, value)
        self.head.entry = self.tail.entry = 0

    @on_write(tail)
    def _ring_doorbell(self, value: int, old: int) -> None:
        now = self.schedule.cycle_at(self.now_ps)
        if self._state is State.FAILED:
            return
        if value >= self.ring_entries.entries or self.ring_entries.entries > RING_MAX:
            self._fail(Code.RING, value)
        elif self._state in (State.IDLE, State.HALTED):
            self.status.state = State.RUNNING
            self._watched_from = self.now_ps
            self.schedule.begin(now)
            self._run()
        elif self._state is State.RUNNING and self.scheduled(self._finish):
            if value != old:
                self._announced.append((old, now))
        elif self._state is State.RUNNING:
            self.schedule.resume(now)
            self._run()

    @on_write(host_sync)
    def _answered(self, value: int, old: int) -> None:
        if self._state is State.WAITING:
            self._look_at_host()

    @on_read(counter)
    def _count(self, index: int) -> int:
        return self.schedule.counters[index]

    @on_write(watchdog)
    def _set_watchdog(self, value: int, old: int) -> None:
        for event in self.scheduled(self._expire):
            event.cancel()
        if self._state is State.WAITING:
            self._look_at_host()

    # --- the ring -------------------------------------------------------------------------------

    def _run(self) -> None:
        """Execute what is in the ring, until something has to happen at its time."""
        for event in self.scheduled(self._run) + self.scheduled(self._rest):
            event.cancel()
        schedule = self.schedule
        try:
            while self.head.entry != self.tail.entry:
                while self._announced and self._announced[0][0] == self.head.entry:
                    schedule.resume(self._announced.popleft()[1])
                if schedule.ps_at(schedule.issued) > self.now_ps + _AHEAD:
                    self.at(schedule.ps_at(schedule.issued), self._run)
                    return
                self._watch(schedule.ps_at(schedule.all_done()))
                code = self._fetch()
                instruction = decode(code)
                done = self._executor.start(instruction)
                if done is not None:
                    self._watch(schedule.ps_at(done))
                    self.at(max(self.now_ps, schedule.ps_at(done)), self._finish, code)
                    return
                self._advance(instruction)
            self.at(max(self.now_ps, schedule.ps_at(schedule.all_done())), self._rest)
        except ProgramError as error:
            self._fail(error.code, error.value)

    def _finish(self, code: bytes) -> None:
        """An instruction that the host sees is done."""
        instruction = decode(code)
        try:
            match instruction.declaration.mnemonic:
                case "interrupt":
                    self._complete(instruction["tag"])
                case "halt":
                    self._advance(instruction)
                    self._stop(State.HALTED)
                    return
                case "wait_host":
                    self._awaited = code
                    self.status.state = State.WAITING
                    self._look_at_host()
                    return
                case _:
                    self._executor.finish(instruction)
        except ProgramError as error:
            self._fail(error.code, error.value)
        else:
            self._advance(instruction)
            self._run()

    def _rest(self) -> None:
        """Everything in the ring is done."""
        self._stop(State.IDLE)

    def _stop(self, state: State) -> None:
        self._announced.clear()
        self.schedule.end()
        self.status.state = state

    @property
    def _executor(self) -> Executor:
        from emu.devices.tpu.execute import Executor  # loads a compiler

        return Executor(self.core, self.schedule, self.weights, self.dma)

    def _address(self) -> int:
        """Of the instruction at HEAD, on the bus."""
        return self.ring_base.address + SIZE * self.head.entry

    def _fetch(self) -> bytes:
        """The instruction at HEAD."""
        code = self.dma.read(self._address(), SIZE)
        if code is None:
            raise ProgramError(Code.FETCH, self._address())
        return code

    def _advance(self, instruction: Instruction) -> None:
        """The instruction at HEAD has been executed."""
        if instruction.declaration.mnemonic == "debug":
            self.debug_tag.tag = instruction["tag"]
        if self.system.trace is not None:
            self.system.trace.event(self.name, "instruction", text=show(instruction))
        self.head.entry = (self.head.entry + 1) % max(self.ring_entries.entries, 1)

    # --- the host's part ------------------------------------------------------------------------

    def _complete(self, tag: int) -> None:
        """`interrupt`: the tag goes to the register, to memory, and to the hart."""
        address = self.completion_address.address
        if address and not self.dma.write_int(address, 4, tag):
            raise ProgramError(Code.DMA, address)
        self.completed.tag = tag
        self.status.done = 1
        self._watched_from = self.now_ps
        self._drive_interrupt()
        self.signal(_DONE)

    def _look_at_host(self) -> None:
        """`wait_host`: go on if the host's number has reached the tag, else let the watchdog bite
        in the end."""
        behind = self.host_sync.value_ - decode(self._awaited)["tag"] & 0xFFFF_FFFF
        if behind < 1 << 31:
            for event in self.scheduled(self._expire):
                event.cancel()
            self.status.state = State.RUNNING
            self.schedule.resume(self.schedule.cycle_at(self.now_ps))
            self._advance(decode(self._awaited))
            self._run()
        elif self.watchdog.us and not self.scheduled(self._expire):
            end = self._watched_from + self.watchdog.us * PS_PER_US
            self.at(max(self.now_ps, end), self._expire)

    def _expire(self) -> None:
        self._fail(Code.WATCHDOG, self.watchdog.us)

    def _watch(self, end_ps: int) -> None:
        """What was issued so far will be done at `end_ps`: is that too late?"""
        limit = self.watchdog.us
        if limit and end_ps - self._watched_from > limit * PS_PER_US:
            raise ProgramError(Code.WATCHDOG, limit)

    def _fail(self, code: Code, value: int) -> None:
        """The ring stops at HEAD, which is the instruction that failed."""
        for event in self.scheduled():
            if event.callback != self._deliver:
                event.cancel()
        self.error.code, self.error_value.value_ = code, value
        self.error_address.address = self._address()
        self.status.failed = 1
        self._stop(State.FAILED)
        if self.system.trace is not None:
            self.system.trace.event(self.name, "failed", code=code.name, value=value)
        self._drive_interrupt()
        self.signal(_FAILED)

    def _drive_interrupt(self) -> None:
        happened = self.status.done or self.status.failed
        self.set_interrupt(bool(self.control.interrupt and happened))

    # --- reset ----------------------------------------------------------------------------------

    def _start_anew(self) -> None:
        """What a reset of either kind leaves; memories keep what they hold."""
        self.core.forget()
        self.schedule.forget()
        self.schedule.counters[:] = [0] * len(self.schedule.counters)
        self._watched_from = 0
        self._announced.clear()
        self._identify()

    def reset(self) -> None:
        """As after power-on."""
        super().reset()
        self._start_anew()
