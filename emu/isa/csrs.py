"""The control and status registers of the machine, each declared once, and those of GPU lanes.

`emu.isa.csrfields` says how to read a declaration. A number that is not listed is an illegal
instruction: that is how software finds out what is absent (mstateen0, seed, the hypervisor's,
...). Sections are those of the privileged specification.
"""

from __future__ import annotations

from emu.isa.causes import M_MODE, S_MODE, U_MODE, Cause, Interrupt
from emu.isa.csrfields import Csr, Field, Read, any_of, bit, flag
from emu.isa.graph import Node, Trace, const, select

PMP_ENTRIES = 16
TIME_READ_PS = 100_000
"""Reading `time` takes that long: on real harts it is a trip to the timer, and programs that wait
by reading it again and again then execute fewer instructions for the same wait."""

SV39, SV48 = 8, 9
STCE = 1 << 63
"""Bit of menvcfg: supervisor mode has a timer of its own (Sstc)."""
_OFF, _DIRTY = 0, 3  # of FS and XS


def _whole(**more: object) -> Field:
    """All 64 bits of a register that has no smaller parts."""
    return Field("", 63, 0, **more)  # type: ignore[arg-type]


def _constant(value: int) -> tuple[Field, ...]:
    return (_whole(constant=value),)


# --- mstatus and its view for the supervisor (3.1.6, 12.1.1) ------------------------------------


def _some_unit_is_dirty(m: Trace) -> Node:
    return flag(m.state["fs"].eq(_DIRTY) | m.state["xs"].eq(_DIRTY))


_STATUS = (
    bit("SIE", 1, "interrupts of supervisor mode are enabled", word="mstatus"),
    bit("MIE", 3, "interrupts of machine mode are enabled"),
    bit("SPIE", 5, "SIE before the trap", word="mstatus"),
    bit("MPIE", 7, "MIE before the trap"),
    bit("SPP", 8, "mode before the trap to supervisor mode", word="mstatus"),
    Field("MPP", 12, 11, "mode before the trap to machine mode", legal=(U_MODE, S_MODE, M_MODE)),
    Field("FS", 14, 13, "state of the floating-point unit", word="fs", at=0),
    Field("XS", 16, 15, "state of the tensor unit", word="xs", at=0),
    bit("MPRV", 17, "loads and stores have the privilege of MPP"),
    bit("SUM", 18, "supervisor mode may access user pages", word="mstatus"),
    bit("MXR", 19, "executable pages may be read", word="mstatus"),
    bit("TVM", 20, "satp and SFENCE.VMA are illegal in supervisor mode"),
    bit("TW", 21, "WFI is illegal below machine mode"),
    bit("TSR", 22, "SRET is illegal in supervisor mode"),
    Field("UXL", 33, 32, "user mode has 64 bits", constant=2),
    Field("SXL", 35, 34, "supervisor mode has 64 bits", constant=2),
    bit("SD", 63, "FS or XS is dirty", read=_some_unit_is_dirty),
)
_SUPERVISORS = ("SIE", "SPIE", "SPP", "FS", "XS", "SUM", "MXR", "UXL", "SD")


# --- interrupts (3.1.9, 12.1.3) -----------------------------------------------------------------

_S_BITS = 1 << Interrupt.SSI | 1 << Interrupt.STI | 1 << Interrupt.SEI
_ALL_BITS = sum(1 << i for i in Interrupt)


def _pending(m: Trace) -> Node:
    """The devices' lines and what software wrote."""
    return m.state["lines"] | m.state["soft_mip"]


def _bits(mask: int) -> tuple[Field, ...]:
    """A field for each interrupt in `mask`."""
    return tuple(bit(i.name, i) for i in Interrupt if mask >> i & 1)


def _write_mip(m: Trace, value: Node) -> None:
    """STIP is software's only where it is not stimecmp's."""
    timed = (m.state["menvcfg"] & STCE).ne(0)
    m.state["soft_mip"] = value & select(timed, const(_S_BITS & ~(1 << Interrupt.STI)), _S_BITS)


def _write_sip(m: Trace, value: Node) -> None:
    """Only SSIP, and only while it is delegated."""
    mine = m.state["mideleg"] & 1 << Interrupt.SSI
    m.state["soft_mip"] = m.state["soft_mip"] & ~mine | value & mine


def _write_sie(m: Trace, value: Node) -> None:
    mine = m.state["mideleg"]
    m.state["mie"] = m.state["mie"] & ~mine | value & mine


