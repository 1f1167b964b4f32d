"""Boards: what a machine is made of, as data.

A board is a TOML file: one of `emu/boards/` by its name, or any file by its path. The dataclasses
below say what such a file must hold; a section is a table, sizes are strings like "16GiB". Figures
that follow a product cite it in the file. A file may begin with `base = "edge"`, one of ours, and
then say only what is different; and it may add devices that are not ours, each kind in a table
`[[device]]` (`emu.plugins`).
"""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu import plugins
from emu.errors import AiosError
from emu.tables import Rate, Size, checked

if TYPE_CHECKING:
    from emu.devices.pcie import PciFunction

_BOARDS = Path(__file__).parent / "boards"
DEFAULT = "workstation"
_ONE = Rate(1)


@dataclass(frozen=True)
class MemoryBoard:
    """RAM."""

    size: Size


@dataclass(frozen=True)
class CpuBoard:
    """The harts: their speed, as the picoseconds of virtual time that an instruction costs, and
    how many there are."""

    ps_per_insn: Rate
    harts: Rate = _ONE


@dataclass(frozen=True)
class RtcBoard:
    """The date at power-on."""

    epoch: datetime


@dataclass(frozen=True)
class NvmeBoard:
    """NVMe: how many controllers may be there, and how fast each is."""

    slots: int
    read_mb_s: Rate
    write_mb_s: Rate
    read_iops: Rate
    write_iops: Rate
    read_latency_us: int
    write_latency_us: int
    admin_latency_us: int
    enable_latency_us: int
    burst_us: int
    write_cache: Size
    cmb: Size


@dataclass(frozen=True)
class GpuBoard:
    """GPUs, all alike. `matrix_gflop_s` is the dense bf16 peak; `link_mb_s` is that of the link to
    another GPU (0: there is none, and peers use PCI Express), `host_mb_s` of PCI Express, both in
    one direction; `watchdog` is how many warp instructions a dispatch may execute."""

    count: int
    vram: Size
    compute_units: int
    clock_mhz: int
    matrix_gflop_s: Rate
    memory_mb_s: Rate
    link_mb_s: int
    host_mb_s: Rate
    watchdog: Rate


@dataclass(frozen=True)
class TpuBoard:
    """TPUs, all alike. `host_latency_ns` is a round trip over the host link, whose bandwidth holds
    for each direction."""

    count: int
    rows: int
    columns: int
    clock_mhz: Rate
    buffer: Size
    accumulators: int
    fifo_tiles: int
    weights: Size
    weight_mb_s: Rate
    host_mb_s: Rate
    host_latency_ns: int


@dataclass(frozen=True)
class DeviceBoard:
    """`count` devices of one kind, with what the file says about them."""

    kind: str
    count: int
    device: type[PciFunction]
    parameters: object


@dataclass(frozen=True)
class Board:
    """A whole machine. `name` is the file's stem."""

    name: str
    title: str
    memory: MemoryBoard
    cpu: CpuBoard
    rtc: RtcBoard
    nvme: NvmeBoard
    gpu: GpuBoard
    tpu: TpuBoard
    devices: tuple[DeviceBoard, ...] = ()


def names() -> list[str]:
    """The boards that come with the machine."""
    return sorted(path.stem for path in _BOARDS.glob("*.toml"))


def load(name: str = DEFAULT) -> Board:
    """The board of that name, or in that file; AiosError says what is wrong with it."""
    path = Path(name) if name.endswith(".toml") else _BOARDS / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise AiosError(
            f"There is no board '{name}'; the boards are {', '.join(names())}, or give the path "
            "of a .toml file."
        )
    where = f"The board file {path}"
    table = _read(path, where)
    base = table.pop("base", None)
    if base is not None:
        if base not in names():
            raise AiosError(f"{where} says base = {base!r}; it may be {', '.join(names())}.")
        table = _laid_over(_read(_BOARDS / f"{base}.toml", where), table)
    if "devices" in table:
        raise AiosError(f"{where} has an unknown key 'devices'; write tables [[device]].")
    devices = _devices(table.pop("device", []), path.parent, where)
    return dataclasses.replace(checked(Board, {**table, "name": path.stem}, where), devices=devices)


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AiosError(f"{where} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AiosError(f"{where} is not valid TOML: {error}.") from error


def _laid_over(base: dict[str, Any], table: dict[str, Any]) -> dict[str, Any]:
    """`base` with the keys of `table` in place of its own, section by section."""
    merged = dict(base)
    for key, value in table.items():
        under = base.get(key)
        merged[key] = {**under, **value} if isinstance(under, dict) else value
    return merged


def _devices(tables: object, folder: Path, where: str) -> tuple[DeviceBoard, ...]:
    """The `[[device]]` tables, checked against what each kind of device declares."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise AiosError(f"{where} must write its further devices as tables [[device]].")
    return tuple(_device(dict(table), folder, where) for table in tables)


def _device(table: dict[str, Any], folder: Path, where: str) -> DeviceBoard:
    kind, count = table.pop("kind", None), table.pop("count", 1)
    if not isinstance(kind, str):
        raise AiosError(f"{where} has a [[device]] without a kind; name one, as 'file.py:Class'.")
    if type(count) is not int or count < 0:
        raise AiosError(
            f"{where} says device.count = {count!r}, but it must be a number of at least 0."
        )
    device = plugins.find(kind, folder)
    own = checked(plugins.parameters_of(device), table, where, "device.")
    return DeviceBoard(kind, count, device, own)
