"""How dispatches that run at the same time share the compute units.

Each dispatch has a work: the time that it would take alone. It asks for as many units as it has
workgroups, up to all of them. While all that is asked for is there, everybody runs at full speed;
when it is not, the units are dealt out in proportion to what is asked for, weighted by the queue's
priority. All in integers, so that the same dispatches always end at the same picosecond.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Running:
    """A dispatch under way."""

    job: int
    left_ps: int
    """What is left of its work."""
    units: int
    """Compute units that it can use."""
    weight: int


@dataclass
class ComputeUnits:
    """The units of one GPU and who runs on them, in the order of their start."""

    total: int
    running: list[Running] = field(default_factory=list)
    since_ps: int = 0
    """Up to when `left_ps` is accounted for."""

    def start(self, now_ps: int, job: int, work_ps: int, units: int, weight: int) -> None:
        """Let a job begin."""
        self._account(now_ps)
        self.running.append(Running(job, work_ps, min(units, self.total), weight))

    def drop(self, now_ps: int, jobs: set[int]) -> None:
        """End jobs before their time."""
        self._account(now_ps)
        self.running = [r for r in self.running if r.job not in jobs]

    def take_finished(self, now_ps: int) -> list[int]:
        """The jobs whose work is done by now, in the order of their start."""
        self._account(now_ps)
        done = [r.job for r in self.running if r.left_ps <= 0]
        self.running = [r for r in self.running if r.left_ps > 0]
        return done

    def next_end(self) -> int | None:
        """When the next job ends if nothing else happens; None if none runs."""
        asked = self._asked()
        ends = [-(-r.left_ps * asked // (self.total * r.weight)) for r in self.running]
        full_speed = [max(end, r.left_ps) for end, r in zip(ends, self.running, strict=True)]
        return self.since_ps + min(full_speed) if full_speed else None

    def _asked(self) -> int:
        return sum(r.units * r.weight for r in self.running)

    def _account(self, now_ps: int) -> None:
        """Let everybody have worked until now."""
        passed, asked = now_ps - self.since_ps, self._asked()
        for r in self.running:
            r.left_ps -= min(passed, passed * self.total * r.weight // asked)
        self.since_ps = now_ps
