"""The harts of a machine, and whose turn it is.

One hart executes at a time, for a *turn*; then it is another's. Together they behave like harts
that work side by side:

* **Time.** While n harts are awake, each has 1/n of the time: the clock (`Clock.share`) runs n
  times as slowly as the hart that executes would have it. So after everybody's turn as much time
  has passed as a turn takes, and what `time` and mtime say never goes back when one hart hears it
  from another.
* **Fairness.** Next is the hart that has worked least. Work is counted in picoseconds, stalls
  included, so that a long tensor instruction of one hart is followed by as much work of the
  others. A hart that wakes has worked as much as the laziest that is awake: sleep is no credit.
* **Sleep.** A hart in WFI without an interrupt costs nothing, and a hart that is awake alone runs
  on without turns. One that wakes another by an interrupt gives way when its own turn is over,
  which it is if it has been alone for longer than that.
* **LR and SC.** A reservation ends with the turn, as if others had written there. A turn ends early
  only when its hart sleeps, and holds far more instructions than the 16 of a constrained loop
  (unprivileged specification, "Eventual Success of Store-Conditional Instructions"); so every turn
  has room for an attempt that nobody disturbs.

All this depends on counts of instructions and on virtual time only: a run with many harts repeats
exactly, and stopping it anywhere (an instruction limit, a debugger) does not change it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emu.clock import Clock
from emu.cpu.hart import Hart

TURN = 20_000
"""A turn, in instructions. Shorter ones cost host time for switching; in longer ones, harts that
spin wait longer for those that are to end their wait."""


class Turns:
    """Says which of `harts` is to execute; `clock` follows it."""

    def __init__(self, harts: Sequence[Hart], clock: Clock) -> None:
        self._harts, self._clock = harts, clock
        self._turn_ps = TURN * clock.ps_per_insn
        self.reset()

    def reset(self) -> None:
        """All harts have been reset: the first one begins."""
        self.current = self._harts[0]
        """The hart whose turn it is."""
        self._awake: list[Hart] = []
        self._idle_ps = [0] * len(self._harts)  # by hart: what to leave out of its work
        self._turn_end_ps = self._turn_ps  # what the current hart has worked when its turn is over
        self._clock.switch(self.current, 1)

    def settle(self) -> bool:
        """Make current whose turn it is now; False if all harts sleep."""
        current = self.current
        if len(self._harts) == 1:
            return not current.waiting or not asleep(current)
        awake = [hart for hart in self._harts if not hart.waiting or not asleep(hart)]
        if awake != self._awake:
            self._change(awake)
        if not awake:
            return False
        turn_over = len(awake) > 1 and self._work_ps(current) >= self._turn_end_ps
        if turn_over or current not in awake:
            self._give_turn(awake)
        return True

    def left_ps(self) -> int | None:
        """How much the current hart may still work in its turn; None: nobody waits for it."""
        return self._turn_end_ps - self._work_ps(self.current) if len(self._awake) > 1 else None

    def _work_ps(self, hart: Hart) -> int:
        return hart.instret * self._clock.ps_per_insn + hart.stall_ps

    def _served_ps(self, hart: Hart) -> int:
        """The work that counts when a turn is given."""
        return self._work_ps(hart) - self._idle_ps[hart.hartid]

    def _change(self, awake: list[Hart]) -> None:
        """Harts fell asleep or woke."""
        least = min((self._served_ps(hart) for hart in awake if hart in self._awake), default=0)
        for hart in awake:
            if hart not in self._awake:
                self._idle_ps[hart.hartid] = self._work_ps(hart) - least
        self._awake = awake
        self._clock.switch(self.current, max(1, len(awake)))

    def _give_turn(self, awake: list[Hart]) -> None:
        """The turn of the current hart is over: it is that one's next which has worked least, the
        first one after the current if there are several."""
        last, count = self.current.hartid, len(self._harts)
        order = sorted(awake, key=lambda hart: (hart.hartid - last - 1) % count)
        chosen = min(order, key=self._served_ps)
        if chosen is not self.current:
            self.current.break_reservation()
            self.current = chosen
            self._clock.switch(chosen, len(awake))
        self._turn_end_ps = self._work_ps(chosen) + self._turn_ps

    def snapshot(self) -> dict[str, Any]:
        """Whose turn it is and what led there; `restore` takes it back."""
        return {
            "current": self.current.hartid,
            "awake": [hart.hartid for hart in self._awake],
            "idle": list(self._idle_ps),
            "end": self._turn_end_ps,
            "clock": self._clock.snapshot(),
        }

    def restore(self, saved: dict[str, Any]) -> None:
        """Take over what `snapshot` gave, once the harts themselves are restored."""
        self.current = self._harts[saved["current"]]
        self._awake = [self._harts[i] for i in saved["awake"]]
        self._idle_ps = list(saved["idle"])
        self._turn_end_ps = saved["end"]
        self._clock.restore(saved["clock"], self.current)


def asleep(hart: Hart) -> bool:
    """Whether a hart waits in WFI and no interrupt that it has enabled is pending."""
    return hart.waiting and not hart.mip & hart.state.mie
