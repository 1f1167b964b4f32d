"""What reading and writing a CSR does, made from its declaration in `emu.isa.csrs`.

`permitted`, `read`, `base` and `write` are bodies over the graph, for any register; the native
engine emits them. `access` is the same for Python, a register at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import groupby
from typing import TYPE_CHECKING

from emu.cpu.routine import Routine
from emu.cpu.state import Dirty, State
from emu.cpu.traps import illegal
from emu.isa.csrfields import ALL, Csr, Field, any_of
from emu.isa.csrs import BY_NUMBER
from emu.isa.graph import Node, Trace, const, select

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

_INSTRET = State.indices["instret"]


# --- bodies -------------------------------------------------------------------------------------


def permitted(m: Trace, csr: Csr) -> Node:
    """1 bit: whether the hart may access the register now; whether it may be written at all is in
    its number."""
    allowed = ~m.state["priv"].ltu(csr.privilege)
    return allowed & csr.guard(m) if csr.guard else allowed


def read(m: Trace, csr: Csr) -> Node:
    """The value that a read gives."""
    value = const(sum((f.constant or 0) << f.low for f in csr.fields))
    for f in csr.fields:
        if f.read:
            value = value | (f.read(m) << f.low if f.low else f.read(m))
    for (word, index, moved), fields in _by_word(csr):
        mask = sum(f.mask for f in fields)
        kept = m.state[word] if index < 0 else m.state[word, const(index)]
        kept = kept << moved if moved > 0 else kept >> -moved if moved < 0 else kept
        value = value | (kept if mask == ALL else kept & mask)
    return value


def base(m: Trace, csr: Csr) -> Node:
    """What setting and clearing bits starts from."""
    return csr.base(m) if csr.base else read(m, csr)


def write(m: Trace, csr: Csr, value: Node) -> None:
    """Keep what the register supports of `value`, and mark the unit it belongs to dirty."""
    accepted = csr.accepts(value) if csr.accepts else None
    for f in csr.fields:
        if f.write:
            f.write(m, value)
    for (word, _, moved), fields in _by_word(csr):
        legal = _legalised(value, [f for f in fields if f.legal])
        mask = sum(f.ones << f.shift for f in fields)
        new = legal >> moved if moved > 0 else legal << -moved if moved < 0 else legal
        old = m.state[word]
        new = new if mask == ALL else new & mask
        if word != csr.name:  # another register's word, of which this one shows a part
            new = old & ~mask & ALL | new
        m.state[word] = new if accepted is None else select(accepted, new, old)
    for unit in ("fs", "xs"):
        if unit in csr.after:
            m.state[unit] = const(Dirty.DIRTY)


def _legalised(value: Node, fields: list[Field]) -> Node:
    """The value with what a field cannot hold replaced by the first that it can."""
    for f in fields:
        part = value >> f.low & f.ones
        default = value & ~f.mask & ALL | f.legal[0] << f.low
        value = select(any_of(part, f.legal), value, default)
    return value


_Place = tuple[str, int, int]
"""A member of the state, the index in it or -1, and how far a field has moved from there."""


def _by_word(csr: Csr) -> list[tuple[_Place, list[Field]]]:
    """The stored fields, by the word they are kept in."""

    def place(f: Field) -> _Place:
        return csr.word_of(f), -1 if f.index is None else f.index, f.low - f.shift

    stored = sorted((f for f in csr.fields if f.stored), key=place)
    return [(key, list(fields)) for key, fields in groupby(stored, place)]


# --- for Python ---------------------------------------------------------------------------------


class Access:
    """A register as Python accesses it. `retired` is the number of instructions before this one."""

    def __init__(self, csr: Csr) -> None:
        self.csr = csr
        self._permitted = Routine(lambda m: permitted(m, csr))
        self._read = Routine(lambda m, retired: read(m, csr), "retired")
        self._base = Routine(lambda m, retired: base(m, csr), "retired")
        self._write = Routine(lambda m, value, retired: write(m, csr, value), "value", "retired")

    def permitted(self, hart: Hart) -> bool:
        """Whether the hart may access it now."""
        return bool(self._permitted.python(hart.state.words))

    def read(self, hart: Hart) -> int:
        """The value that a read gives."""
        words = hart.state.words
        return int(self._read.python(words, words[_INSTRET]))

    def base(self, hart: Hart) -> int:
        """What setting and clearing bits starts from."""
        words = hart.state.words
        return int(self._base.python(words, words[_INSTRET]))

    def write(self, hart: Hart, value: int) -> None:
        """Write, and let the hart see to what follows from it."""
        words, csr = hart.state.words, self.csr
        if csr.unit == "pmp":
            hart.pmp.write(csr.name, value)
            hart.protection_changed()
            return
        self._write.python(words, value, words[_INSTRET])
        if csr.name == "satp":
            hart.space_changed()
        if "regime" in csr.after:
            hart.regime_changed()
        if csr.unit == "timer":
            hart.timer_changed()
        if "interrupts" in csr.after:
            hart.interrupts_changed()


@cache
def by_number(number: int) -> Access:
    """The register with that number, without any checks; KeyError if there is none."""
    return Access(BY_NUMBER[number])


def access(hart: Hart, number: int, writes: bool) -> Access:
    """A register that the hart may access now; raises Trap (illegal instruction)."""
    csr = BY_NUMBER.get(number)
    if csr is None or (writes and csr.read_only):
        raise illegal()
    found = by_number(number)
    if not found.permitted(hart):
        raise illegal()
    return found


def swap(hart: Hart, number: int, value: int) -> int:
    """What CSRRW does: write, and give the old value. Raises Trap."""
    register = access(hart, number, writes=True)
    old = register.read(hart)
    register.write(hart, value)
    if register.csr.stall_ps:
        hart.stall(register.csr.stall_ps)
    return old


def change(hart: Hart, number: int, new: Callable[[int], int] | None) -> int:
    """What CSRRS and CSRRC do: write what `new` makes of the bits that can be set and cleared,
    unless it is None, and give the old value. Raises Trap."""
    register = access(hart, number, writes=new is not None)
    old = register.read(hart)
    if new is not None:
        register.write(hart, new(register.base(hart)) & ALL)
    if register.csr.stall_ps:
        hart.stall(register.csr.stall_ps)
    return old


_unkept = {csr.word_of(f) for csr in BY_NUMBER.values() for f in csr.fields if f.stored}
_unkept -= State.indices.keys()
if _unkept:
    raise ImportError(f"the state has no words for these CSRs: {sorted(_unkept)}")
