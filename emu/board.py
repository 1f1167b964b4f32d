"""Boards: what a machine is made of, as data.

A board is a TOML file: one of `emu/boards/` by its name, or any file by its path. The dataclasses
below say what such a file must hold; a section is a table, sizes are strings like "16GiB". Figures
that follow a product cite it in the file.
"""

from __future__ import annotations

import dataclasses
import re
import tomllib
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NewType, get_type_hints

from emu.errors import AiosError

Size = NewType("Size", int)
"""Bytes; written as a number with a unit in board files."""

Rate = NewType("Rate", int)
"""A number of at least 1: time is computed by dividing by it, or by adding it up."""

_BOARDS = Path(__file__).parent / "boards"
_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DEFAULT = "workstation"


@dataclass(frozen=True)
class MemoryBoard:
    """RAM."""

    size: Size


@dataclass(frozen=True)
class CpuBoard:
    """The hart's speed: picoseconds of virtual time that an instruction costs."""

    ps_per_insn: Rate


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
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AiosError(f"The board file {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise AiosError(f"The board file {path} is not valid TOML: {error}.") from error
    board = _section(Board, {**table, "name": path.stem}, f"The board file {path}", "")
    assert isinstance(board, Board)
    return board


def parse_size(text: str) -> Size:
    """`"16GiB"` in bytes; ValueError if it is no size."""
    match = re.fullmatch(r"(\d+)([KMGT]i)?B", text.replace(" ", ""))
    if match is None:
        raise ValueError(text)
    return Size(int(match[1]) * _UNITS[f"{match[2] or ''}B"])


def _section(kind: type, table: dict[str, Any], where: str, prefix: str) -> object:
    """`table` as an instance of the dataclass `kind`; every key must be there and no other."""
    hints = get_type_hints(kind)
    expected = [field.name for field in dataclasses.fields(kind)]
    for key in table:
        if key not in expected:
            raise AiosError(f"{where} has an unknown key '{prefix}{key}'.")
    for key in expected:
        if key not in table:
            raise AiosError(f"{where} lacks '{prefix}{key}'.")
    return kind(**{k: _value(hints[k], table[k], where, prefix + k) for k in expected})


def _value(kind: Any, value: object, where: str, key: str) -> object:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, dict):
            return _section(kind, value, where, f"{key}.")
        raise AiosError(f"{where} must have a table [{key}], but '{key}' is {value!r}.")
    if kind is Size:
        try:
            return parse_size(str(value))
        except ValueError:
            raise AiosError(f"{where} says {key} = {value!r}; write a size like '1GiB'.") from None
    least, kind = (1, int) if kind is Rate else (0, kind)
    if type(value) is not kind or (isinstance(value, int) and value < least):
        what = {int: f"a number of at least {least}", str: "a string", datetime: "a date and time"}[
            kind
        ]
        raise AiosError(f"{where} says {key} = {value!r}, but it must be {what}.")
    return value
