"""Tensors as values in Kern: against NumPy on the machine, and what is refused."""

from __future__ import annotations

import struct
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from emu.cpu.tensor import attributes
from emu.isa import TABLE
from emu.isa.xaitensor import TENSORS
from toolchain.cli.test import run_on_machine
from toolchain.kern import testing
from toolchain.kern.compile import analyse, tensor_library
from toolchain.kern.diagnostics import KernErrors, Source
from toolchain.kern.tensorlib import functions
from toolchain.kern.types import DESCRIPTOR, F32, TENSOR, Tensor, offset_of, size_of

Array = NDArray[np.float32]

X = np.array([[0.5, -1.0, 2.0], [3.0, 0.25, -4.0]], np.float32)
Y = np.array([[1.0, 2.0], [-3.0, 0.5], [4.0, -1.5]], np.float32)
V = np.array([10.0, -20.0, 0.125], np.float32)


def softmax(x: Array, axis: int) -> Array:
    powers = np.exp(x - x.max(axis, keepdims=True))
    return np.asarray(powers / powers.sum(axis, keepdims=True))


EXPRESSIONS: dict[str, Callable[[], NDArray[np.generic]]] = {
    "x @ y": lambda: X @ Y,
    "x @ y + 1.5": lambda: X @ Y + 1.5,
    "x + v": lambda: X + V,
    "2 - x": lambda: 2 - X,
    "x / 4 * x": lambda: X / 4 * X,
    "-x": lambda: -X,
    "x.transposed() @ x": lambda: X.T @ X,
    "x[1:2]": lambda: X[1:2],
    "x.part(1, 1, 3)": lambda: X[:, 1:3],
    "x.reshape([3, -1])": lambda: X.reshape(3, -1),
    "x.permute([1, 0]).dense()": lambda: X.T,
    "v.unsqueeze(0) + v.unsqueeze(1)": lambda: V[None, :] + V[:, None],
    "v.expand([2, 3])": lambda: np.broadcast_to(V, (2, 3)),
    "x.relu() - x.abs()": lambda: np.maximum(X, 0) - np.abs(X),
    "x.exp().log()": lambda: X,
    "x.leakyrelu(0.5)": lambda: np.where(X < 0, 0.5 * X, X),
    "x.clip(-1.0, 1.0)": lambda: np.clip(X, -1, 1),
    "x.softmax(1)": lambda: softmax(X, 1),
    "x.softmax(0)": lambda: softmax(X, 0),
    "x.sum([0])": lambda: X.sum(0),
    "x.mean([0, 1], true)": lambda: X.mean(keepdims=True),
    "x.redmax([], false).reshape([1])": lambda: X.max().reshape(1),
    "x.max(v)": lambda: np.maximum(X, V),
    "tensor[f32](x.argmax(1))": lambda: X.argmax(1),
    "tensor[f32](x > v)": lambda: X > V,
    "tensor[f32](tensor[i32](x))": lambda: np.trunc(X),
    "tensor[f32](tensor[bf16](x))": lambda: X,
    "x.matmul_with(y, w, &relu)": lambda: np.maximum(X @ Y + V[:2], 0),
}

PRELUDE = """
room: array[u8, 1048576]
xs: array[f32, 6] = [0.5, -1.0, 2.0, 3.0, 0.25, -4.0]
ys: array[f32, 6] = [1.0, 2.0, -3.0, 0.5, 4.0, -1.5]
vs: array[f32, 3] = [10.0, -20.0, 0.125]

fn near(a: f32, b: f32) -> bool { return abs(a - b) <= f32(0.00001) * (abs(b) + f32(1.0)) }
"""


def block(number: int, expression: str, wanted: NDArray[np.generic]) -> str:
    """A test that compares an expression with NumPy's result."""
    name = f'test "{number}" {{\n    tensors.use(&room, 1048576)\n'
    name += (
        "    x = tensor[f32](xs[:]).reshape([2, 3])\n    y = tensor[f32](ys[:]).reshape([3, 2])\n"
    )
    name += (
        "    v = tensor[f32](vs[:])\n    w = v[0:2]\n    relu = tensors.Options{activation: 1}\n"
    )
    name += f"    r: tensor[f32] = {expression}\n    assert(r.rank == {wanted.ndim})\n"
    for index in np.ndindex(*wanted.shape):
        place = ", ".join(map(str, index))
        name += f"    assert(near(r[{place}], f32({float(wanted[index])!r})))\n"
    return name + "}\n"


def test_expressions_give_what_numpy_gives() -> None:
    blocks = [block(i, text, np.asarray(f())) for i, (text, f) in enumerate(EXPRESSIONS.items())]
    source = Source("m.kern", "m", PRELUDE + "".join(blocks))
    results = testing.run(testing.build([source]), run_on_machine)
    texts = list(EXPRESSIONS)
    assert [(texts[int(r.name)], r.message) for r in results if not r.passed] == []
    assert len(results) == len(texts)


