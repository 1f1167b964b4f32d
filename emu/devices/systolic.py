"""How many cycles a systolic array takes for a matrix product, in closed form.

An array of R rows and C columns works in passes. What stays in the cells during a pass fills the
rows with one dimension of the product and the columns with another (`Dataflow`); the third streams
through. A pass takes the streamed length and the skew of rows and columns; an operand that stays
is first shifted in, row by row. Passes do not overlap. The forms are those of SCALE-Sim, whose
cycles they equal (tests/devices/test_systolic.py).
"""

from __future__ import annotations

from enum import Enum


class Dataflow(Enum):
    """What stays in the array's cells."""

    OUTPUT_STATIONARY = "the sums"
    WEIGHT_STATIONARY = "the second operand"
    INPUT_STATIONARY = "the first operand"


def cycles(flow: Dataflow, rows: int, columns: int, m: int, n: int, k: int) -> int:
    """Cycles for (m, k) by (k, n) on an array of `rows` by `columns`, from the first operand's
    coming in to the last sum's leaving. Sizes are at least 1."""
    match flow:
        case Dataflow.OUTPUT_STATIONARY:
            down, across, stream, fill = m, n, k, 0
        case Dataflow.WEIGHT_STATIONARY:
            down, across, stream, fill = k, n, m, rows
        case Dataflow.INPUT_STATIONARY:
            down, across, stream, fill = k, m, n, rows
    a_pass = fill + rows + columns + stream - 2
    return -(-down // rows) * -(-across // columns) * a_pass - 1
