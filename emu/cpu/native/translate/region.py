"""Regions: which basic blocks are translated together, and where control goes between them.

A region grows from one address along every path that has run: branches, calls into functions, the
returns from them, and targets that indirect jumps were seen to take. It is one flow graph; a call
in it is a jump, a return an indirect jump among the places behind its calls. Whatever leads
elsewhere leaves the region. Loops are whole in it, and so are trees of calls, up to `LIMIT`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from emu.cpu.native.translate.budget import cycles
from emu.cpu.native.translate.image import Image
from emu.isa.decode import Decoded
from emu.isa.graph import Arg, Node

LIMIT = 1200
"""Instructions in a region; compiling takes some 1 ms each."""

LEAST = 24
"""Instructions that a region without a loop must have: entering and leaving takes as long as some
of them."""

Targets = Mapping[int, tuple[int, ...]]
"""Addresses of indirect jumps, and those that they went to."""

_LINKS = (1, 5)
"""The registers of return addresses: a jump that writes one is a call, one to it a return
(unprivileged specification, 2.5.1)."""
_ALL = (1 << 64) - 1


@dataclass(frozen=True)
class Flow:
    """Where an instruction goes: `target` if it jumps or branches to a known address, `falls` to
    the next one (a branch not taken, no jump at all, or behind a call)."""

    target: int | None = None
    falls: bool = True
    is_indirect: bool = False
    is_call: bool = False
    is_return: bool = False


@dataclass(frozen=True)
class Block:
    """Instructions that are entered at the first and left behind the last. `flow` is the last
    one's; `end` is the address behind it."""

    start: int
    instructions: tuple[tuple[int, Decoded], ...]
    flow: Flow
    end: int


@dataclass(frozen=True)
class Region:
    """Blocks by address; for the indirect jumps, by address, the blocks that they may go to; the
    blocks that are entered from outside; and the heads of cycles, which are among those, with the
    blocks that go back to them."""

    blocks: dict[int, Block]
    targets: dict[int, tuple[int, ...]]
    entries: tuple[int, ...] = ()
    heads: dict[int, frozenset[int]] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """How many instructions there are."""
        return sum(len(block.instructions) for block in self.blocks.values())

    @property
    def has_unknown_jump(self) -> bool:
        """Whether it has yet to be learnt where an indirect jump goes that is no return."""
        indirect = (b for b in self.blocks.values() if b.flow.is_indirect and not b.flow.is_return)
        return any(not self.targets[b.instructions[-1][0]] for b in indirect)

    @cached_property
    def successors(self) -> dict[int, tuple[int, ...]]:
        """Where control goes from each block within the region."""
        found = {}
        for start, block in self.blocks.items():
            flow = block.flow
            if flow.is_indirect:
                found[start] = self.targets[block.instructions[-1][0]]
                continue
            ways = {flow.target, block.end if flow.falls else None}
            found[start] = tuple(sorted(w for w in ways if w is not None and w in self.blocks))
        return found

    def loop(self, head: int) -> set[int]:
        """The blocks on the ways from the head of a cycle back to it."""
        sources: dict[int, list[int]] = {}
        for block, ways in self.successors.items():
            for way in ways:
                sources.setdefault(way, []).append(block)
        body, left = {head}, [*self.heads[head]]
        while left:
            start = left.pop()
            if start not in body:
                body.add(start)
                left += sources.get(start, ())
        return body

    def entered_at(self, starts: Sequence[int], others: Iterable[int]) -> Region:
        """The region with ways in at the blocks `starts`, at those of `others` that cannot be
        reached from ways in before them, and into each cycle."""
        successors, seen, entries = self.successors, set[int](), [*starts]
        left = [*starts]
        for other in (*starts, *others):
            if other not in seen and other not in starts:
                entries.append(other)
                left.append(other)
            while left:
                start = left.pop()
                if start not in seen:
                    seen.add(start)
                    left += successors[start]
        heads = cycles(successors, entries)
        entries = sorted({*entries, *heads})
        blocks = {pc: block for pc, block in self.blocks.items() if pc in seen}
        sites = {block.instructions[-1][0] for block in blocks.values()}
        targets = {pc: known for pc, known in self.targets.items() if pc in sites}
        return Region(blocks, targets, tuple(entries), heads)

    def spans(self) -> list[tuple[int, int]]:
        """The addresses of the code, as ranges [start, end) in order that do not touch."""
        spans: list[tuple[int, int]] = []
        for start, end in sorted((b.start, b.end) for b in self.blocks.values()):
            if spans and start <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(end, spans[-1][1])
            else:
                spans.append((start, end))
        return spans


