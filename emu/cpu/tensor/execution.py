"""From checked operands to effects: rights, copies where there must be some, the plan, the time.

`perform` is the last part of every instruction that computes. All that can fail comes before the
first write: the limits, the rights to every byte of every operand, the plan's own checks. A plan
is made when an instruction first meets operands of a form (types, dims, strides, attributes), and
kept.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass

from emu.cpu.tensor.arena import ARENA
from emu.cpu.tensor.descriptor import View
from emu.cpu.tensor.faults import Cause, Operand, TensorFault
from emu.cpu.tensor.limits import limit_operations
from emu.cpu.tensor.operands import Hart, Resolved, apart, detach, resolve
from emu.cpu.tensor.plan import REGIONS, SCRATCH_REGION, Place, Plan, planning
from emu.cpu.tensor.threads import is_large
from emu.cpu.tensor.timing import duration

DESTINATION = Operand.DESTINATION
PLANS_MAX = 1 << 13
"""Plans that are kept; when there are more, all are forgotten."""


@dataclass(frozen=True)
class Work:
    """What an instruction that has passed its checks is to do."""

    key: Hashable
    """All that the plan depends on but the views: the mnemonic, and attributes if it has any."""
    views: Mapping[Operand, View]
    """Every operand that is there, sources in the order in which their rights are checked."""
    schedule: Callable[[Mapping[Operand, View]], None]
    """Records the plan, over the same views at `Place`s."""
    flops: int
    bytes: int
    """Memory traffic, for the timing model."""
    written: Collection[Operand] = (DESTINATION,)
    in_place: Collection[Operand] = ()
    """Sources that may be exactly the destination: each element is read before the one at its place
    is written."""
    starts: int = 0
    """How many separate pieces a product is computed in, for the limit."""


def perform(hart: Hart, work: Work) -> None:
    """Do it, and add the time it takes. Raises Trap or TensorFault with nothing changed."""
    count = max(work.views[o].count for o in work.written)
    if count:
        limit_operations(max(work.flops, count), work.starts)
    ARENA.clear()
    order = sorted(work.views, key=lambda operand: operand in work.written)
    reached = {o: resolve(hart, work.views[o], o, write=o in work.written) for o in order}
    plan = _plan(work) if count else Plan()
    if count:
        plan.run(_bases(work, reached, plan))
        for operand in work.written:
            reached[operand].finish()
    time = duration(hart, work.flops, work.bytes)
    hart.stall_ps += time
    unit = getattr(hart, "tensor_unit", None)
    if unit is not None:
        unit.learn(work, plan, reached, time)


_plans: dict[Hashable, Plan] = {}


def _plan(work: Work) -> Plan:
    """The plan for operands of this form."""
    form = {o: (v.dtype.code, v.dims, v.strides) for o, v in work.views.items()}
    key = (work.key, tuple(form.items()))
    plan = _plans.get(key)
    if plan is None:
        with planning() as plan:
            work.schedule({o: v.at(Place(o)) for o, v in work.views.items()})
        plan.is_large = is_large(work.flops, work.bytes)
        if len(_plans) >= PLANS_MAX:
            _plans.clear()
        _plans[key] = plan
    return plan


def _bases(work: Work, reached: dict[Operand, Resolved], plan: Plan) -> list[int]:
    """The host address of every region; sources that a result would change are copied."""
    bases = [0] * REGIONS
    for operand, source in reached.items():
        if operand not in work.written:
            for target in work.written:
                source = detach(source, reached[target], in_place=operand in work.in_place)
        elif operand is not DESTINATION and not apart(source.view, reached[DESTINATION].view):
            raise TensorFault(Cause.DESCRIPTOR, operand, work.views[operand].address)
        bases[operand] = source.view.address
    bases[SCRATCH_REGION] = ARENA.take(plan.scratch)
    return bases
