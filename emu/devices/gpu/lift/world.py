"""What lanes see besides their registers: the kind of what comes from memory, CSRs and other lanes.

Two worlds execute a kernel's instructions: `analysis` finds kinds, `emit` writes code. What kind of
value comes out of an access is said here, once for both.
"""

from __future__ import annotations

from dataclasses import dataclass

from emu.devices.gpu.lift.readings import Illegal
from emu.devices.gpu.lift.values import Kind, Shape, Value
from emu.isa.csrs import LANE_CSRS

_UNIFORM = Kind(64, Shape.UNIFORM)
_AFFINE = Kind(64, Shape.AFFINE, stride=1)
_NUMBERS = Kind(64, form="s", part=32)

IDS = {"local_id_x": 0, "local_id_y": 1, "local_id_z": 2}
"""CSRs that a table has for every work-item."""


@dataclass(frozen=True)
class Shapes:
    """What is known about a dispatch when its kernel is lifted."""

    flat: bool
    """The lanes of a warp lie in one row: their x counts up, their y and z are the same."""
    roomy: bool = True
    """Private memory has room for all places of the stack that the kernel names."""


def access_is_uniform(address: Value) -> bool:
    """Whether all lanes access the same place."""
    return address.shape in (Shape.CONST, Shape.UNIFORM) and not address.kind.private


def loaded(address: Value, bits: int, escaped: bool) -> Kind:
    """What a load gives. `escaped`: an address in private memory may stand in memory."""
    shape = Shape.UNIFORM if access_is_uniform(address) else Shape.VECTOR
    return Kind(bits, shape, private=escaped and bits == 64)


def csr(number: int, shapes: Shapes) -> tuple[str, Kind]:
    """The name of a CSR and the kind of its value. Raises Illegal for one that lanes lack."""
    if number not in LANE_CSRS:
        raise Illegal(tried=True)
    name = LANE_CSRS[number].name
    if name == "lane_id":
        return name, _AFFINE
    if name not in IDS:
        return name, _UNIFORM
    if not shapes.flat:
        return name, _NUMBERS
    return name, _AFFINE if name == "local_id_x" else _UNIFORM


def lane(name: str, operands: list[Value]) -> Kind:
    """What an instruction of the warp gives (`bar` nothing that anyone sees)."""
    if name.startswith("shfl."):
        return Kind(64, private=operands[0].kind.private)
    return Kind(64, Shape.UNIFORM, form="z", part=32)
