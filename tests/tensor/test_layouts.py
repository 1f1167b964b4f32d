"""Every instruction on operands that lie unfavourably: the result is that of dense ones.

Strides of any order and sign, gaps, odd addresses, scattered pages; and a destination that lies
over a source, which must not be seen to change while it is read.
"""

from __future__ import annotations

import os
import random

import pytest

from emu.isa.xaitensor import TENSORS, Declaration
from tests.tensor.drawn import draw
from tests.tensor.placed import Placed

CASES = int(os.environ.get("AIOS_TENSOR_CASES", "2"))
EACH = pytest.mark.parametrize("declaration", TENSORS.values(), ids=TENSORS.keys())


@EACH
def test_operands_may_lie_in_any_order_backwards_and_scattered(declaration: Declaration) -> None:
    rng = random.Random(declaration.mnemonic)
    for _ in range(CASES):
        placed = Placed(draw(declaration, rng), rng)
        placed.execute()
        placed.compare()


@EACH
def test_a_destination_may_lie_over_a_source(declaration: Declaration) -> None:
    rng = random.Random(declaration.mnemonic)
    for _ in range(CASES):
        case = draw(declaration, rng)
        placed = Placed(case)
        sources = [o.name for o in declaration.operands if not o.written and o.name in case.dims]
        source = placed.tensors[rng.choice(sources)]
        placed.tensors[declaration.results[0].name].base = source.base + rng.choice([0, 0, 4, -8])
        for further in declaration.results[1:]:
            if further.name in placed.tensors:
                placed.tensors[further.name].base = placed.bench.take(1 << 16, 64)
        placed.execute()
        placed.compare()
