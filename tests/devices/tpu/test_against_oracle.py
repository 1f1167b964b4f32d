"""Random programs on the device and on a machine of a few lines of NumPy: every byte of the unified
buffer and of the accumulators is the same in the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emu.devices.tpu.declare import FORMATS, FUNCTIONS, POOLS, encode
from tests.devices.tpu.conftest import DATA, SMALL, Driver
from tests.devices.tpu.oracle import BITS, TYPES, activated, draw, pooled, products

ROWS, COLUMNS, WIDTH = SMALL.rows, SMALL.columns, max(SMALL.rows, SMALL.columns)
USED = 4000  # rows of the unified buffer that programs name
INTEGERS = FORMATS[:3]
SETTINGS = {
    "in_step": 3, "in_pitch": 9, "out_step": 3, "out_pitch": 9, "pool_pitch": 9,
    "pool_height": 3, "pool_width": 3, "pool_stride_y": 3, "pool_stride_x": 3,
    "shift": 12, "multiplier": 200, "zero": 100,
}  # fmt: skip
RESET = dict.fromkeys(SETTINGS, 1) | {"out_pitch": 0, "shift": 0, "zero": 0}


class Oracle:
    """The TPU's state and what instructions do to it, as the manual says it."""

    def __init__(self, weights: bytes) -> None:
        self.weights = weights
        self.buffer = np.zeros((USED, WIDTH), np.uint8)
        self.sums = np.zeros((SMALL.accumulators, COLUMNS), np.int32)
        self.set: dict[str, int] = dict(RESET)
        self.fifo: list[tuple[str, Any]] = []
        self.tile: tuple[str, Any] = ("", None)

    def vectors(self, first: int, places: list[int], form: str) -> Any:
        size = BITS[form] // 8
        rows = [self.buffer[first + p * size : first + (p + 1) * size].reshape(-1) for p in places]
        return np.stack(rows).view(TYPES[form])[:, :ROWS]

    def read_weights(self, weight: int, format: str) -> None:
        size = ROWS * COLUMNS * BITS[format] // 8
        data = np.frombuffer(self.weights[weight : weight + size], TYPES[format])
        self.fifo.append((format, data.reshape(ROWS, COLUMNS)))

    def convolve(
        self, accumulator: int, buffer: int, height: int, width: int, format: str, **flags: int
    ) -> None:
        pitch, step = self.set["in_pitch"], self.set["in_step"]
        places = [y * pitch + x * step for y in range(height) for x in range(width)]
        self.multiply(accumulator, self.vectors(buffer, places, format), format, **flags)

    def matmul(self, accumulator: int, buffer: int, length: int, format: str, **flags: int) -> None:
        inputs = self.vectors(buffer, list(range(length)), format)
        self.multiply(accumulator, inputs, format, **flags)

    def multiply(self, first: int, x: Any, form: str, next: int, accumulate: int) -> None:
        if next:
            self.tile = self.fifo.pop(0)
        total = products(x, self.tile[1], form, self.tile[0])
        target = self.sums[first : first + len(x)].view(total.dtype)
        target[...] = target + total if accumulate else total

    def activate(
        self, buffer: int, accumulator: int, height: int, width: int, function: str, result: str,
        pool: str,
    ) -> None:  # fmt: skip
        s = self.set
        sums = self.sums.view(np.float32 if result in ("bf16", "f32") else np.int32)[accumulator:]
        if pool == "none":
            t = sums[: height * width].reshape(height, width, COLUMNS)
        else:
            t = np.empty((height, width, COLUMNS), sums.dtype)
            extent = s["pool_height"], s["pool_width"]
            for y in range(height):
                for x in range(width):
                    first = y * s["pool_stride_y"] * s["pool_pitch"] + x * s["pool_stride_x"]
                    rows = [
                        sums[first + i * s["pool_pitch"] :][: extent[1]] for i in range(extent[0])
                    ]
                    t[y, x] = pooled(np.stack(rows), pool, extent, (1, 1))[0, 0]
        out = activated(t, function, result, s["multiplier"], s["shift"], s["zero"], 1.0)
        size = BITS[result] // 8
        pitch = s["out_pitch"] or width * s["out_step"]
        for y in range(height):
            for x in range(width):
                at = buffer + (y * pitch + x * s["out_step"]) * size
                row = np.zeros(WIDTH * size, np.uint8)
                row[: COLUMNS * size] = np.ascontiguousarray(out[y, x]).view(np.uint8)
                self.buffer[at : at + size] = row.reshape(size, WIDTH)


