"""Two of the applications of Jouppi et al., ISCA 2017, as programs for the TPU: MLP0 and CNN0.

The paper says of them (table 1): MLP0 has 5 fully connected layers, 20M weights, batch 200; CNN0 16
convolutional layers, 8M weights, batch 8, and 2888 operations for each byte of weights, which is 8
images of 19 by 19. What it does not say is taken as plainly as possible:

* MLP0: five layers of 2000 by 2000, 8 by 8 tiles each. CNN0: 256 channels, an array's width; 13
  layers of 3 by 3 taps and 3 of 1 by 1 are the 16 layers that come nearest to 8M weights (120
  tiles), the latter at the end, where such networks turn features into a decision for each place.
* A batch comes in, is computed, and goes out; then the next one. Transfers are in whole rows of the
  unified buffer, one instruction for each 256 features (MLP0) or image (CNN0, with the border of
  zeros that its taps reach into). Results of the last layer keep 16 bits; of CNN0's they are one
  channel.
* Layers are separated by `sync`, since "the activations for one network layer must complete before
  the matrix multiplications of the next layer can begin". All sums of a layer fit into the
  accumulators, so they are activated at its end, by as few instructions as can name their places.
  Weights are asked for as early as the FIFO allows.
"""

from __future__ import annotations

from collections.abc import Iterator

from emu.devices.tpu.declare import SIZE
from emu.devices.tpu.text import assemble_line

SIDE = 256
"""Rows and columns of the array, bytes of a row of the unified buffer."""
TILE = SIDE * SIDE
FIFO = 4
SHIFT = 10
"""By how much sums are shifted right to make 8 bits."""


def _weights(tiles: int) -> Iterator[str]:
    """Requests for tiles, one after the other through the weight memory."""
    return (f"read_weights {i * TILE:#x}, i8" for i in range(tiles))


def _with_weights(products: list[list[str]], weights: Iterator[str]) -> Iterator[str]:
    """Products in groups, a group for each tile: the request for the tile `FIFO` further on comes
    behind the first product that uses one."""
    for group in products:
        yield group[0]
        yield from (w for w in [next(weights, None)] if w is not None)
        yield from group[1:]


def mlp0(
    source: int, target: int, layers: int = 5, features: int = 2000, batch: int = 200
) -> bytes:
    """A batch from `source` to `target`, both bus addresses. In memory as in the unified buffer
    features lie in blocks of `SIDE`, one behind the other, each for the whole batch."""
    blocks = -(-features // SIDE)
    area = blocks * batch  # rows of the unified buffer for a layer's inputs
    weights = _weights(layers * blocks * blocks)
    lines = [next(weights) for _ in range(FIFO)]
    lines += [
        f"read_host u{k * batch}, {source + k * batch * SIDE:#x}, {batch}" for k in range(blocks)
    ]
    lines.append(f"set shift, {SHIFT}")
    for layer in range(layers):
        here, there = layer % 2 * area, (layer + 1) % 2 * area
        products = [
            [f"matmul a{n * batch}, u{here + k * batch}, {batch}, i8, next{_added(k)}"]
            for k in range(blocks)
            for n in range(blocks)
        ]
        lines += ["sync input|activation", *_with_weights(products, weights)]
        if layer + 1 < layers:
            lines.append(f"activate u{there}, a0, 1, {area}, relu, i8, none")
    lines += [f"activate u{2 * area}, a0, 1, {area}, identity, i16, none", "sync activation"]
    lines += [
        f"write_host u{2 * (area + n * batch)}, {target + 2 * n * batch * SIDE:#x}, {2 * batch}"
        for n in range(blocks)
    ]
    return _assembled([*lines, "interrupt 1"])


def cnn0(
    source: int, target: int, side: int = 19, batch: int = 8, wide: int = 13, narrow: int = 3
) -> bytes:
    """A batch from `source` to `target`. Images, `SIDE` channels a place, have a border of 1 in
    memory and in the unified buffer; of the results, 2 bytes are written for every row of the
    unified buffer, of which the first of two has channel 0."""
    pitch, places = side + 2, side * side
    image, area = pitch * pitch, batch * pitch * pitch
    weights = _weights(wide * 9 + narrow)
    lines = [next(weights) for _ in range(FIFO)]
    lines += [f"set in_pitch, {pitch}", f"set out_pitch, {pitch}", f"set shift, {SHIFT}"]
    lines += [
        f"read_host u{i * image}, {source + i * image * SIDE:#x}, {image}" for i in range(batch)
    ]
    extent = f"{side}, {side}"
    for layer in range(wide + narrow):
        here, there = layer % 2 * area, (layer + 1) % 2 * area
        taps = [y * pitch + x for y in range(3) for x in range(3)] if layer < wide else [pitch + 1]
        products = [
            [
                f"convolve a{i * places}, u{here + i * image + tap}, {extent}, i8"
                f"{', next' * (i == 0)}{_added(number)}"
                for i in range(batch)
            ]
            for number, tap in enumerate(taps)
        ]
        lines += ["sync input|activation", *_with_weights(products, weights)]
        inside = there + pitch + 1
        if layer + 1 < wide + narrow:
            lines += [
                f"activate u{inside + i * image}, a{i * places}, {extent}, relu, i8, none"
                for i in range(batch)
            ]
    lines += [f"activate u{2 * area}, a0, 1, {batch * places}, identity, i16, none"]
    lines += ["sync activation", "set row_bytes, 2"]
    lines += [
        f"write_host u{2 * (area + i * places)}, {target + 4 * i * places:#x}, {2 * places}"
        for i in range(batch)
    ]
    return _assembled([*lines, "interrupt 1"])


def _added(number: int) -> str:
    """The first product for some accumulators replaces what they hold."""
    return ", accumulate" * (number > 0)


def _assembled(lines: list[str]) -> bytes:
    code = b"".join(assemble_line(line) for line in lines)
    assert len(code) % SIZE == 0
    return code
