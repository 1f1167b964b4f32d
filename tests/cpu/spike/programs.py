"""Random programs: slots of `PIECES` in a random scene. A seed is a slot, so that a failing program
is made small by leaving slots out."""

from __future__ import annotations

import random
from collections.abc import Sequence

from hypothesis import strategies as st

from emu.errors import AiosError
from tests.cpu.agreement import operands
from tests.cpu.spike.layout import BASE, CODE, DATA, SUPERVISOR, Program, slot_code
from tests.cpu.spike.pieces import PIECES, Piece

_SEEDS = st.integers(0, 1 << 24)
_TRIES = 100
_DELEGABLE = 0b1011_0000_1111_1110  # no environment calls: they hop


def slot(seed: int, mode: int, pieces: Sequence[Piece] = PIECES) -> tuple[str, ...]:
    """A piece that fits, the same for the same seed."""
    rng = random.Random(seed)
    for _ in range(_TRIES):
        lines = tuple(rng.choice(pieces)(rng, mode))
        try:
            slot_code(lines, CODE)
        except AiosError:  # too long, or a constant that is none
            continue
        return lines
    raise ValueError(f"None of {[piece.__name__ for piece in pieces]} fits into a slot.")


def _data(rng: random.Random) -> bytes:
    """Random bytes; where pieces jump to, the code of an instruction that is none, for data must
    not change code: Spike and we may notice that at different times."""
    data = bytearray(rng.randbytes(64))
    for at in (0, 0x30, 0x38, 0x3C, 0x3E):
        data[at : at + 2] = bytes(2)
    return bytes(data)


def registers(rng: random.Random) -> tuple[int, ...]:
    """Any values, but pointers to data where pieces expect them: what they store must not be code,
    nor a register's value for the next pass."""
    return tuple(
        DATA if i in operands.POINTERS else operands.integer(rng) if i else 0 for i in range(32)
    )


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """A program of some thousand instructions that starts in any mode."""
    mode, paging = draw(st.sampled_from((3, 3, 1, 1, 0))), draw(st.sampled_from((0, 8, 8, 9)))
    seeds = draw(st.lists(_SEEDS, min_size=1, max_size=50))
    rng = random.Random(draw(_SEEDS))
    return Program(
        slots=tuple(slot(seed, mode if paging else 3) for seed in seeds),
        mode=mode,
        paging=paging,
        csrs=(
            ("mtvec", BASE | draw(st.integers(0, 1))),
            ("stvec", SUPERVISOR | draw(st.integers(0, 1))),
            ("medeleg", rng.getrandbits(16) & _DELEGABLE if draw(st.booleans()) else 0),
        ),
        x=registers(rng),
        f=tuple(operands.floating(rng) for _ in range(32)),
        data=_data(rng),
        passes=draw(st.integers(1, 3)),
    )
