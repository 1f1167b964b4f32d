"""What each instruction of the table does: its checks, its place in the schedule, its effect.

Results are computed at once, in the order of the program; the schedule says when. That is sound
because the units' interlock makes overlap invisible, and because what the host can see is done
later: an instruction that reads or writes the host's memory only gives the cycle at which it is
done, and `finish` has its effect then.

A handler gets the executor and the decoded instruction, checks everything before it changes
anything (ProgramError), and returns None or that cycle.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from emu.devices.dma import DmaPort
from emu.devices.memory import DeviceMemory
from emu.devices.tpu.activation import SIZES, Form, Scaling, Shape, activate
from emu.devices.tpu.core import PAGE, Core, Tile, address_of, width_of
from emu.devices.tpu.declare import Instruction, Unit
from emu.devices.tpu.errors import Code, ProgramError
from emu.devices.tpu.isa import TABLE
from emu.devices.tpu.matrix import Product, multiply
from emu.devices.tpu.timing import Access, Schedule

_TAG_BYTES = 4
_WAITED = tuple(unit for unit in Unit if unit is not Unit.CONTROL)


class Executor:
    """Works through instructions for a device: its state, its clock, its memories."""

    def __init__(self, core: Core, schedule: Schedule, weights: DeviceMemory, dma: DmaPort) -> None:
        self.core, self.schedule = core, schedule
        self.weights, self.dma = weights, dma

    def start(self, instruction: Instruction) -> int | None:
        """Execute it, or, where the host takes part, schedule it: gives the cycle for `finish`."""
        return START[instruction.declaration.mnemonic](self, instruction)

    def finish(self, instruction: Instruction) -> None:
        """The part of a transfer that the host sees."""
        FINISH[instruction.declaration.mnemonic](self, instruction)


Handler = Callable[[Executor, Instruction], "int | None"]
START: dict[str, Handler] = {}
FINISH: dict[str, Callable[[Executor, Instruction], None]] = {}


def _starts(*mnemonics: str) -> Callable[[Handler], Handler]:
    def bind(handler: Handler) -> Handler:
        START.update(dict.fromkeys(mnemonics, handler))
        return handler

    return bind


# --- control -----------------------------------------------------------------------------------


@_starts("nop", "debug")
def _nop(x: Executor, i: Instruction) -> int | None:
    x.schedule.control()
    return None


@_starts("set")
def _set(x: Executor, i: Instruction) -> int | None:
    x.core.set(i["setting"], i["value"])
    x.schedule.control()
    return None


@_starts("sync")
def _sync(x: Executor, i: Instruction) -> int | None:
    x.schedule.wait(unit for bit, unit in enumerate(_WAITED) if i["units"] >> bit & 1)
    return None


@_starts("halt", "wait_host")
def _stand_still(x: Executor, i: Instruction) -> int | None:
    return x.schedule.wait(_WAITED)


@_starts("interrupt")
def _interrupt(x: Executor, i: Instruction) -> int | None:
    x.schedule.wait(_WAITED)
    return x.schedule.transfer(Unit.OUTPUT, _TAG_BYTES)


# --- host memory -------------------------------------------------------------------------------


def _lines(x: Executor, i: Instruction) -> tuple[int, int, int]:
    """Of a transfer of rows: how many, bytes of each in memory, and from one to the next."""
    rows, width = i["rows"], x.core.setting("row_bytes") or x.core.row_bytes
    pitch = x.core.setting("host_pitch") or width
    if not rows:
        raise ProgramError(Code.LENGTH, rows)
    if width > x.core.row_bytes:
        raise ProgramError(Code.SETTING, width)
    if i.declaration.unit is Unit.OUTPUT and pitch < width:  # rows would overwrite each other
        raise ProgramError(Code.SETTING, pitch)
    return rows, width, pitch


def _host(x: Executor, i: Instruction) -> NDArray[np.uint8]:
    """The rows in memory themselves."""
    rows, width, pitch = _lines(x, i)
    view = x.dma.view(i["host"], (rows - 1) * pitch + width)
    if view is None:
        raise ProgramError(Code.DMA, i["host"])
    return as_strided(np.frombuffer(view, np.uint8), (rows, width), (pitch, 1))


@_starts("read_host", "write_host")
def _move(x: Executor, i: Instruction) -> int | None:
    rows, width, _ = _lines(x, i)
    x.core.rows(i["buffer"], rows)
    _host(x, i)
    unit = i.declaration.unit
    span = Access("u", i["buffer"], i["buffer"] + rows, write=unit is Unit.INPUT)
    return x.schedule.transfer(unit, rows * width, span)


def _finish_read(x: Executor, i: Instruction) -> None:
    host = _host(x, i)
    target = x.core.buffer[i["buffer"] : i["buffer"] + len(host)]
    target[:, : host.shape[1]] = host
    target[:, host.shape[1] :] = 0


def _finish_write(x: Executor, i: Instruction) -> None:
    host = _host(x, i)
    host[...] = x.core.buffer[i["buffer"] : i["buffer"] + len(host), : host.shape[1]]


def _pages(x: Executor, i: Instruction) -> tuple[memoryview, memoryview]:
    """Where pages come from, and where in the weight memory they go."""
    start, size = i["page"] * PAGE, i["pages"] * PAGE
    if not size:
        raise ProgramError(Code.LENGTH, 0)
    if start + size > x.weights.size:
        raise ProgramError(Code.WEIGHT_ADDRESS, start)
    view = x.dma.view(i["host"], size)
    if view is None:
        raise ProgramError(Code.DMA, i["host"])
    return view, x.weights.view(start, size)


@_starts("load_weights")
def _load_weights(x: Executor, i: Instruction) -> int | None:
    source, _ = _pages(x, i)
    return x.schedule.transfer(Unit.INPUT, len(source))


def _finish_load(x: Executor, i: Instruction) -> None:
    source, target = _pages(x, i)
    target[:] = source


FINISH.update(read_host=_finish_read, write_host=_finish_write, load_weights=_finish_load)


# --- the matrix unit ---------------------------------------------------------------------------


@_starts("read_weights")
def _read_weights(x: Executor, i: Instruction) -> int | None:
    board, form, at = x.core.board, i.name_of("format"), i["weight"]
    size = board.rows * board.columns * width_of(form)
    if at + size > x.weights.size:
        raise ProgramError(Code.WEIGHT_ADDRESS, at)
    data = np.frombuffer(bytes(x.weights.view(at, size)), np.uint8)
    x.core.push(Tile(form, data), at)
    x.schedule.fetch(size, width_of(form))
    return None


@_starts("matmul")
def _matmul(x: Executor, i: Instruction) -> int | None:
    count, width = x.core.extent(i["length"]), width_of(i.name_of("format"))
    end = x.core.vectors(i["buffer"], (count,), (1,), width)
    inputs = x.core.rows(i["buffer"], end - i["buffer"])
    _product(x, i, count, inputs, Access("u", i["buffer"], end, write=False))
    return None


@_starts("convolve")
def _convolve(x: Executor, i: Instruction) -> int | None:
    core, width = x.core, width_of(i.name_of("format"))
    extents = i["height"], i["width"]
    steps = core.setting("in_pitch"), core.setting("in_step")
    count = core.extent(*extents)
    end = core.vectors(i["buffer"], extents, steps, width)
    rows = core.rows(i["buffer"], end - i["buffer"])
    if steps[1] != 1 or (steps[0] != extents[1] and extents[0] > 1):
        size = width * core.row_bytes
        grid = as_strided(
            core.buffer[i["buffer"] :], (*extents, size), (steps[0] * size, steps[1] * size, 1)
        )
        gathered = np.ascontiguousarray(grid)
        rows = address_of(gathered)
    _product(x, i, count, rows, Access("u", i["buffer"], end, write=False))
    return None


def _product(x: Executor, i: Instruction, count: int, inputs: int, read: Access) -> None:
    """`count` vectors, one behind the other at a host address, times a tile."""
    core, board, form = x.core, x.core.board, i.name_of("format")
    first = i["accumulator"]
    sums = core.sums(first, count)
    tile = core.take(form, following=bool(i["next"]))
    width, wide = width_of(form), width_of(tile.format)
    product = Product(
        count, board.rows, board.columns, width * core.row_bytes, form, tile.format,
        bool(i["accumulate"]),
    )  # fmt: skip
    multiply(product, sums, inputs, address_of(tile.data))
    written = Access("a", first, first + count, write=True)
    x.schedule.multiply(count, width * wide, bool(i["next"]), read, written)


# --- the activation unit -----------------------------------------------------------------------


def _windows(core: Core, i: Instruction, height: int, width: int) -> tuple[Shape, int]:
    """Which accumulators results are made of: distances, and how many from the first to the last.
    The unified buffer's part of the shape is left 0."""
    columns = core.board.columns
    if i.name_of("pool") == "none":
        return Shape(height, width, columns, 0, 0, width, 1), height * width
    names = "pool_height", "pool_width", "pool_stride_y", "pool_stride_x"
    window_y, window_x, stride_y, stride_x = (core.setting(name) for name in names)
    pitch = core.setting("pool_pitch")
    shape = Shape(
        height, width, columns, 0, 0, stride_y * pitch, stride_x, window_y, window_x, pitch
    )
    last_row = (height - 1) * stride_y + window_y - 1
    return shape, last_row * pitch + (width - 1) * stride_x + window_x


