"""Every tensor instruction against its declared meaning, on operands drawn from its signature.

Integers and booleans must be equal; floats may differ by as many units in the last place as the
declaration says, of the result's greatest element (of each element, where the meaning is over one).
"""

from __future__ import annotations

import math
import os
import random
from dataclasses import replace
from typing import Any

import pytest

from emu.isa.xaitensor import TENSORS, Declaration
from tests.tensor.drawn import draw
from tests.tensor.placed import Placed

CASES = int(os.environ.get("AIOS_TENSOR_CASES", "4"))
"""Of every instruction; more of them find more."""


@pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())
def test_the_instruction_does_what_its_declaration_means(declaration: Declaration) -> None:
    rng = random.Random(declaration.mnemonic)
    for _ in range(CASES):
        case = draw(declaration, rng)
        placed = Placed(case)
        placed.execute()
        placed.compare()


WEIRD = {
    "activation": 1, "groups": 777, "axis": 100, "spatial_rank": 3, "alpha": math.nan,
    "beta": math.nan, "kernel": (77,) * 4, "stride": (9,) * 4, "dilation": (9,) * 4,
    "pad_begin": (-5,) * 4, "pad_end": (-5,) * 4, "axes": 1 << 31, "mode": 200, "gamma": math.nan,
    "count": (1 << 32) - 1, "flags": 1 << 31,
}  # fmt: skip
"""A value for every field of the attribute block that would mean something else, or nothing."""


@pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())
def test_fields_that_the_instruction_has_no_use_for_are_ignored(declaration: Declaration) -> None:
    if not declaration.form.block:
        return
    used = set(declaration.attributes)
    assert used <= {*WEIRD, *declaration.flags, *declaration.modes}
    used |= {"activation", "alpha", "beta"} if declaration.activates else set()
    used |= {"flags"} if declaration.flags else set()
    used |= {"mode"} if declaration.modes else set()
    case = draw(declaration, random.Random(declaration.mnemonic))
    ignored: dict[str, Any] = {field: v for field, v in WEIRD.items() if field not in used}
    placed = Placed(replace(case, at=replace(case.at, given=True, **ignored)))
    placed.execute()
    placed.compare(case.expected())
