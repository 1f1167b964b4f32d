"""Devices from elsewhere: found by kind, checked like the rest of a board, plugged in."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import board
from emu.console import MemoryConsole
from emu.errors import AiosError
from emu.machine import Machine

DEVICE = """
from dataclasses import dataclass
from emu.devices.pcie import PciFunction
from emu.tables import Rate, Size

@dataclass(frozen=True)
class Parameters:
    speed: Rate
    memory: Size = Size(4096)
    fast: bool = False
    ratio: float = 0.5

class Card(PciFunction):
    IDENTITY = (0x1DE5, 0x4242, 0x120000, 0)
    Parameters = Parameters

    def __init__(self, name, system, parameters):
        super().__init__(name, system)
        self.parameters = parameters

class Tpu(Card):
    pass

class Plain(PciFunction):
    IDENTITY = (0x1DE5, 0x4243, 0x120000, 0)

plain = 5
"""


@pytest.fixture
def load(tmp_path: Path):
    """The board of a file with these lines behind its base."""
    (tmp_path / "cards.py").write_text(DEVICE)
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")

    def make(text: str) -> board.Board:
        path = tmp_path / "mine.toml"
        path.write_text(f'base = "edge"\ntitle = "mine"\n{text}')
        return board.load(str(path))

    return make


def test_a_board_over_another_says_only_what_is_different(load) -> None:
    mine, edge = load("[memory]\nsize = '2GiB'\n[tpu]\nrows = 8"), board.load("edge")
    assert (mine.name, mine.memory.size, mine.tpu.rows) == ("mine", 2 << 30, 8)
    assert (mine.tpu.columns, mine.nvme) == (edge.tpu.columns, edge.nvme)


def test_devices_are_made_with_their_parameters(load) -> None:
    mine = load(
        "[[device]]\nkind = 'cards.py:Card'\ncount = 2\nspeed = 7\n"
        "[[device]]\nkind = 'cards.py:Card'\nspeed = 8\nmemory = '1MiB'\nfast = true\nratio = 1"
    )
    with Machine(mine, kernel=None, bios=bytes(8), console=MemoryConsole()) as machine:
        cards = [machine.devices[f"card{i}"] for i in range(3)]
        assert [card.parameters.speed for card in cards] == [7, 7, 8]
        assert (cards[2].parameters.memory, cards[2].parameters.fast) == (1 << 20, True)
        slots = [f.name for f in machine.platform.bridge.functions.values()]
        assert slots[-3:] == ["card0", "card1", "card2"]
        saved = machine.snapshot()
        machine.restore(saved)


def test_a_device_without_parameters_is_made_with_name_and_system(load) -> None:
    mine = load("[[device]]\nkind = 'cards.py:Plain'\ncount = 2")
    with Machine(mine, kernel=None, bios=bytes(8), console=MemoryConsole()) as machine:
        assert {"plain0", "plain1"} <= set(machine.devices)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("kind = 'cards.py:Card'", "lacks 'device.speed'"),
        ("kind = 'cards.py:Card'\nspeed = 0", "device.speed = 0, but it must be a number of at l"),
        ("kind = 'cards.py:Card'\nspeed = 1\nfast = 1", "device.fast = 1, but it must be true or"),
        ("kind = 'cards.py:Card'\nspeed = 1\nx = 1", "has an unknown key 'device.x'"),
        (
            "kind = 'cards.py:Card'\nspeed = 1\ncount = -1",
            "device.count = -1, but it must be a number of at least 0",
        ),
        ("kind = 'cards.py:Nothing'", "has no class 'Nothing'"),
        ("kind = 'cards.py:plain'", "is 5, but it must be a PciFunction class"),
        ("kind = 'none.py:Card'", "none.py is not there, or is no Python file"),
        ("kind = 'broken.py:Card'", "cannot be loaded: ModuleNotFoundError"),
        ("kind = 'toaster'", "There is no device 'toaster'"),
        ("speed = 1", "has a .*device.* without a kind"),
    ],
)
def test_mistakes_are_named(load, text: str, sentence: str) -> None:
    with pytest.raises(AiosError, match=sentence):
        load(f"[[device]]\n{text}")


def test_other_shapes_are_refused(load) -> None:
    with pytest.raises(AiosError, match=r"must write its further devices as tables \[\[device\]\]"):
        load("device = 5")
    with pytest.raises(AiosError, match=r"unknown key 'devices'; write tables \[\[device\]\]"):
        load("[[devices]]\nkind = 'x'")


def test_too_many_devices_find_no_slot(load) -> None:
    mine = load("[[device]]\nkind = 'cards.py:Card'\ncount = 31\nspeed = 1")
    with pytest.raises(AiosError, match="card30 finds no free PCIe slot"):
        Machine(mine, bios=bytes(8), console=MemoryConsole())


def test_a_name_that_is_taken_is_refused(load) -> None:
    with pytest.raises(AiosError, match="Two devices are called tpu0; name the class otherwise"):
        Machine(
            load("[[device]]\nkind = 'cards.py:Tpu'\nspeed = 1"),
            bios=bytes(8),
            console=MemoryConsole(),
        )