@_starts("activate")
def _activate(x: Executor, i: Instruction) -> int | None:
    core, board, result = x.core, x.core.board, i.name_of("result")
    form = Form(result, i.name_of("function"), i.name_of("pool"), bool(i["bias"]))
    if form.tabled and result == "i32":
        raise ProgramError(Code.FORMAT, i["result"])
    extents = i["height"], i["width"]
    count, rows = core.extent(*extents), SIZES[result]
    step = core.setting("out_step")
    steps = core.setting("out_pitch") or extents[1] * step, step
    end = core.vectors(i["buffer"], extents, steps, rows)
    windows, reach = _windows(core, i, *extents)
    sums = core.sums(i["accumulator"], reach)
    accesses = [
        Access("u", i["buffer"], end, write=True),
        Access("a", i["accumulator"], i["accumulator"] + reach, write=False),
    ]
    bias = 0
    if form.bias:
        first, size = core.setting("bias"), -(-4 * board.columns // core.row_bytes)
        core.rows(first, size)
        held = core.buffer[first : first + size].copy()  # the results may lie over it
        bias = address_of(held)
        accesses.append(Access("u", first, first + size, write=False))
    scaling = Scaling(
        core.setting("multiplier", signed=True), core.setting("shift"),
        core.setting("zero", signed=True), core.setting("scale"),
    )  # fmt: skip
    vector = rows * core.row_bytes
    shape = Shape(**{**vars(windows), "out_y": steps[0] * vector, "out_x": steps[1] * vector})
    if board.columns < core.row_bytes:
        out = core.buffer[i["buffer"] :].reshape(-1)
        as_strided(out, (*extents, vector), (shape.out_y, shape.out_x, 1))[...] = 0
    activate(form, shape, scaling, sums, core.rows(i["buffer"], end - i["buffer"]), bias)
    x.schedule.activate(max(count * rows, _read(form, shape)), *accesses)
    return None


def _read(form: Form, shape: Shape) -> int:
    """Accumulator rows that are read, a cycle each: those of a window, for every window."""
    return shape.height * shape.width * shape.window_y * shape.window_x


if set(START) != set(TABLE):
    raise TypeError(f"no execution, or no declaration, of {sorted(set(START) ^ set(TABLE))}")