def test_elements_and_what_does_not_go_together_is_checked_while_running() -> None:
    program = """
room: array[u8, 1024]
test "index" {
    x = made()
    x[0, 3] = 1.0
}
fn made() -> tensor[f32] {
    tensors.use(&room, 1024)
    return tensors.zeros(1, [2, 3])
}
test "indices" {
    x = made()
    x[1] = 1.0
}
test "extents" {
    x = made() + made().transposed()
}
test "type" {
    x: tensor[f64] = tensors.zeros(1, [2])
}
test "memory" {
    x = made().expand([100, 2, 3]).dense()
}
"""
    results = testing.run(testing.build([Source("m.kern", "m", program)]), run_on_machine)
    said = {r.name: r.message.split(": ", 1)[1] for r in results}
    assert said.pop("memory").startswith("tensor memory is used up: 2400 bytes are wanted, ")
    assert said == {
        "index": "index 3 out of range 0..3 in dimension 1",
        "indices": "a tensor of rank 2 has no element with 1 indices",
        "extents": "extents of 2 and 3 do not go together",
        "type": "a tensor of element type 11 is wanted, this one's is 1",
    }


def test_every_instruction_that_computes_has_a_function() -> None:
    made = {name.removesuffix("_with") for name in functions()}
    assert made == {mnemonic[1:] for mnemonic in TENSORS}
    assert TENSORS.keys() <= TABLE.keys()


def test_all_functions_of_instructions_compile() -> None:
    text = "fn f(t: tensor) {}\n" + "".join(f"# {name}\n" for name in functions())
    program = analyse([Source("m.kern", "m", text)], root="")
    assert {f.name for f in program.functions} >= functions().keys()


def test_a_program_without_tensors_is_compiled_without_the_library() -> None:
    assert tensor_library([Source("m.kern", "m", "t: int = 1\n")]) == []


def test_the_descriptor_has_the_layout_of_the_instructions() -> None:
    names = list(DESCRIPTOR)
    offsets = {name: offset_of(TENSOR, names.index(name)) for name in names}
    assert offsets | {"end": size_of(Tensor(F32))} == {
        "base": 0, "dtype": 8, "rank": 9, "zero": 10, "dims": 16, "strides": 48, "reserved": 112,
        "end": 128,
    }  # fmt: skip


def test_options_have_the_layout_of_the_attribute_block() -> None:
    program = analyse([Source("m.kern", "m", "t: tensor\n")], root="")
    options = next(s for s in program.structs if s.name == "Options")
    at = {f.name: offset_of(options, i) for i, f in enumerate(options.fields)}
    block = attributes.Attributes(
        given=True, activation=1, groups=2, flags=0, axis=3, alpha=0.5, beta=0.25,
        kernel=(1, 2, 3, 4), stride=(5, 6, 7, 8), dilation=(9, 10, 11, 12),
        pad_begin=(13, 14, 15, 16), pad_end=(17, 18, 19, 20), axes=21,
    ).encode()  # fmt: skip
    assert block[at["activation"]] == 1
    for name, first in (("groups", 2), ("axis", 3), ("kernel", 1), ("stride", 5), ("dilation", 9),
                        ("pad_begin", 13), ("pad_end", 17), ("axes", 21)):  # fmt: skip
        assert struct.unpack_from("<i", block, at[name]) == (first,), name
    assert struct.unpack_from("<ff", block, at["alpha"]) == (0.5, 0.25)
    assert size_of(options) == attributes.SIZE


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "z = a + c",
            "'+' does not work on tensor[f32] and tensor[i32] | convert one: tensor[f32](...)",
        ),
        ("z = c + 1.5", "'+' does not work on tensor[i32] and float"),
        ("z = a << 1", None),
        ("z = a.relo()", "tensor[f32] has no method 'relo' | did you mean 'relu'?"),
        (
            "z = p[0]",
            "the elements of a tensor have no type here | give it a type first: tensor[f32](...)",
        ),
        ("z: tensor[u16]", None),
        ("z: tensor[i32] = a", "expected tensor[i32], found tensor[f32]"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(line: str, message: str | None) -> None:
    text = f"fn f(a: tensor[f32], c: tensor[i32], p: tensor) {{\n    {line}\n}}\n# relu\n"
    with pytest.raises(KernErrors) as raised:
        analyse([Source("m.kern", "m", text)], root="")
    found = raised.value.diagnostics
    assert len(found) == 1
    if message is not None:
        assert found[0].message + (f" | {found[0].hint}" if found[0].hint else "") == message
