"""An engine of ours follows what Spike committed: after each stop, the same registers and memory.

What the log says is applied to a model of the registers. The engine runs some instructions, and
`instret` tells how many of the commits it has done; it must then stand where Spike stood.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from emu.bus import Bus
from emu.cpu.hart import Hart
from emu.isa.disassemble import disassemble
from emu.memory import Memory
from tests.cpu.agreement.world import Engine
from tests.cpu.spike.layout import BASE, PROLOGUE, SIZE, VECTORS_SIZE
from tests.cpu.spike.simulator import Commit, Store

_SHOWN = 12


class Follower:
    """A hart with `image` in its RAM, about to execute the prologue."""

    def __init__(self, factory: Callable[[Hart], Engine], image: bytes) -> None:
        memory = Memory(BASE, SIZE)
        memory.bytes[:] = image
        self.hart = Hart(Bus(memory), memory)
        self.hart.reset(PROLOGUE)
        self.engine = factory(self.hart)

    def follow(self, commits: Sequence[Commit], budgets: Iterable[int]) -> str | None:
        """Run until all commits are done, so many instructions at a time; the first difference in
        words, or None."""
        state = self.hart.state
        x, f = [0] * 32, [0] * 32
        done = 0
        for budget in budgets:
            self.engine.run(min(budget, len(commits) - done))
            for commit in commits[done : state.instret]:
                self._apply(commit, x, f)
            before, done = done, state.instret
            wrong = self._registers(x, f)
            if done == before + 1:
                wrong += self._stores(commits[before].stores)
            if done == len(commits):
                return self._report(commits, before, done, wrong) if wrong else None
            wrong += self._place(commits[done])
            if wrong:
                return self._report(commits, before, done, wrong)
        return f"{done} of {len(commits)} instructions are done when the budgets are used up"

    @staticmethod
    def _apply(commit: Commit, x: list[int], f: list[int]) -> None:
        for number, value in commit.x:
            x[number] = value if number else 0
        for number, value in commit.f:
            f[number] = value

    def _registers(self, x: list[int], f: list[int]) -> list[str]:
        pairs = [("x", self.hart.state.x, x), ("f", self.hart.state.f, f)]
        return [
            f"{kind}{i} is {ours:#x}, not {theirs:#x}"
            for kind, seen, expected in pairs
            for i, (ours, theirs) in enumerate(zip(seen, expected, strict=True))
            if ours != theirs
        ]

    def _stores(self, stores: Sequence[Store]) -> list[str]:
        """What the last instruction's stores, at virtual addresses, should have left in memory."""
        found = []
        for store in stores:
            for i, expected in enumerate(store.value.to_bytes(store.size, "little")):
                at = store.address + i
                byte = self.hart.memory.read(self.hart.translate(at, "store"), 1)
                if byte != expected:
                    found.append(f"the byte at {at:#x} is {byte:#x}, not {expected:#x}")
        return found

    def _place(self, coming: Commit) -> list[str]:
        """Whether the next instruction to retire may be Spike's. One that is about to trap does not
        retire: then Spike is at a handler, and the hart may still be before the trap."""
        state = self.hart.state
        if (state.pc, state.priv) == (coming.pc, coming.mode):
            return []
        vectors = (vector & ~3 for vector in (state.mtvec, state.stvec))
        if any(0 <= coming.pc - vector < VECTORS_SIZE for vector in vectors):
            return []
        where = f"{state.pc:#x} in mode {state.priv}, not at {coming.pc:#x} in mode {coming.mode}"
        return [f"the hart is at {where}"]

    def _report(self, commits: Sequence[Commit], before: int, done: int, wrong: list[str]) -> str:
        lines = [f"After instruction {done} (compared last after {before}), ours against Spike's:"]
        lines += [f"  {what}" for what in wrong]
        lines.append("What Spike did up to there and then:")
        for i in range(max(0, done - _SHOWN), min(done + 3, len(commits))):
            c = commits[i]
            effects = [f"x{n}={v:#x}" for n, v in c.x] + [f"f{n}={v:#x}" for n, v in c.f]
            effects += [f"[{s.address:#x}]={s.value:#x}" for s in c.stores]
            text = f"{c.mode} {c.pc:#x} {disassemble(c.word):32} {' '.join(effects)}"
            lines.append(f"  {'>' if i == done else ' '} {text}")
        return "\n".join(lines)
