"""Timing of several engines that take turns, on a host whose clock changes and that others use.

All runners of a row are timed in *rounds*: in each, every one has one turn, in an order that
rotates. A turn is a few batches of calls, about two milliseconds each, and its time is that of the
fastest batch, a call: what disturbs a batch only ever adds to it. What slows the host for longer
than a round slows all engines alike, so **ratios are taken within a round, and the median of the
rounds' ratios is reported**; the time reported is the median of the rounds' times.
"""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol

Clock = Callable[[], float]
"""Gives seconds since some moment."""

_BATCH_SECONDS = 2e-3
_BATCHES = 5
"""To a turn. Megabytes that the others have driven out of the last-level cache take several calls
to come back."""
_LONG = 5e-3
"""Seconds from which a call is long enough to be a turn by itself, and to need no warming."""
_ROUNDS_LEAST, _ROUNDS_MOST = 3, 15


class Runner(Protocol):
    """Something that can be repeated."""

    def run(self, times: int) -> object:
        """Do it so often."""


@dataclass(frozen=True)
class Times:
    """Seconds a call took, by name; each list has one entry a round."""

    rounds: Mapping[str, list[float]]

    def seconds(self, name: str) -> float:
        """The median."""
        return statistics.median(self.rounds[name])

    def ratio(self, name: str, other: str) -> float:
        """How many times as long `name` takes as `other`: the median of the rounds."""
        pairs = zip(self.rounds[name], self.rounds[other], strict=True)
        return statistics.median(one / two for one, two in pairs)


def measure(
    runners: Mapping[str, Runner],
    seconds: float,
    *,
    pauses: Mapping[str, float] = MappingProxyType({}),
    clock: Clock = time.perf_counter,
) -> Times:
    """Rounds until `seconds` are over, but at least three. `pauses` says how long to sleep after a
    runner's turn, for its threads to go to sleep too."""
    counts = {}
    for name, runner in runners.items():
        counts[name] = _count(runner, clock)
        time.sleep(pauses.get(name, 0))
    rounds: dict[str, list[float]] = {name: [] for name in runners}
    names = list(runners)
    gc.disable()
    try:
        end = time.perf_counter() + seconds
        for _ in range(_ROUNDS_MOST):
            for name in names:
                rounds[name].append(_turn(runners[name], counts[name], clock))
                time.sleep(pauses.get(name, 0))
            names = names[1:] + names[:1]
            if time.perf_counter() > end and len(rounds[names[0]]) >= _ROUNDS_LEAST:
                break
    finally:
        gc.enable()
    return Times(rounds)


def _count(runner: Runner, clock: Clock) -> int:
    """Calls to a batch. The calls made here also warm up what there is to warm up."""
    runner.run(1)
    count = 1
    while (elapsed := _batch(runner, count, clock) * count) < _BATCH_SECONDS / 4:
        count = min(4 * count, max(count + 1, int(count * _BATCH_SECONDS / elapsed)))
    return max(1, int(count * _BATCH_SECONDS / elapsed))


def _turn(runner: Runner, count: int, clock: Clock) -> float:
    """Seconds a call takes: the fastest of a few batches; a long call is made only once."""
    first = _batch(runner, count, clock)
    if first * count > _LONG:
        return first
    return min(_batch(runner, count, clock) for _ in range(_BATCHES))


def _batch(runner: Runner, count: int, clock: Clock) -> float:
    start = clock()
    runner.run(count)
    return (clock() - start) / count