# --- counters (3.1.10 to 3.1.12) ----------------------------------------------------------------

_CY, _TM, _IR = range(3)  # bits of mcounteren, scounteren and mcountinhibit
_COUNTERS = (
    bit("CY", _CY, "cycle"),
    bit("TM", _TM, "time"),
    bit("IR", _IR, "instret"),
)
_COUNTS = {"cycle": _CY, "instret": _IR}


def _retired() -> Node:
    """Instructions retired before this one; whoever executes the access gives the number."""
    return Node("slot", ("retired",), 64)


def _runs(inhibit: Node, number: int) -> Node:
    return (inhibit >> number & 1).eq(0)


def _count(name: str) -> tuple[Field, ...]:
    """A counter: its word holds how far it is ahead of the instructions retired, or its value while
    it stands still. The instruction that writes it does not count."""
    word, number = f"{name}_count", _COUNTS[name]

    def read(m: Trace) -> Node:
        passed = select(_runs(m.state["mcountinhibit"], number), _retired(), 0)
        return m.state[word] + passed

    def write(m: Trace, value: Node) -> None:
        passed = select(_runs(m.state["mcountinhibit"], number), _retired() + 1, 0)
        m.state[word] = value - passed

    return (_whole(read=read, write=write),)


def _write_inhibit(m: Trace, value: Node) -> None:
    """A counter that stops keeps its value; one that goes on counts from the next instruction."""
    old = m.state["mcountinhibit"]
    for name, number in _COUNTS.items():
        word = f"{name}_count"
        stops = _runs(old, number) & ~_runs(value, number)
        goes_on = ~_runs(old, number) & _runs(value, number)
        moved = select(stops, _retired(), select(goes_on, ~_retired(), 0))  # ~n is -(n + 1)
        m.state[word] = m.state[word] + moved
    m.state["mcountinhibit"] = value & (1 << _CY | 1 << _IR)


def time(m: Trace) -> Node:
    """The time in ticks, as the hart tells it."""
    s = m.state
    ps = s["time_ps"] + _retired() * s["ps_per_insn"] + s["stall_ps"]
    return s["time_ticks"] + ps.binary("divu", s["ps_per_tick"])


def _enabled(number: int) -> Read:
    """A counter is readable below machine mode if every mode on the way down has said so."""

    def guard(m: Trace) -> Node:
        priv = m.state["priv"]
        by_machine = (m.state["mcounteren"] >> number & 1).ne(0)
        by_supervisor = (m.state["scounteren"] >> number & 1).ne(0)
        return priv.eq(M_MODE) | by_machine & (priv.eq(S_MODE) | by_supervisor)

    return guard


def _has_own_timer(m: Trace) -> Node:
    """Supervisor mode may have stimecmp if machine mode has given it both that and `time`."""
    given = (m.state["menvcfg"] & STCE).ne(0) & (m.state["mcounteren"] >> _TM & 1).ne(0)
    return m.state["priv"].eq(M_MODE) | given


# --- units that can be off, translation ---------------------------------------------------------


def _float_is_on(m: Trace) -> Node:
    return m.state["fs"].ne(_OFF)


def _tensor_is_on(m: Trace) -> Node:
    return m.state["xs"].ne(_OFF)


def _satp_is_free(m: Trace) -> Node:
    """mstatus.TVM (3.1.6.5)."""
    forbidden = (m.state["mstatus"] & _TVM).ne(0)
    return ~(m.state["priv"].eq(S_MODE) & forbidden)


def _mode_exists(satp: Node) -> Node:
    """A write with a mode that is not implemented has no effect at all (12.1.11)."""
    return any_of(satp >> 60, (0, SV39, SV48))


_FFLAGS = Field("fflags", 4, 0, "NV DZ OF UF NX", word="fflags", at=0)
_FRM = Field("frm", 7, 5, "rounding mode", word="frm", at=0)
_LETTERS = "acdfimsux"
_MISA = 2 << 62 | sum(1 << ord(letter) - ord("a") for letter in _LETTERS)
_DELEGABLE = tuple(bit(c.name, c) for c in Cause if c != Cause.ECALL_M)
_VECTOR = (Field("BASE", 63, 2), bit("MODE", 0, "0 direct, 1 vectored"))
_EVEN = (Field("", 63, 1, "even"),)
_FIOM = (bit("FIOM", 0, "fences of I/O order memory too"),)