PLACE = {"buffer": st.integers(0, 200), "accumulator": st.integers(0, 40)}
GRID = {"height": st.integers(1, 6), "width": st.integers(1, 6)}


@st.composite
def programs(draw: st.DrawFn, floats: bool) -> list[tuple[str, dict[str, Any]]]:
    """Instructions that are right, with their operands."""
    forms = ("bf16",) if floats else INTEGERS
    results = ("bf16",) if floats else ("i8", "u8", "i16", "i32")
    form = st.sampled_from(forms)
    program: list[tuple[str, dict[str, Any]]] = []
    for number in range(draw(st.integers(3, 16))):
        kind = draw(st.sampled_from(["matmul", "convolve", "activate", "activate", "set"]))
        chosen: dict[str, Any] = {}
        if kind == "set":
            name = draw(st.sampled_from(list(SETTINGS)))
            least = 0 if name in ("shift", "zero", "in_step", "pool_pitch") else 1
            chosen = {"setting": name, "value": draw(st.integers(least, SETTINGS[name]))}
        elif kind == "activate":
            chosen = {k: draw(v) for k, v in {**PLACE, **GRID}.items()}
            chosen["result"] = draw(st.sampled_from(results))
            chosen["pool"] = draw(st.sampled_from(POOLS))
            names = FUNCTIONS[:2] if chosen["result"] == "i32" else FUNCTIONS
            chosen["function"] = draw(st.sampled_from(names))
        else:
            following = number == 0 or draw(st.booleans()) or not program
            if following or not any(k in ("matmul", "convolve") for k, _ in program):
                at = {"weight": draw(st.integers(0, 4096)), "format": draw(form)}
                program.append(("read_weights", at))
                chosen["next"] = 1
            chosen |= {k: draw(v) for k, v in PLACE.items()} | {"format": draw(form)}
            chosen |= {"next": chosen.get("next", 0), "accumulate": draw(st.integers(0, 1))}
            extents = GRID if kind == "convolve" else {"length": st.integers(1, 40)}
            chosen |= {k: draw(v) for k, v in extents.items()}
        program.append((kind, chosen))
    return program


@pytest.mark.parametrize("floats", [False, True])
@given(data=st.data(), seed=st.integers(0, 1 << 30))
@settings(max_examples=60, deadline=None)
def test_device_and_oracle_agree_to_the_bit(floats: bool, data: st.DataObject, seed: int) -> None:
    rng = np.random.default_rng(seed)
    form = "bf16" if floats else "u8"
    weights = draw(rng, form, 6000).tobytes()
    inputs = draw(rng, form, 600, WIDTH * 8 // BITS[form])
    oracle, driver = Oracle(weights), SHARED[0] if SHARED else Driver(SMALL, ram=4 << 20)
    SHARED[:] = [driver]
    driver.reset()
    driver.tpu.core.buffer[:] = 0
    driver.tpu.core.accumulators[:] = 0
    driver.tpu.weights.view(0, len(weights))[:] = weights
    driver.put(DATA, inputs)
    oracle.buffer[:600] = inputs.view(np.uint8)
    code = encode("read_host", host=DATA, rows=600)
    for mnemonic, chosen in data.draw(programs(floats)):
        code += encode(mnemonic, **chosen)
        if mnemonic == "set":
            oracle.set[chosen["setting"]] = chosen["value"]
        else:
            with np.errstate(all="ignore"):
                getattr(oracle, mnemonic)(**chosen)
    driver.run(code)
    assert np.array_equal(driver.tpu.core.buffer[:USED], oracle.buffer)
    kind = np.float32 if floats else np.int32
    got, expected = (a.view(kind) for a in (driver.tpu.core.accumulators, oracle.sums))
    assert np.array_equal(got, expected, equal_nan=floats)


SHARED: list[Driver] = []