def flow_of(pc: int, found: Decoded) -> Flow:
    """How control leaves an instruction, read off its graph."""
    for step in found.insn.steps:
        if step.op == "branch":
            return Flow(_constant(step.args[1], pc, found))
        if step.op == "jump":
            target = _constant(step.args[0], pc, found)
            links = any(
                s.op == "write_x" and _constant(s.args[0], pc, found) in _LINKS
                for s in found.insn.steps
            )
            returns = target is None and not links and _base(found) in _LINKS
            return Flow(target, False, target is None, links, returns)
    return Flow()


def _base(found: Decoded) -> int | None:
    """The register that an indirect jump reads."""
    for step in found.insn.steps:
        if step.op == "read_x":
            return _constant(step.args[0], 0, found)
    return None


def _constant(node: Arg, pc: int, found: Decoded) -> int | None:
    """The value of a node that depends on nothing but the instruction and where it stands."""
    if not isinstance(node, Node):
        return None
    if node.op == "const":
        value = node.args[0]
        assert isinstance(value, int)
        return value
    if node.op == "pc":
        return pc
    if node.op == "slot":
        return int(getattr(found, str(node.args[0]))) & _ALL
    if node.op == "add":
        left, right = (_constant(a, pc, found) for a in node.args)
        return None if left is None or right is None else (left + right) & _ALL
    return None


@dataclass
class _Survey:
    """What is found on the way from the seeds; all by address."""

    image: Image
    taken: Targets
    limit: int
    found: dict[int, tuple[Decoded, Flow]] = field(default_factory=dict)
    leaders: set[int] = field(default_factory=set)
    """Where blocks begin."""
    near: deque[int] = field(default_factory=deque)
    """Leaders still to be followed,"""
    calls: deque[int] = field(default_factory=deque)
    """and those in functions that are called, which come later."""
    turns: set[int] = field(default_factory=set)
    """Where jumps and branches go backwards to."""
    functions: set[int] = field(default_factory=set)
    """Where calls go to."""
    resumed: set[int] = field(default_factory=set)
    """What stands behind instructions that only the interpreter executes."""

    def explore(self, seeds: Sequence[int]) -> None:
        """Follow every path, inside functions first, then into those that are called."""
        for seed in seeds:
            self._lead(seed, self.near)
        while (self.near or self.calls) and len(self.found) < self.limit:
            self._walk((self.near or self.calls).popleft())

    def _lead(self, pc: int, queue: deque[int]) -> None:
        if pc not in self.leaders:
            self.leaders.add(pc)
            queue.append(pc)

    def _walk(self, pc: int) -> None:
        """Take up instructions from `pc` on until the path splits, jumps, or is known."""
        while pc not in self.found and len(self.found) < self.limit:
            insn = self.image.instruction(pc)
            if insn is None:
                self._resume_behind(pc)
                return
            flow = flow_of(pc, insn)
            self.found[pc] = insn, flow
            after = pc + insn.length & _ALL
            if flow.target is None and flow.falls:
                pc = after
                continue
            self._follow(pc, after, flow)
            return

    def _follow(self, pc: int, after: int, flow: Flow) -> None:
        if flow.falls:
            self._lead(after, self.near)
        if flow.target is not None:
            if flow.is_call:
                self.functions.add(flow.target)
            elif flow.target <= pc:
                self.turns.add(flow.target)
            self._lead(flow.target, self.calls if flow.is_call else self.near)
        for target in self.taken.get(pc, ()):
            if flow.is_call:
                self.functions.add(target)
            self._lead(target, self.calls if flow.is_call else self.near)
        if flow.is_call:
            self._lead(after, self.near)

    def _resume_behind(self, pc: int) -> None:
        """Code behind an instruction that only the interpreter executes is entered from outside."""
        length = self.image.length(pc)
        if length is not None:
            self.resumed.add(pc + length)
            self._lead(pc + length, self.near)