_CSRS = (
    Csr(0x001, "fflags", "Accrued floating-point exceptions",
        (Field("fflags", 4, 0, "NV DZ OF UF NX"),), guard=_float_is_on, after=("fs",)),
    Csr(0x002, "frm", "Dynamic rounding mode",
        (Field("frm", 2, 0, "rounding mode"),), guard=_float_is_on, after=("fs",)),
    Csr(0x003, "fcsr", "Floating-point control: frm and fflags",
        (_FFLAGS, _FRM), guard=_float_is_on, after=("fs",)),
    Csr(0xC00, "cycle", "Cycle counter; one instruction takes one cycle",
        _count("cycle"), guard=_enabled(_CY)),
    Csr(0xC01, "time", "Timer, the CLINT's mtime",
        (_whole(read=time),), guard=_enabled(_TM), stall_ps=TIME_READ_PS),
    Csr(0xC02, "instret", "Instructions retired", _count("instret"), guard=_enabled(_IR)),

    Csr(0x100, "sstatus", "Supervisor view of mstatus",
        tuple(f for f in _STATUS if f.name in _SUPERVISORS), after=("regime", "interrupts")),
    Csr(0x104, "sie", "Supervisor interrupt enable",
        (_whole(read=lambda m: m.state["mie"] & m.state["mideleg"], write=_write_sie),),
        after=("interrupts",)),
    Csr(0x105, "stvec", "Supervisor trap vector", _VECTOR),
    Csr(0x106, "scounteren", "Counters that user mode may read", _COUNTERS),
    Csr(0x10A, "senvcfg", "Environment of user mode", _FIOM),
    Csr(0x140, "sscratch", "For the supervisor trap handler", (_whole(),)),
    Csr(0x141, "sepc", "Where a trap taken in supervisor mode came from", _EVEN),
    Csr(0x142, "scause", "Why it came", (_whole(),)),
    Csr(0x143, "stval", "Its address or instruction", (_whole(),)),
    Csr(0x144, "sip", "Supervisor interrupts pending",
        (_whole(read=lambda m: _pending(m) & m.state["mideleg"], write=_write_sip),),
        base=lambda m: m.state["soft_mip"] & m.state["mideleg"], after=("interrupts",)),
    Csr(0x14D, "stimecmp", "STIP is pending while time >= stimecmp, if menvcfg.STCE is set",
        (_whole(),), guard=_has_own_timer, unit="timer"),
    Csr(0x180, "satp", "Translation mode, address space and root page table",
        (Field("MODE", 63, 60, "0 bare, 8 Sv39, 9 Sv48"), Field("ASID", 59, 44),
         Field("PPN", 43, 0)),
        guard=_satp_is_free, accepts=_mode_exists, after=("regime",)),
    Csr(0x5C0, "tcause", "Why the last tensor exception was raised",
        (_whole(),), guard=_tensor_is_on, after=("xs",)),
    Csr(0x5C1, "toperand", "Which operand it was about",
        (_whole(),), guard=_tensor_is_on, after=("xs",)),

    Csr(0xF11, "mvendorid", "Vendor; 0, not a commercial implementation", _constant(0)),
    Csr(0xF12, "marchid", "Architecture; 0, none registered", _constant(0)),
    Csr(0xF13, "mimpid", "Implementation", _constant(1)),
    Csr(0xF14, "mhartid", "Number of this hart", (_whole(word="hartid"),)),
    Csr(0xF15, "mconfigptr", "Configuration structure; 0, none", _constant(0)),
    Csr(0x300, "mstatus", "Privilege stack, interrupt enables, unit states",
        _STATUS, after=("regime", "interrupts")),
    Csr(0x301, "misa", "Base width and single-letter extensions", _constant(_MISA)),
    Csr(0x302, "medeleg", "Exceptions delegated to supervisor mode", _DELEGABLE),
    Csr(0x303, "mideleg", "Interrupts delegated to supervisor mode",
        _bits(_S_BITS), after=("interrupts",)),
    Csr(0x304, "mie", "Interrupt enable", _bits(_ALL_BITS), after=("interrupts",)),
    Csr(0x305, "mtvec", "Machine trap vector", _VECTOR),
    Csr(0x306, "mcounteren", "Counters that supervisor mode may read", _COUNTERS),
    Csr(0x30A, "menvcfg", "Environment of the lower modes",
        (*_FIOM, bit("STCE", 63, "stimecmp says when STIP is pending")), unit="timer"),
    Csr(0x320, "mcountinhibit", "Counters that stand still",
        (_whole(read=lambda m: m.state["mcountinhibit"], write=_write_inhibit),)),
    Csr(0x340, "mscratch", "For the machine trap handler", (_whole(),)),
    Csr(0x341, "mepc", "Where a trap taken in machine mode came from", _EVEN),
    Csr(0x342, "mcause", "Why it came", (_whole(),)),
    Csr(0x343, "mtval", "Its address or instruction", (_whole(),)),
    Csr(0x344, "mip", "Interrupts pending", (_whole(read=_pending, write=_write_mip),),
        base=lambda m: m.state["soft_mip"], after=("interrupts",)),
    *(Csr(0x3A0 + 2 * i, f"pmpcfg{2 * i}",
          f"Physical memory protection, entries {8 * i} to {8 * i + 7}",
          (_whole(word="pmpcfg", index=i),), unit="pmp")
      for i in range(PMP_ENTRIES // 8)),
    *(Csr(0x3B0 + i, f"pmpaddr{i}", f"Address of PMP entry {i}",
          (_whole(word="pmpaddr", index=i),), unit="pmp")
      for i in range(PMP_ENTRIES)),
    Csr(0x7A0, "tselect", "Selected trigger; there is none to select", _constant(0)),
    *(Csr(0x7A0 + i, f"tdata{i}", f"Trigger's word {i}; 0, no trigger", _constant(0))
      for i in range(1, 4)),
    Csr(0x7A4, "tinfo", "Types that the trigger can have; 1, none", _constant(1)),
    Csr(0xB00, "mcycle", "Cycle counter, writable", _count("cycle")),
    Csr(0xB02, "minstret", "Instructions retired, writable", _count("instret")),
    *(Csr(0xB00 + i, f"mhpmcounter{i}", "Event counter; none, reads 0", _constant(0))
      for i in range(3, 32)),
    *(Csr(0x320 + i, f"mhpmevent{i}", "Event selector; none, reads 0", _constant(0))
      for i in range(3, 32)),
)  # fmt: skip

BY_NUMBER: dict[int, Csr] = {csr.number: csr for csr in _CSRS}
BY_NAME: dict[str, Csr] = {csr.name: csr for csr in _CSRS}
MSTATUS = BY_NAME["mstatus"]
_TVM = MSTATUS.mask("TVM")

_AXES = ("x", "y", "z")

LANE_CSRS: dict[int, Csr] = {
    csr.number: csr
    for csr in (
        Csr(0xCC0, "lane_id", "Number of the lane in its warp"),
        Csr(0xCC1, "warp_id", "Number of the warp in its workgroup"),
        Csr(0xCC2, "unit_id", "Compute unit: the workgroup's number modulo that of units"),
        Csr(0xCC3, "warp_mask", "Warps of the workgroup that have a work-item in the grid"),
        Csr(0xCC4, "lane_mask", "Lanes of the warp that execute this instruction together"),
        *(
            Csr(0xCC8 + i, f"group_id_{d}", f"{d} of the workgroup in the grid")
            for i, d in enumerate(_AXES)
        ),
        *(
            Csr(0xCCB + i, f"local_id_{d}", f"{d} of the work-item in its workgroup")
            for i, d in enumerate(_AXES)
        ),
        Csr(0xFC0, "warp_lanes", "Lanes of a warp"),
        Csr(0xFC1, "group_warps", "Warps of a workgroup"),
        Csr(0xFC2, "units", "Compute units of the GPU"),
        Csr(0xFC3, "group_memory", "Address of the workgroup's memory"),
        *(
            Csr(0xFC8 + i, f"group_size_{d}", f"Work-items of a workgroup in {d}")
            for i, d in enumerate(_AXES)
        ),
        *(
            Csr(0xFCB + i, f"grid_size_{d}", f"Work-items of the grid in {d}")
            for i, d in enumerate(_AXES)
        ),
    )
}
"""The registers of the GPU's lanes (`emu.isa.xlane`), which can only be read; a hart has none of
them, and a lane none of the others. Up to 0xCC4 and 0xFC3 they are those of the Vortex GPGPU."""

ANY_NAME: dict[str, Csr] = BY_NAME | {csr.name: csr for csr in LANE_CSRS.values()}
ANY_NUMBER: dict[int, Csr] = BY_NUMBER | LANE_CSRS
"""What the assembler and the disassembler know: of harts and of lanes."""
