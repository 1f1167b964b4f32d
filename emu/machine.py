"""The machine: harts, memory, and a platform of devices, run on one virtual clock.

    machine = Machine(board.load("workstation"), kernel=data, console=open_console())
    status = machine.run()

The loop is short: do what is due, let the engine of the hart whose turn it is execute until the
next event can be due, and when all harts sleep, let time skip. Only a hart's engine knows how
instructions are executed; only the devices know what they do.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from emu import devicetree, loader, snapshot
from emu import memory_map as at
from emu.board import Board
from emu.bus import Bus
from emu.clock import PS_PER_MS, PS_PER_SECOND, Clock, EventQueue
from emu.console import Console, ConsoleQuit
from emu.cpu.alarm import HartAlarm
from emu.cpu.hart import Hart
from emu.devices.device import Device
from emu.errors import AiosError
from emu.harts import Turns
from emu.isa.causes import Interrupt
from emu.loader import BootRom, Image
from emu.memory import Memory
from emu.platform import Drive, Hooks, Platform, VirtioDrive
from emu.snapshot import Snapshot
from emu.trace import Trace

ENGINES = ("native", "reference")
CODE_POWER_CUT, CODE_LIMIT, CODE_STUCK = 123, 124, 125
"""Exit codes when the guest did not end the run: the power failed; out of instructions; asleep for
ever."""

_SLICE = 20_000_000  # instructions between looks at the host (an interrupt key, a terminal)
_LIVE_SLICE = 1_000_000
_STALL_SLICE_PS = PS_PER_SECOND // 50  # of stall between them: tensor instructions take host time
_FOR_EVER_S = 10**9  # select(2) takes no more than a few billion seconds
_PATIENCE_PS = PS_PER_SECOND // 10


class Engine(Protocol):
    """What executes instructions; `emu.cpu` has two."""

    def step(self) -> None:
        """Execute one instruction or take one trap."""

    def run(self, budget: int) -> str:
        """Execute at most `budget` instructions; returns "budget", "attention" or "breakpoint"."""


@dataclass(frozen=True)
class ExitStatus:
    """How a run ended: the guest's exit code, or one of ours, and why in a sentence."""

    code: int
    reason: str
    by_guest: bool = False
    telling: bool = False
    """Whether `reason` says more than the code, though it was the guest that ended the run."""


BREAKPOINT = ExitStatus(0, "The hart is at a breakpoint.")
"""`Machine.current` is the hart."""