def discover(
    image: Image, seeds: Sequence[int], taken: Targets, limit: int = LIMIT
) -> Region | None:
    """The region around the first of `seeds`; None when that is not worth a translation. `taken`
    has, for the indirect jumps of the program, addresses that they went to."""
    survey = _Survey(image, taken, limit)
    survey.explore(seeds)
    blocks = {pc: block for pc in survey.leaders if (block := _block(survey, pc)) is not None}
    if seeds[0] not in blocks:
        return None
    returns = _returns(blocks, seeds, taken)
    targets = {}
    for block in blocks.values():
        if block.flow.is_indirect:
            site = block.instructions[-1][0]
            known = {*taken.get(site, ()), *returns.get(block.start, ())}
            targets[site] = tuple(sorted(known & blocks.keys()))
    outside = {b.end for b in blocks.values() if b.flow.is_call and b.flow.target not in blocks}
    starts = sorted((survey.functions | survey.resumed | outside) & blocks.keys())
    others = [*sorted(survey.turns & blocks.keys()), seeds[0]]  # if nothing leads there
    region = Region(blocks, targets).entered_at(starts, others)
    return region if region.heads or region.size >= LEAST or region.has_unknown_jump else None


def _returns(
    blocks: Mapping[int, Block], seeds: Sequence[int], taken: Targets
) -> dict[int, set[int]]:
    """For the blocks that end in a return, by address: the places behind the calls that may have
    led there. What is reached without a call belongs to the same function."""
    callers: dict[int, set[int]] = {seeds[0]: set(seeds[1:])}
    for block in blocks.values():
        if block.flow.is_call:
            site = block.instructions[-1][0]
            for function in (block.flow.target, *taken.get(site, ())):
                if function is not None and function in blocks:
                    callers.setdefault(function, set()).add(block.end)
    found: dict[int, set[int]] = {}
    for function, behind in callers.items():
        for start in _body(blocks, function, taken):
            if blocks[start].flow.is_return:
                found.setdefault(start, set()).update(behind)
    return found


def _body(blocks: Mapping[int, Block], function: int, taken: Targets) -> set[int]:
    """The blocks of the function that begins at an address; calls in it come back."""
    body, left = set(), [function]
    while left:
        start = left.pop()
        if start in body or start not in blocks:
            continue
        body.add(start)
        block = blocks[start]
        flow = block.flow
        if flow.falls or flow.is_call:
            left.append(block.end)
        if not flow.is_call:
            if flow.target is not None:
                left.append(flow.target)
            elif flow.is_indirect and not flow.is_return:
                left += taken.get(block.instructions[-1][0], ())
    return body


def _block(survey: _Survey, start: int) -> Block | None:
    """The block that begins at the leader `start`, if its first instruction was taken up."""
    pc, instructions = start, []
    while pc in survey.found:
        insn, flow = survey.found[pc]
        instructions.append((pc, insn))
        pc = pc + insn.length & _ALL
        if flow.target is not None or not flow.falls or pc in survey.leaders:
            return Block(start, tuple(instructions), flow, pc)
    return Block(start, tuple(instructions), Flow(), pc) if instructions else None
