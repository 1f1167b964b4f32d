"""What reading and writing each CSR does, declared as data: one `Behaviour` a register.

`Csrs` holds the values that are plain storage; the rest is composed from the hart's state. Fields
are WARL: a write keeps what the hardware supports of it and ignores the rest (privileged
specification, section 2.3). Permission checks are in `access`, once for all registers; `BEHAVIOURS`
is checked at import to cover `emu.isa.csrs` exactly.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from emu.cpu import traps
from emu.cpu.mmu import LEVELS
from emu.cpu.state import Dirty
from emu.cpu.traps import Cause, Interrupt, illegal
from emu.isa.csrs import BY_NAME, BY_NUMBER, PMP_ENTRIES

if TYPE_CHECKING:
    from emu.cpu.hart import Hart

Read = Callable[["Hart"], int]
Write = Callable[["Hart", int], None]

_ALL = (1 << 64) - 1
_FS_SHIFT, _XS_SHIFT = 13, 15
_UNITS = 3 << _FS_SHIFT | 3 << _XS_SHIFT
_SD = 1 << 63
_UXL_64, _SXL_64 = 2 << 32, 2 << 34
_SSTATUS_BITS = traps.SIE | traps.SPIE | traps.SPP | traps.SUM | traps.MXR
_MSTATUS_BITS = (
    _SSTATUS_BITS | traps.MIE | traps.MPIE | traps.MPRV | traps.TVM | traps.TW | traps.TSR
)
_S_INTERRUPTS = 1 << Interrupt.SSI | 1 << Interrupt.STI | 1 << Interrupt.SEI
_INTERRUPTS = _S_INTERRUPTS | 1 << Interrupt.MSI | 1 << Interrupt.MTI | 1 << Interrupt.MEI
_DELEGABLE = sum(1 << c for c in Cause if c != Cause.ECALL_M)
_COUNTERS = 0b111  # cycle, time, instret: as bits of the counter-enable registers
_SATP_MODES = (0, *LEVELS)  # bare, and with page tables
_FIOM = 1
_MISA = 2 << 62 | sum(1 << ord(letter) - ord("a") for letter in "acdfimsux")
_IMPLEMENTATION = 1


@dataclass
class Csrs:
    """The stored registers and fields. `mstatus` is without the unit states, which `State` holds;
    `soft_mip` is the part of mip that software writes."""

    mstatus: int = 0
    medeleg: int = 0
    mideleg: int = 0
    mie: int = 0
    soft_mip: int = 0
    mtvec: int = 0
    mepc: int = 0
    mcause: int = 0
    mtval: int = 0
    mscratch: int = 0
    mcounteren: int = 0
    menvcfg: int = 0
    stvec: int = 0
    sepc: int = 0
    scause: int = 0
    stval: int = 0
    sscratch: int = 0
    scounteren: int = 0
    senvcfg: int = 0
    satp: int = 0


@dataclass
class Counter:
    """A counter that follows the instructions retired, at a distance, unless it stands still."""

    distance: int = 0
    frozen: int | None = None

    def read(self, retired: int) -> int:
        """The value after `retired` instructions since reset."""
        return self.frozen if self.frozen is not None else (retired + self.distance) & _ALL

    def write(self, retired: int, value: int) -> None:
        """Set it; the writing instruction itself does not count."""
        if self.frozen is not None:
            self.frozen = value
        else:
            self.distance = value - (retired + 1)

    def inhibit(self, retired: int, stop: bool) -> None:
        """Stop counting or go on."""
        if stop and self.frozen is None:
            self.frozen = self.read(retired)
        elif not stop and self.frozen is not None:
            self.distance, self.frozen = self.frozen - (retired + 1), None


@dataclass
class Counters:
    """The writable counters, by their bit in mcountinhibit."""

    cycle: Counter = field(default_factory=Counter)
    instret: Counter = field(default_factory=Counter)


@dataclass(frozen=True)
class Behaviour:
    """How a register reads and writes; `base` is what setting or clearing bits starts from, where
    that is not what is read."""

    read: Read
    write: Write
    base: Read | None = None


def _ignore(hart: Hart, value: int) -> None:
    """A write without effect: a read-only field or nothing implemented behind it."""


def _constant(value: int) -> Behaviour:
    return Behaviour(lambda hart: value, _ignore)


def _stored(name: str, mask: int = _ALL) -> Behaviour:
    """Plain storage of the bits in `mask`."""
    return Behaviour(
        lambda hart: int(getattr(hart.csr, name)),
        lambda hart, value: setattr(hart.csr, name, value & mask),
    )


# --- status -------------------------------------------------------------------------------------


def _status(hart: Hart) -> int:
    """mstatus as read: the stored bits, the unit states, and SD when one is dirty."""
    fs, xs = hart.state.fs, hart.state.xs
    dirty = _SD if Dirty.DIRTY in (fs, xs) else 0
    return hart.csr.mstatus | fs << _FS_SHIFT | xs << _XS_SHIFT | _UXL_64 | _SXL_64 | dirty


def _set_status(hart: Hart, value: int, mask: int) -> None:
    hart.csr.mstatus = hart.csr.mstatus & ~mask | value & mask
    hart.state.fs = value >> _FS_SHIFT & 3
    hart.state.xs = value >> _XS_SHIFT & 3
    hart.regime_changed()
    hart.interrupts_changed()


def _write_mstatus(hart: Hart, value: int) -> None:
    reserved_mode = value >> traps.MPP_SHIFT & 3 == 2
    _set_status(hart, value, _MSTATUS_BITS | (0 if reserved_mode else traps.MPP))


def _read_sstatus(hart: Hart) -> int:
    return _status(hart) & (_SSTATUS_BITS | _UNITS | _SD | _UXL_64)


def _write_sstatus(hart: Hart, value: int) -> None:
    _set_status(hart, value, _SSTATUS_BITS)


# --- interrupts ---------------------------------------------------------------------------------


def _write_mip(hart: Hart, value: int) -> None:
    hart.csr.soft_mip = value & _S_INTERRUPTS
    hart.interrupts_changed()


def _write_sip(hart: Hart, value: int) -> None:
    mask = hart.csr.mideleg & 1 << Interrupt.SSI
    _write_mip(hart, hart.csr.soft_mip & ~mask | value & mask)


def _write_mie(hart: Hart, value: int) -> None:
    hart.csr.mie = value & _INTERRUPTS
    hart.interrupts_changed()


def _write_sie(hart: Hart, value: int) -> None:
    mask = hart.csr.mideleg
    _write_mie(hart, hart.csr.mie & ~mask | value & mask)


def _write_mideleg(hart: Hart, value: int) -> None:
    hart.csr.mideleg = value & _S_INTERRUPTS
    hart.interrupts_changed()


# --- translation and protection -----------------------------------------------------------------


def _write_satp(hart: Hart, value: int) -> None:
    """A write with a mode that is not implemented has no effect at all (section 10.1.11)."""
    if value >> 60 in _SATP_MODES:
        hart.csr.satp = value
        hart.regime_changed()


def _pmpcfg(first: int) -> Behaviour:
    def write(hart: Hart, value: int) -> None:
        hart.pmp.write_config(first, value)
        hart.flush_translations()

    return Behaviour(lambda hart: hart.pmp.read_config(first), write)


def _pmpaddr(i: int) -> Behaviour:
    def write(hart: Hart, value: int) -> None:
        hart.pmp.write_address(i, value)
        hart.flush_translations()

    return Behaviour(lambda hart: hart.pmp.address[i], write)


# --- counters and floating point ----------------------------------------------------------------


def _counter(name: str) -> Behaviour:
    def counter(hart: Hart) -> Counter:
        found: Counter = getattr(hart.counters, name)
        return found

    return Behaviour(
        lambda hart: counter(hart).read(hart.instret),
        lambda hart, value: counter(hart).write(hart.instret, value),
    )


def _read_inhibit(hart: Hart) -> int:
    counters = hart.counters
    return (counters.cycle.frozen is not None) | (counters.instret.frozen is not None) << 2


def _write_inhibit(hart: Hart, value: int) -> None:
    hart.counters.cycle.inhibit(hart.instret, bool(value & 1))
    hart.counters.instret.inhibit(hart.instret, bool(value & 4))


def _write_fcsr(hart: Hart, value: int) -> None:
    hart.state.fflags = value & 31
    hart.state.frm = value >> 5 & 7
    hart.state.fs = Dirty.DIRTY


def _write_fflags(hart: Hart, value: int) -> None:
    _write_fcsr(hart, hart.state.frm << 5 | value & 31)


def _write_frm(hart: Hart, value: int) -> None:
    _write_fcsr(hart, (value & 7) << 5 | hart.state.fflags)


def _tensor(name: str) -> Behaviour:
    def write(hart: Hart, value: int) -> None:
        setattr(hart, name, value)
        hart.state.xs = Dirty.DIRTY

    return Behaviour(lambda hart: int(getattr(hart, name)), write)


_BY_NAME: dict[str, Behaviour] = {
    "fflags": Behaviour(lambda hart: hart.state.fflags, _write_fflags),
    "frm": Behaviour(lambda hart: hart.state.frm, _write_frm),
    "fcsr": Behaviour(lambda hart: hart.state.frm << 5 | hart.state.fflags, _write_fcsr),
    "cycle": _counter("cycle"),
    "time": Behaviour(lambda hart: hart.read_time(), _ignore),
    "instret": _counter("instret"),
    "sstatus": Behaviour(_read_sstatus, _write_sstatus),
    "sie": Behaviour(lambda hart: hart.csr.mie & hart.csr.mideleg, _write_sie),
    "stvec": _stored("stvec", ~2),
    "scounteren": _stored("scounteren", _COUNTERS),
    "senvcfg": _stored("senvcfg", _FIOM),
    "sscratch": _stored("sscratch"),
    "sepc": _stored("sepc", ~1),
    "scause": _stored("scause"),
    "stval": _stored("stval"),
    "sip": Behaviour(
        lambda hart: hart.mip & hart.csr.mideleg,
        _write_sip,
        base=lambda hart: hart.csr.soft_mip & hart.csr.mideleg,
    ),
    "satp": Behaviour(lambda hart: hart.csr.satp, _write_satp),
    "tcause": _tensor("tcause"),
    "toperand": _tensor("toperand"),
    "mvendorid": _constant(0),
    "marchid": _constant(0),
    "mimpid": _constant(_IMPLEMENTATION),
    "mhartid": Behaviour(lambda hart: hart.hartid, _ignore),
    "mconfigptr": _constant(0),
    "mstatus": Behaviour(_status, _write_mstatus),
    "misa": _constant(_MISA),
    "medeleg": _stored("medeleg", _DELEGABLE),
    "mideleg": Behaviour(lambda hart: hart.csr.mideleg, _write_mideleg),
    "mie": Behaviour(lambda hart: hart.csr.mie, _write_mie),
    "mtvec": _stored("mtvec", ~2),
    "mcounteren": _stored("mcounteren", _COUNTERS),
    "menvcfg": _stored("menvcfg", _FIOM),
    "mcountinhibit": Behaviour(_read_inhibit, _write_inhibit),
    "mscratch": _stored("mscratch"),
    "mepc": _stored("mepc", ~1),
    "mcause": _stored("mcause"),
    "mtval": _stored("mtval"),
    "mip": Behaviour(lambda hart: hart.mip, _write_mip, base=lambda hart: hart.csr.soft_mip),
    "pmpcfg0": _pmpcfg(0),
    "pmpcfg2": _pmpcfg(8),
    **{f"pmpaddr{i}": _pmpaddr(i) for i in range(PMP_ENTRIES)},
    "mcycle": _counter("cycle"),
    "minstret": _counter("instret"),
    **{f"mhpmcounter{i}": _constant(0) for i in range(3, 32)},
    **{f"mhpmevent{i}": _constant(0) for i in range(3, 32)},
}

BEHAVIOURS: dict[int, Behaviour] = {BY_NAME[name].number: b for name, b in _BY_NAME.items()}
"""By number, one for each CSR of the machine."""

if BEHAVIOURS.keys() != BY_NUMBER.keys():
    missing = [BY_NUMBER[n].name for n in BY_NUMBER.keys() - BEHAVIOURS.keys()]
    raise ImportError(f"these CSRs have no behaviour: {missing}")

_FLOATING = frozenset(BY_NAME[name].number for name in ("fflags", "frm", "fcsr"))
_TENSOR = frozenset(BY_NAME[name].number for name in ("tcause", "toperand"))
_SHADOWS = {BY_NAME[name].number: bit for bit, name in enumerate(("cycle", "time", "instret"))}


def access(hart: Hart, number: int, writes: bool) -> Behaviour:
    """The behaviour of a CSR that the hart may access now; raises Trap (illegal instruction)."""
    csr = BY_NUMBER.get(number)
    priv = hart.state.priv
    if csr is None or priv < csr.privilege or (writes and csr.read_only):
        raise illegal()
    if csr.name == "satp" and priv == traps.S_MODE and hart.csr.mstatus & traps.TVM:
        raise illegal()
    if number in _FLOATING and hart.state.fs == Dirty.OFF:
        raise illegal()
    if number in _TENSOR and hart.state.xs == Dirty.OFF:
        raise illegal()
    bit = _SHADOWS.get(number)
    if bit is not None and priv < traps.M_MODE:
        enabled = hart.csr.mcounteren & (hart.csr.scounteren if priv == traps.U_MODE else _ALL)
        if not enabled >> bit & 1:
            raise illegal()
    return BEHAVIOURS[number]
