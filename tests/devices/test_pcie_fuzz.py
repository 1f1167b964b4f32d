"""Whatever a guest does to configuration space and wherever it places BARs, nothing raises, and the
hart and DMA reach what the registers say."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from emu.bus import Bus, Region
from emu.clock import PS_PER_US, Clock, EventQueue
from emu.devices.device import register
from emu.devices.dma import DmaPort
from emu.devices.line import Line
from emu.devices.memory import DeviceMemory
from emu.devices.pcie import HostBridge, PciFunction, Window
from emu.devices.registers import RW, Register, bits
from emu.devices.system import System
from emu.memory import Memory

RAM, RAM_BYTES, ECAM = 0x8000_0000, 1 << 20, 0x3000_0000
WINDOWS = {0x4000_0000: 0x1_0000, 1 << 40: 0x2_0000}  # small, so that BARs meet
ONES = 0xFFFF_FFFF
NUMBERS = (0, 2, 4)
BARS = (0, 0x1000, 0x1000), (2, 0x4000, 0x3000), (4, 0x2000, 0x2000)
"""Number, size, and how much of it answers."""


class Scratch(Register, offset=0):
    """Holds what is written."""

    value_ = bits[31:0](RW, doc="anything")


class Card(PciFunction):
    """Registers, memory that does not fill its BAR, and MSI-X."""

    IDENTITY = (0x1DE5, 0x7777, 0xFF0000, 0)
    MSIX_VECTORS = 5
    scratch = register(Scratch)

    def __init__(self, name: str, system: System) -> None:
        super().__init__(name, system)
        self.memory = DeviceMemory(f"{name}.memory", 0x3000)
        self.add_bar(2, 0x4000, self.memory)


SLOTS = st.integers(1, 3)
BASES = st.one_of(
    st.sampled_from([base + i * 0x1000 for base in WINDOWS for i in range(-1, 33)]),
    st.integers(0, (1 << 64) - 1),
)
VALUES = st.one_of(st.sampled_from([0, 1, 2, 4, 6, 7, 0x8000, ONES]), st.integers(0, (1 << 64) - 1))


class Enumeration(RuleBasedStateMachine):
    """Three cards in two windows."""

    def __init__(self) -> None:
        super().__init__()
        self.bus, self.events = Bus(Memory(RAM, RAM_BYTES)), EventQueue(Clock())
        windows = [Window(f"window{i}", *place) for i, place in enumerate(WINDOWS.items())]
        self.bridge = HostBridge(self.bus, windows, [Line() for _ in range(4)])
        system = System(self.bus, self.events)
        self.cards = {i: Card(f"card{i}", system) for i in (1, 2, 3)}
        for card in self.cards.values():
            self.bridge.plug(card)
        self.bus.map(ECAM, HostBridge.ECAM_SIZE, self.bridge)
        self.told: list[Region] = []
        self.bus.on_memory_moved.append(self.note)

    def note(self) -> None:
        """Told that device memory has moved: what the hart's buffers would be filled from now."""
        self.told = self.bus.device_memories

    def config(self, slot: int, offset: int) -> int:
        return self.bus.read(ECAM | slot << 15 | offset, 4)

    def base(self, slot: int, number: int) -> int:
        """What the BAR holds now."""
        low, high = (self.config(slot, 0x10 + 4 * (number + i)) for i in (0, 1))
        return high << 32 | low & ~0xF

    def placed(self) -> list[tuple[int, int, int, int]]:
        """(first address, end, slot, BAR) of all that should answer, the first one first: as the
        registers read by the guest say it."""
        found = []
        for slot in self.cards:
            if self.config(slot, 4) & 2:
                for number, size, used in BARS:
                    base = self.base(slot, number)
                    if any(w <= base and base + size <= w + n for w, n in WINDOWS.items()):
                        found.append((base, base + used, slot, number))
        return found

    @rule(slot=SLOTS, number=st.sampled_from(NUMBERS), base=BASES)
    def place(self, slot: int, number: int, base: int) -> None:
        at = ECAM | slot << 15 | 0x10 + 4 * number
        self.bus.write(at, 4, base & ONES)
        self.bus.write(at + 4, 4, base >> 32)
        size = self.cards[slot].bars[number][0]
        assert self.base(slot, number) == base & -size

    @rule(slot=SLOTS, number=st.sampled_from(NUMBERS))
    def size(self, slot: int, number: int) -> None:
        """As drivers do it: ones, read, what was there before."""
        before = self.base(slot, number)
        self.place(slot, number, (1 << 64) - 1)
        assert -self.base(slot, number) & (1 << 64) - 1 == self.cards[slot].bars[number][0]
        self.place(slot, number, before)

    @rule(slot=SLOTS, command=st.integers(0, 7))
    def command(self, slot: int, command: int) -> None:
        self.bus.write(ECAM | slot << 15 | 4, 2, command)

    @rule(
        slot=st.integers(0, 4),
        offset=st.integers(0, 0x11F),
        size=st.sampled_from([1, 2, 4, 8]),
        value=VALUES,
    )
    def write(self, slot: int, offset: int, size: int, value: int) -> None:
        at = ECAM | slot << 15 | offset & -size
        identity = [self.config(slot, 0), self.config(slot, 8), self.config(slot, 0x34)]
        self.bus.write(at, size, value)
        assert [self.config(slot, 0), self.config(slot, 8), self.config(slot, 0x34)] == identity
        assert 0 <= self.bus.read(at, size) < 1 << 8 * size

    @rule(
        slot=SLOTS,
        vector=st.integers(0, 6),
        address=st.one_of(BASES, st.just(RAM)),
        masked=st.booleans(),
    )
    def message(self, slot: int, vector: int, address: int, masked: bool) -> None:
        """Through the table itself: where it lies is the other rules' matter."""
        table = self.cards[slot].bars[4][1]
        table.write(16 * vector, 8, address)
        table.write(16 * vector + 12, 4, masked)
        self.cards[slot].signal(vector)

    @rule()
    def pass_time(self) -> None:
        self.events.clock.skip_to(self.events.clock.now_ps + PS_PER_US)
        self.events.run_due()

    @rule(slot=SLOTS)
    def reset(self, slot: int) -> None:
        self.cards[slot].reset()
        assert self.config(slot, 4) & 7 == 0

    @rule(slot=SLOTS)
    def round_trip(self, slot: int) -> None:
        card = self.cards[slot]
        saved = card.snapshot()
        card.reset()
        card.restore(saved)
        assert card.snapshot() == saved

    @invariant()
    def the_hart_and_dma_reach_what_the_registers_say(self) -> None:
        placed = self.placed()
        for start, end, *_ in placed:
            for address in (start, end - 4, end):
                hit = next(((s, slot, n) for s, e, slot, n in placed if s <= address < e), None)
                self.check(address, hit)
        memories = [(r.base, r.end) for r in self.bus.device_memories]
        clear = [
            (start, end)
            for i, (start, end, _, number) in enumerate(placed)
            if number == 2 and not any(s < end and start < e for s, e, *_ in placed[:i])
        ]
        assert sorted(memories) == sorted(clear)
        assert self.told == self.bus.device_memories
        for start, end in memories:
            assert DmaPort(self.bus).view(start, end - start) is not None
            assert DmaPort(self.bus).view(start, end - start + 1) is None

    def check(self, address: int, hit: tuple[int, int, int] | None) -> None:
        """Whether the address reaches that BAR: (its base, slot, number)."""
        if not any(w <= address < w + n for w, n in WINDOWS.items()):
            return
        value = self.bus.read(address, 4)
        if hit is None:
            assert value == ONES
        else:
            base, slot, number = hit
            assert value == self.cards[slot].bars[number][1].read(address - base, 4)


TestEnumeration = Enumeration.TestCase
