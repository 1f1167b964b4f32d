"""The hart's accesses to memory behind a BAR: as to RAM, in both engines, wherever the BAR is."""

from __future__ import annotations

import pytest

from emu.bus import Bus
from emu.clock import Clock, EventQueue
from emu.cpu.hart import Hart
from emu.cpu.native import NativeEngine
from emu.cpu.reference import ReferenceEngine
from emu.cpu.state import PAGE_SIZE, TLB_ENTRIES
from emu.devices.line import Line
from emu.devices.memory import DeviceMemory
from emu.devices.pcie import HostBridge, PciFunction, Window
from emu.devices.system import System
from emu.isa.assemble import assemble_line
from emu.memory import Memory

RAM, ECAM, LOW = 0x8000_0000, 0x3000_0000, 0x4000_0000
CONFIG = ECAM | 1 << 15
HANDLER = RAM + 0x8000


class Card(PciFunction):
    """A function with 64 KiB behind BAR 2."""

    IDENTITY = (0x1DE5, 0x7777, 0xFF0000, 0)

    def __init__(self, system: System) -> None:
        super().__init__("card", system)
        self.memory = DeviceMemory("card.memory", 0x1_0000)
        self.add_bar(2, 0x2_0000, self.memory)


class Board:
    """RAM, a bridge with the card in it, placed at LOW + 1 MiB, and a hart."""

    def __init__(self, engine: type[NativeEngine] | type[ReferenceEngine]) -> None:
        self.bus = Bus(Memory(RAM, 1 << 20))
        windows = [Window("mem32", LOW, 0x4000_0000)]
        bridge = HostBridge(self.bus, windows, [Line() for _ in range(4)])
        self.card = Card(System(self.bus, EventQueue(Clock())))
        bridge.plug(self.card)
        self.bus.map(ECAM, HostBridge.ECAM_SIZE, bridge)
        self.hart = Hart(self.bus, self.bus.memory)
        self.engine = engine(self.hart)
        self.hart.csr_write(0x305, HANDLER)  # mtvec
        self.place(LOW + 0x10_0000)

    def place(self, base: int) -> None:
        self.bus.write(CONFIG + 0x18, 4, base)
        self.bus.write(CONFIG + 4, 2, 2)

    def run(self, text: str, **registers: int) -> dict[str, int]:
        """Execute a program up to its end; all registers by number."""
        pc = RAM
        for line in text.split(";"):
            code = assemble_line(line.strip(), pc)
            self.bus.memory.view(pc, len(code))[:] = code
            pc += len(code)
        self.hart.fence_i()
        self.hart.state.pc = RAM
        for name, value in registers.items():
            self.hart.state.x[int(name[1:])] = value
        self.hart.breakpoints = {pc, HANDLER}
        while self.hart.state.pc not in self.hart.breakpoints:
            self.engine.run(10_000)
        return {f"x{i}": self.hart.state.x[i] for i in range(32)}


@pytest.fixture(params=[NativeEngine, ReferenceEngine])
def board(request: pytest.FixtureRequest) -> Board:
    return Board(request.param)


BASE = LOW + 0x10_0000


def test_loads_and_stores_of_every_size_and_alignment(board: Board) -> None:
    text = "sd x6, 0(x5); lw x7, 3(x5); sh x6, 1999(x5); ld x8, 1996(x5); lbu x9, 2000(x5)"
    found = board.run(text, x5=BASE, x6=0x1122_3344_5566_7788)
    assert found["x7"] == 0x2233_4455
    assert (found["x8"] >> 24 & 0xFFFF, found["x9"]) == (0x7788, 0x77)
    assert board.card.memory.bytes[1999:2001] == b"\x88\x77"


def test_an_access_across_a_page_of_device_memory(board: Board) -> None:
    found = board.run("sd x6, 0(x5); ld x7, 0(x5)", x5=BASE + PAGE_SIZE - 3, x6=0x0102030405060708)
    assert found["x7"] == 0x0102030405060708
    assert board.card.memory.bytes[PAGE_SIZE - 3] == 8


def test_atomics_and_reservations_work_in_device_memory(board: Board) -> None:
    text = "amoadd.w x7, x6, (x5); lr.d x8, (x5); sc.d x9, x6, (x5); ld x10, 0(x5)"
    found = board.run(text, x5=BASE + 64, x6=5)
    assert (found["x7"], found["x8"], found["x9"], found["x10"]) == (0, 5, 0, 5)


def test_behind_the_memory_nothing_answers(board: Board) -> None:
    found = board.run("sd x6, 0(x5); ld x7, 0(x5)", x5=BASE + 0x1_0000, x6=5)
    assert found["x7"] == (1 << 64) - 1


def test_code_in_device_memory_is_executed(board: Board) -> None:
    board.card.memory.bytes[0:8] = assemble_line("addi x7, x0, 42") + assemble_line("jr x1")
    assert board.run("jalr x1, 0(x5); addi x8, x7, 1", x5=BASE)["x8"] == 43


def test_a_moved_bar_is_found_at_its_new_place_and_gone_from_the_old(board: Board) -> None:
    # x5: memory, x6: where it goes, x11: configuration space
    text = (
        "ld x7, 0(x5); sd x7, 8(x5); sw x6, 0x18(x11); ld x8, 0(x5); ld x9, 0(x6); sd x6, 0(x5);"
        "ld x10, 8(x6); sh x0, 4(x11); ld x12, 0(x6)"
    )
    board.card.memory.write(0, 8, 77)
    found = board.run(text, x5=BASE, x6=BASE + 0x10_0000, x11=CONFIG)
    nothing = (1 << 64) - 1
    assert (found["x7"], found["x8"], found["x9"]) == (77, nothing, 77)
    assert (found["x10"], found["x12"]) == (77, nothing)
    assert board.card.memory.read(0, 8) == 77


def test_device_memory_is_entered_in_the_translation_buffers() -> None:
    board = Board(NativeEngine)
    board.run("sd x6, 0(x5); ld x7, 0(x5)", x5=BASE, x6=5)
    entry = 2 * (BASE // PAGE_SIZE % TLB_ENTRIES)
    for buffer in (board.hart.state.load_tlb, board.hart.state.store_tlb):
        assert buffer[entry] == BASE | board.hart.state.data_context
    before = board.bus.accesses
    loop = f"addi x7, x0, 1000; sd x7, 8(x5); addi x7, x7, -1; bne x7, x0, {RAM + 4}"
    board.run(loop, x5=BASE)
    assert board.bus.accesses == before
    assert board.card.memory.read(8, 8) == 1
