"""When the TPU's units do what: a model in cycles of the array's clock.

Instructions are issued in order, one a cycle, each to its unit, which can start it in the fourth
stage of the pipeline; a unit works through its own in order, and units overlap. An instruction
starts when its unit is free and nothing that others have not finished touches the same rows (the
hardware interlock: "the matrix unit will stall if the input activation or weight data is not
ready"). `sync` holds the issue of all that follows.

All constants are the machine's (Jouppi et al., ISCA 2017; the board file has the figures):

* the array takes a vector a cycle, two or four for 16-bit operands ("half-speed", "quarter-speed"),
  and a vector's sums are complete rows + columns - 2 cycles after it has entered the last one (the
  skew of a systolic array, `emu.devices.systolic`);
* a tile is shifted in by a row a cycle, into cells beside those in use (double buffering), as soon
  as it has arrived and the tile before it is in use; its place in the FIFO is free then;
* weights arrive at the weight memory's bandwidth, in order, one tile after the other;
* the activation unit reads an accumulator row, and writes a row of the unified buffer, each cycle
  (both paths are 256 bytes wide at 700 MHz: the 167 GiB/s of figure 1);
* the host link moves bytes at its bandwidth, in and out at once; an instruction in either direction
  takes a round trip besides, for it occupies its station until it is done. So do the first
  instructions of a program, and the tag that says it is done.

Counters follow the matrix unit, as table 3 does: every cycle while the TPU is busy is active, or
the unit has an instruction that waits for weights to arrive (stall), or to be shifted in (shift),
or it has none that could start (non-matrix).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum

from emu.board import TpuBoard
from emu.clock import PS_PER_US
from emu.devices.tpu.declare import SIZE, Unit

QUEUE = 64
"""Instructions between issue and start: an instruction buffer; the paper does not give its size."""
_STAGES = 3  # from issue, the first of four stages, to the last

_TAKEN = 1 << 100  # when a place in the FIFO is free whose tile nobody has asked for yet


class Count(IntEnum):
    """The counters, by number."""

    BUSY = 0
    ACTIVE = 1
    WEIGHT_STALL = 2
    WEIGHT_SHIFT = 3
    NON_MATRIX = 4
    RAW = 5
    INPUT = 6
    FULL_SPEED = 7
    INSTRUCTIONS = 8
    MACS = 9
    BYTES_IN = 10
    BYTES_OUT = 11
    WEIGHT_BYTES = 12


@dataclass(frozen=True)
class Access:
    """Rows `first` to `end` (behind the last) of the unified buffer ("u") or the accumulators
    ("a"), read or written."""

    space: str
    first: int
    end: int
    write: bool

    def conflicts(self, other: Access) -> bool:
        """Whether the order of both matters."""
        if self.space != other.space or not (self.write or other.write):
            return False
        return self.first < other.end and other.first < self.end


@dataclass(frozen=True)
class _Pending:
    """An access that is finished at `done`."""

    unit: Unit
    access: Access
    done: int


@dataclass
class Schedule:
    """The model. Times are cycles since power-on."""

    board: TpuBoard
    counters: list[int] = field(default_factory=lambda: [0] * len(Count))

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """A reset: nothing is under way. Counters stay."""
        self.issued = 0
        self.busy_until = dict.fromkeys(Unit, 0)
        """When a unit can start its next instruction."""
        self.done = dict.fromkeys(Unit, 0)
        """When all that a unit was given is finished."""
        self._held: tuple[int, Unit | None] = 0, None  # until when the last `sync` held, for whom
        self._starts: deque[int] = deque(maxlen=QUEUE)
        self._pending: list[_Pending] = []
        self._swapped = 0  # when the tile in use came into use: the other cells are free from then
        self._slots = [0] * self.board.fifo_tiles
        self._tiles: deque[tuple[int, list[int], int]] = deque()  # arrival, slots, cycles to shift
        self._counted = 0  # up to here the cycles are counted as busy

    # --- time and cycles ------------------------------------------------------------------------

    def cycle_at(self, ps: int) -> int:
        """The first cycle that begins at `ps` or later."""
        return -(-ps * self.board.clock_mhz // PS_PER_US)

    def ps_at(self, cycle: int) -> int:
        """When a cycle begins."""
        return -(-cycle * PS_PER_US // self.board.clock_mhz)

    def _host_cycles(self, bytes_: int) -> int:
        """A transfer over the host link, with its round trip."""
        rate, latency = self.board.host_mb_s, self.board.host_latency_ns
        return -(-bytes_ * self.board.clock_mhz // rate) + latency * self.board.clock_mhz // 1000

    # --- the course of a program ----------------------------------------------------------------

    def begin(self, now: int) -> None:
        """The doorbell rings while the TPU is idle: instructions arrive a round trip later."""
        self._counted = now
        self.busy_until[Unit.MATRIX] = max(now, self.busy_until[Unit.MATRIX])
        self.resume(now + self._host_cycles(QUEUE * SIZE))

    def resume(self, now: int) -> None:
        """Nothing is issued before `now`."""
        self.issued = max(self.issued, now)

    def all_done(self) -> int:
        """When everything that was issued is finished."""
        return max(self.issued, *self.done.values())

    def end(self) -> None:
        """The TPU is idle: what is left of the time is non-matrix time."""
        end = self.all_done()
        self._idle(end, None)
        self.busy_until[Unit.MATRIX] = end

    def _issue(self) -> int:
        """The cycle in which the next instruction is issued."""
        full = len(self._starts) == QUEUE
        self.issued = max(self.issued + 1, self._starts[0] if full else 0)
        self._pending = [p for p in self._pending if p.done > self.issued]
        self.counters[Count.INSTRUCTIONS] += 1
        return self.issued

    def _ready(self, unit: Unit, accesses: Iterable[Access]) -> tuple[int, Unit | None]:
        """Issue an instruction: when it could start if its unit were free, and for whom it waits
        until then, if for anybody."""
        ready, cause = self._issue() + _STAGES, None
        for access in accesses:
            for p in self._pending:
                if p.unit is not unit and p.done > ready and access.conflicts(p.access):
                    ready, cause = p.done, p.unit
        return ready, cause

    def _started(self, unit: Unit, start: int, free: int, done: int) -> None:
        self._starts.append(start)
        self.busy_until[unit] = free
        self.done[unit] = max(self.done[unit], done)

    def _hold(self, unit: Unit, access: Access, done: int) -> None:
        self._pending.append(_Pending(unit, access, done))

    # --- the units ------------------------------------------------------------------------------

    def control(self) -> int:
        """An instruction that only has to be issued."""
        return self._issue()

    def wait(self, units: Iterable[Unit]) -> int:
        """Hold the issue until the units have finished all that they were given."""
        self._issue()
        for unit in units:
            if self.done[unit] > self.issued:
                self.issued = self.done[unit]
                self._held = self.issued, unit
        return self.issued

    def transfer(self, unit: Unit, bytes_: int, *accesses: Access) -> int:
        """A transfer between the host and here; gives when it is done."""
        ready, _ = self._ready(unit, accesses)
        start = max(ready, self.busy_until[unit])
        done = start + self._host_cycles(bytes_)
        self._started(unit, start, done, done)
        for access in accesses:
            self._hold(unit, access, done)
        self.counters[Count.BYTES_IN if unit is Unit.INPUT else Count.BYTES_OUT] += bytes_
        return done

    def fetch(self, bytes_: int, width: int) -> int:
        """A tile from the weight memory, with elements of `width` bytes: a place in the FIFO for
        each; gives when it starts."""
        ready = self._issue() + _STAGES
        places = sorted(range(len(self._slots)), key=lambda i: (self._slots[i], i))[:width]
        room = max(self._slots[i] for i in places)
        start = max(ready, self.busy_until[Unit.WEIGHTS], room)
        done = start + -(-bytes_ * self.board.clock_mhz // self.board.weight_mb_s)
        for place in places:
            self._slots[place] = _TAKEN
        self._started(Unit.WEIGHTS, start, done, done)
        self._tiles.append((done, places, self.board.rows * width))
        self.counters[Count.WEIGHT_BYTES] += bytes_
        return start

    def multiply(self, vectors: int, speed: int, following: bool, *accesses: Access) -> int:
        """A product of `vectors`, each `speed` cycles, with the next tile if `following`; gives
        when it starts. The accesses are the inputs, read, and the accumulators, written."""
        ready, cause = self._ready(Unit.MATRIX, accesses)
        free = self.busy_until[Unit.MATRIX]
        if cause is None and free < self._held[0]:
            cause = self._held[1]
        shifting = shifted = 0
        if following:
            arrival, places, cycles = self._tiles.popleft()
            shifting = max(arrival, self._swapped)
            shifted = shifting + cycles
            for place in places:
                self._slots[place] = shifting
        start = max(free, ready, shifted)
        if following:
            self._swapped = start
        self._idle(min(max(ready, free), start), cause)
        self._count(Count.WEIGHT_STALL, min(max(shifting, self._counted), start))
        self._count(Count.WEIGHT_SHIFT, start)
        self._count(Count.ACTIVE, start + vectors * speed)
        self.counters[Count.FULL_SPEED] += vectors
        self.counters[Count.MACS] += vectors * self.board.rows * self.board.columns
        end = start + vectors * speed
        complete = end + self.board.rows + self.board.columns - 2
        self._started(Unit.MATRIX, start, end, complete)
        for access in accesses:
            self._hold(Unit.MATRIX, access, complete if access.write else end)
        return start

    def activate(self, cycles: int, *accesses: Access) -> int:
        """The activation unit works for so many cycles; gives when it starts."""
        ready, _ = self._ready(Unit.ACTIVATION, accesses)
        start = max(ready, self.busy_until[Unit.ACTIVATION])
        self._started(Unit.ACTIVATION, start, start + cycles, start + cycles)
        for access in accesses:
            self._hold(Unit.ACTIVATION, access, start + cycles)
        return start

    # --- counting -------------------------------------------------------------------------------

    def _count(self, what: Count, until: int) -> None:
        """The matrix unit's cycles up to `until` are this."""
        cycles = max(0, until - self._counted)
        self._counted += cycles
        self.counters[what] += cycles
        self.counters[Count.BUSY] += cycles

    def _idle(self, until: int, cause: Unit | None) -> None:
        """It has nothing that could start, because of another unit perhaps."""
        cycles = max(0, until - self._counted)
        self._count(Count.NON_MATRIX, until)
        if cause in (Unit.ACTIVATION, Unit.MATRIX):
            self.counters[Count.RAW] += cycles
        elif cause is Unit.INPUT:
            self.counters[Count.INPUT] += cycles
