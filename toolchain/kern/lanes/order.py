"""The order of a function's blocks: every loop in one piece, what follows it behind it.

Works on the text of optimised IR. The strongly connected parts of the flow are put in topological
order, the earlier written first among those that could be next; a part that is a loop is ordered
in the same way inside, without the edges back to where it is entered. LLVM numbers nameless values
in the order of the text, so they get names first.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping
from graphlib import TopologicalSorter
from typing import TypeVar

_LABEL = re.compile(r'^("[^"]*"|[\w.$-]+):')
_TARGET = re.compile(r'label %("[^"]*"|[\w.$-]+)')
_NAMELESS = re.compile(r"%(\d+)\b")
_NAMELESS_LABEL = re.compile(r"^(\d+):", re.M)

_Node = TypeVar("_Node", bound=Hashable)
Flow = dict[str, list[str]]
"""The successors of each block, in the order of the text."""


def functions(module: str) -> Iterator[tuple[bool, str]]:
    """The pieces of a module's text: whether it is a function with a body, and the piece."""
    end = 0
    for match in re.finditer(r"^define .*?^}\n", module, re.M | re.S):
        yield False, module[end : match.start()]
        yield True, match[0]
        end = match.end()
    yield False, module[end:]


def in_order(function: str) -> str:
    """A function's text with its blocks in order."""
    header, _, body = _named(function).partition("{\n")
    blocks = dict(_blocks(body.rsplit("}", 1)[0]))
    flow = {name: list(dict.fromkeys(_TARGET.findall(text))) for name, text in blocks.items()}
    return header + "{\n" + "\n".join(blocks[name] for name in order(flow)) + "}\n"


def _named(function: str) -> str:
    return _NAMELESS.sub(r"%v.\1", _NAMELESS_LABEL.sub(r"v.\1:", function))


def _blocks(body: str) -> Iterator[tuple[str, str]]:
    """The label and the text of each block."""
    label = ""
    lines: list[str] = []
    for line in body.splitlines(keepends=True):
        found = _LABEL.match(line)
        if found and lines:
            yield label, "".join(lines)
            lines = []
        if found:
            label = found[1]
        if line.strip():
            lines.append(line)
    yield label, "".join(lines)


def order(flow: Flow) -> list[str]:
    """The blocks of a flow in order; the first is where it is entered."""
    parts = [sorted(part, key=list(flow).index) for part in strongly_connected(flow)]
    home = {name: i for i, part in enumerate(parts) for name in part}
    graph: TopologicalSorter[int] = TopologicalSorter(dict.fromkeys(range(len(parts)), ()))
    for name, targets in flow.items():
        for target in targets:
            if home[target] != home[name]:
                graph.add(home[target], home[name])
    rank = {name: i for i, name in enumerate(flow)}
    graph.prepare()
    ready = list(graph.get_ready())
    ordered: list[str] = []
    while ready:
        ready.sort(key=lambda i: rank[parts[i][0]], reverse=True)
        part = ready.pop()
        ordered += _inside(flow, parts[part])
        graph.done(part)
        ready += graph.get_ready()
    return ordered


def _inside(flow: Flow, part: list[str]) -> Iterable[str]:
    """The blocks of a strongly connected part in order: where it is entered comes first."""
    if len(part) == 1:
        return part
    members = set(part)
    entries = [
        name for name in part
        if any(name in flow[other] for other in flow if other not in members)
    ]  # fmt: skip
    first = entries[0] if entries else part[0]
    inner = {name: [t for t in flow[name] if t in members and t != first] for name in part}
    return order({first: inner.pop(first), **inner})


def strongly_connected(flow: Mapping[_Node, Iterable[_Node]]) -> list[Collection[_Node]]:
    """Tarjan's algorithm, with a stack of its own for functions with many blocks."""
    found: list[Collection[_Node]] = []
    index: dict[_Node, int] = {}
    low: dict[_Node, int] = {}
    path: dict[_Node, None] = {}
    for root in flow:
        work = [] if root in index else [(root, iter(flow[root]))]
        if work:
            index[root] = low[root] = len(index)
            path[root] = None
        while work:
            name, targets = work[-1]
            target = next(targets, None)
            if target is None:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[name])
                if low[name] == index[name]:
                    found.append(_taken(path, name))
            elif target not in index:
                index[target] = low[target] = len(index)
                path[target] = None
                work.append((target, iter(flow[target])))
            elif target in path:
                low[name] = min(low[name], index[target])
    return found


def _taken(path: dict[_Node, None], last: _Node) -> list[_Node]:
    """Takes the names down to `last` off the path."""
    taken = []
    while True:
        name, _ = path.popitem()
        taken.append(name)
        if name == last:
            return taken