class Machine:
    """A computer that is switched on. `kernel` is an ELF file's contents; with `bios` it may also
    be a raw image that the firmware starts. `initrd` is a file system for the kernel, of which the
    device tree tells. Names in errors come from `kernel_name`, `bios_name`, `initrd_name`.
    """

    def __init__(
        self,
        board: Board,
        *,
        kernel: bytes | None = None,
        bios: bytes | None = None,
        initrd: bytes | None = None,
        drives: Sequence[Drive | VirtioDrive] = (),
        append: str = "",
        console: Console,
        engine: str = "native",
        trace: Trace | None = None,
        kernel_name: str = "the kernel",
        bios_name: str = "the firmware",
        initrd_name: str = "the initrd",
    ) -> None:
        self.board, self.console, self.trace = board, console, trace
        self.memory = Memory(at.RAM, board.memory.size)
        self.bus = Bus(self.memory, trace)
        self.harts = [Hart(self.bus, self.memory, i) for i in range(_hart_count(board))]
        self.hart = self.harts[0]
        """The first hart, with which everything begins."""
        self.clock = Clock(board.cpu.ps_per_insn, self.hart)
        self.turns = Turns(self.harts, self.clock)
        self.events = EventQueue(self.clock)
        self.events.on_earlier = self._call_attention
        alarms = [HartAlarm(hart.state) for hart in self.harts]
        hooks = Hooks(self._set_interrupt, self._finish, self._restart, alarms)
        first, second = loader.stages(self.memory, kernel, kernel_name, bios, bios_name)
        files = None
        if initrd is not None:
            files = loader.initrd(initrd, second or first, self.memory, initrd_name)
        self._load(first, second, files, append)
        reference = engine == "reference"
        self.platform = Platform(
            board, self.bus, self.events, console, drives, hooks, trace, reference=reference,
            symbols=self.symbols,
        )  # fmt: skip
        for hart in self.harts:
            hart.on_timer = self.platform.clint.supervisor_changed
        if trace is not None:
            trace.now = lambda: self.clock.now_ps
            if len(self.harts) > 1:
                trace.hart = lambda: self.current.hartid
            for hart in self.harts:
                hart.on_trap = trace.trap
        self._engine_name = engine
        self._engines = {0: _make_engine(engine, self.hart)}
        self._status: ExitStatus | None = None
        self._reset_wanted = False
        self._power_cut_ps: int | None = None
        self._quiet_since = (0, 0)  # when the guest last did something, and how to tell
        self._power_on()

    @property
    def current(self) -> Hart:
        """The hart whose turn it is, or was when the last run ended."""
        return self.turns.current

    @property
    def devices(self) -> dict[str, Device]:
        """Every device by its name."""
        return self.platform.devices

    def _load(self, first: Image, second: Image | None, initrd: Image | None, append: str) -> None:
        """Decide what lies in memory at power-on: what runs first, what firmware is to start next,
        its file system, the device tree, and the boot ROM that leads there."""
        memory = self.memory
        kernel_range = second.range if second else None
        initrd_range = initrd.range if initrd else None
        tree = devicetree.build(memory.size, append, kernel_range, len(self.harts), initrd_range)
        tree_at = at.device_tree_address(memory.size, len(tree))
        tree_image = loader.raw(tree, tree_at, memory, "the device tree")
        self.symbols = {**(second.symbols if second else {}), **first.symbols}
        """Those of `emu.loader.HOST_SYMBOLS` that the programs define."""
        self._images = [image for image in (first, second, initrd, tree_image) if image]
        rom = BootRom(first.entry, tree_at, second.entry if second else 0)
        self.bus.map(at.BOOT_ROM, at.BOOT_ROM_SIZE, rom)

    def _power_on(self) -> None:
        """Put the images into memory, all harts at the boot ROM. RAM keeps what else is in it."""
        for image in self._images:
            image.place(self.memory)
        now = self.clock.now_ps
        for hart in self.harts:
            hart.reset(at.BOOT_ROM)
        self.turns.reset()
        self.clock.set_now(now)

    def _set_interrupt(self, hart: int, number: int, level: bool) -> None:
        driven, current = self.harts[hart], self.turns.current
        driven.set_interrupt(Interrupt(number), level)
        if driven is not current:
            current.attention = True  # it may have woken, or not be awake any more

    def _call_attention(self) -> None:
        self.turns.current.attention = True

    def _finish(self, code: int, reason: str = "", /) -> None:
        said = reason or f"The guest ended the run with code {code}."
        self._status = ExitStatus(code, said, by_guest=True, telling=bool(reason))
        self._call_attention()

    def _restart(self) -> None:
        self._reset_wanted = True
        self._call_attention()

    def reset(self) -> None:
        """Reset everything, as the finisher's reset does; time goes on."""
        if self.trace is not None:
            self.trace.event("machine", "reset")
        self.events.clear()
        self.platform.reset()
        self._power_on()

    def snapshot(self) -> Snapshot:
        """The whole machine as it stands between two instructions (`emu.snapshot`)."""
        return snapshot.take(self)

    def restore(self, saved: Snapshot) -> None:
        """Be again what the machine was when `saved` was taken of it, and go on from there."""
        snapshot.restore(self, saved)

    def cut_power_at(self, at_ps: int) -> None:
        """Let the power fail at that moment of virtual time, whatever the guest does then. It is no
        event of the queue: until then the run is what it would be without, input included."""
        self._power_cut_ps = at_ps
        self._call_attention()

    def cut_power(self) -> ExitStatus:
        """The power fails now: drives keep only what is durable, and the run ends as returned."""
        if self.trace is not None:
            self.trace.event("machine", "power cut")
        self.platform.cut_power()
        milliseconds = self.clock.now_ps / PS_PER_MS
        reason = f"The power was cut at {milliseconds:g} ms; drives kept what had been flushed."
        self._power_cut_ps = None
        self._status = status = ExitStatus(CODE_POWER_CUT, reason)
        self._call_attention()
        return status

    def run(self, max_instructions: int | None = None) -> ExitStatus:
        """Run until the guest ends the run, a breakpoint (`BREAKPOINT`), or `max_instructions` more
        have retired, on whatever hart. Can be called again to go on after the last two."""
        left = max_instructions
        self._status = None
        try:
            while self._settle():
                if left is not None and left <= 0:
                    reason = f"The guest was stopped after {max_instructions} instructions."
                    return ExitStatus(CODE_LIMIT, reason)
                hart = self.turns.current
                budget, before = self._budget(left), hart.instret
                stalled = hart.stall_ps
                why = self._engine(hart).run(budget)
                if why == "breakpoint" or self._stands_at_breakpoint(hart, before):
                    return BREAKPOINT
                if left is not None:
                    # Traps use the budget up too: a guest that only traps is stopped as well.
                    retired = hart.instret - before
                    trapped = 0 if retired else (hart.stall_ps - stalled) // hart.trap_ps
                    left -= budget if why == "budget" else max(0, retired, trapped)
            assert self._status is not None
            return self._status
        except ConsoleQuit:
            return ExitStatus(0, "You ended the run.")
        finally:
            self.console.flush()

    def stop(self, status: ExitStatus) -> None:
        """Have the present `run` end soon, between two instructions, with that status. A signal's
        handler may call it."""
        self._status = status
        self._call_attention()

    def _stands_at_breakpoint(self, hart: Hart, before: int) -> bool:
        """Whether the engine's budget ended just in front of a breakpoint, which the next run would
        pass over as its first instruction. `before` is instret when the engine started."""
        if not hart.breakpoints:
            return False
        moved = hart.instret != before and self._status is None
        return moved and hart.state.pc in hart.breakpoints

    def step(self, hart: Hart | None = None) -> ExitStatus | None:
        """Execute one instruction, or take one trap, of the hart whose turn it is; sleeping is
        skipped. Returns how the run ended if it did. If it is not the turn of `hart`, when one is
        given, the others run until it is, or one of them stands at a breakpoint (`BREAKPOINT`)."""
        self._status = None
        while self._settle():
            current = self.turns.current
            if hart is None or current is hart:
                self._engine(current).step()
                break
            budget, before = self._budget(None), current.instret
            why = self._engine(current).run(budget)
            if why == "breakpoint" or self._stands_at_breakpoint(current, before):
                return BREAKPOINT
        return self._status

    def _engine(self, hart: Hart) -> Engine:
        """Made when the hart first executes: on most machines only one ever does."""
        engine = self._engines.get(hart.hartid)
        if engine is None:
            engine = self._engines[hart.hartid] = _make_engine(self._engine_name, hart)
        return engine

    def _settle(self) -> bool:
        """Do all that is due and wait until a hart is awake; False when the run has ended."""
        while self._status is None:
            if self._reset_wanted:
                self._reset_wanted = False
                self.reset()
            if self.events.run_due():
                self.current.break_reservation()  # of others, none outlives their turn
            if self._power_cut_ps is not None and self.clock.now_ps >= self._power_cut_ps:
                self.cut_power()
            if self.turns.settle():
                self.console.flush()
                self._serve_terminal()
                return self._status is None
            if self._status is None:
                self._sleep()
        return False

    def _budget(self, left: int | None) -> int:
        """Instructions until somebody must look: the next event, the end of the turn, the limit,
        the host. The hart is told how long it may stall until then."""
        budget = _LIVE_SLICE if self.console.live else _SLICE
        stall_ps = _STALL_SLICE_PS
        if left is not None:
            budget = min(budget, left)
        left_ps = self.turns.left_ps()
        next_ps = self._earliest(self.events.next_ps())
        if next_ps is not None:
            until_ps = self.clock.work_until(next_ps)
            left_ps = until_ps if left_ps is None else min(left_ps, until_ps)
        if left_ps is not None:
            budget = min(budget, -(-left_ps // self.clock.ps_per_insn))
            # Instructions take their share of that time too: look a little early, then again.
            stall_ps = max(1, min(stall_ps, left_ps * 7 // 8))
        hart = self.turns.current
        hart.state.stall_end = hart.stall_ps + stall_ps
        return max(budget, 1)

    def _serve_terminal(self) -> None:
        """Hand a key to a guest that waits for the UART's interrupt while it computes."""
        if self.console.live and self.platform.uart.wants_input():
            byte = self.console.poll()
            if byte is not None:
                self.platform.uart.receive(byte)

    def _sleep(self) -> None:
        """All harts wait for an interrupt: let the next thing happen that could raise one."""
        uart, next_ps = self.platform.uart, self.events.next_ps()
        earliest = self._earliest(next_ps)
        if self.console.live:
            next_ps = earliest
        listens = uart.wants_input() and not self.console.ended()
        if listens and not self.events.work_pending() and self._input_is_next(next_ps):
            seconds = self._seconds_until(next_ps)
            byte = self.console.wait(seconds)
            if byte is not None:
                self._quiet_since = (self.clock.now_ps, uart.sent)
                uart.receive(byte)
                return
            if seconds is None and not self.console.ended():
                return
        if earliest is None:
            reason = "The guest sleeps, and nothing is left that could wake it."
            self._status = ExitStatus(CODE_STUCK, reason)
        else:
            self.clock.skip_to(earliest)

    def _earliest(self, next_ps: int | None) -> int | None:
        """When the next event happens or the power fails, whatever comes first."""
        cut = self._power_cut_ps
        return next_ps if cut is None else cut if next_ps is None else min(cut, next_ps)

    def _input_is_next(self, next_ps: int | None) -> bool:
        """Whether a sleeping guest is given input before its timer goes off. From a terminal, yes:
        the wait ends in time. A pipe's bytes wait until nothing but timers has happened for a
        while, so that a guest which merely pauses within its work is not held up for input."""
        if self.console.live or next_ps is None:
            return True
        since, sent = self._quiet_since
        if sent != self.platform.uart.sent or self.events.worked_ps > since:
            since = max(self.clock.now_ps, self.events.worked_ps)
            self._quiet_since = (since, self.platform.uart.sent)
        return self.clock.now_ps - since >= _PATIENCE_PS

    def _seconds_until(self, next_ps: int | None) -> float | None:
        """Host time that a terminal may keep a sleeping guest waiting; None: for ever. That is also
        the answer when a guest sets its timer to what no user will live to see."""
        if next_ps is None:
            return None
        seconds = max(0, next_ps - self.clock.now_ps) / PS_PER_SECOND
        return seconds if seconds < _FOR_EVER_S else None

    def close(self) -> None:
        """Release drives; give the console and the trace back."""
        self.platform.close()
        self.console.close()
        if self.trace is not None:
            self.trace.close()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _hart_count(board: Board) -> int:
    if board.cpu.harts > at.HARTS:
        raise AiosError(
            f"The board {board.name} says cpu.harts = {board.cpu.harts}, but the most that are "
            f"possible are {at.HARTS}."
        )
    return board.cpu.harts


def _make_engine(name: str, hart: Hart) -> Engine:
    """Engines are imported when they are chosen: the native one loads LLVM."""
    if name == "reference":
        from emu.cpu.reference import ReferenceEngine

        return ReferenceEngine(hart)
    if name == "native":
        from emu.cpu.native import NativeEngine

        return NativeEngine(hart)
    raise AiosError(f"There is no engine '{name}'; the engines are {', '.join(ENGINES)}.")
