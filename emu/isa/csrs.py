"""The control and status registers of the machine: numbers, names and what each is for.

A CSR's number says who may touch it: bits 9:8 are the least privilege, bits 11:10 both set mean
read-only (privileged specification, section 2.1). A number that is not listed is an illegal
instruction. What an access does is in `emu.cpu.csr`.
"""

from __future__ import annotations

from typing import NamedTuple

PMP_ENTRIES = 16


class Csr(NamedTuple):
    """One register's number, name and one-line description."""

    number: int
    name: str
    doc: str

    @property
    def privilege(self) -> int:
        """The least privilege that may access it: 0 user, 1 supervisor, 3 machine."""
        return self.number >> 8 & 3

    @property
    def read_only(self) -> bool:
        """Whether every write traps."""
        return self.number >> 10 == 3


_CSRS = (
    Csr(0x001, "fflags", "Accrued floating-point exceptions"),
    Csr(0x002, "frm", "Dynamic rounding mode"),
    Csr(0x003, "fcsr", "Floating-point control: frm and fflags"),
    Csr(0xC00, "cycle", "Cycle counter; one instruction takes one cycle"),
    Csr(0xC01, "time", "Timer, the CLINT's mtime"),
    Csr(0xC02, "instret", "Instructions retired"),
    Csr(0x100, "sstatus", "Supervisor view of mstatus"),
    Csr(0x104, "sie", "Supervisor interrupt enable"),
    Csr(0x105, "stvec", "Supervisor trap vector"),
    Csr(0x106, "scounteren", "Counters that user mode may read"),
    Csr(0x10A, "senvcfg", "Environment of user mode"),
    Csr(0x140, "sscratch", "For the supervisor trap handler"),
    Csr(0x141, "sepc", "Where a trap taken in supervisor mode came from"),
    Csr(0x142, "scause", "Why it came"),
    Csr(0x143, "stval", "Its address or instruction"),
    Csr(0x144, "sip", "Supervisor interrupts pending"),
    Csr(0x180, "satp", "Translation mode, address space and root page table"),
    Csr(0x5C0, "tcause", "Why the last tensor exception was raised"),
    Csr(0x5C1, "toperand", "Which operand it was about"),
    Csr(0xF11, "mvendorid", "Vendor; 0, not a commercial implementation"),
    Csr(0xF12, "marchid", "Architecture; 0, none registered"),
    Csr(0xF13, "mimpid", "Implementation"),
    Csr(0xF14, "mhartid", "Number of this hart"),
    Csr(0xF15, "mconfigptr", "Configuration structure; 0, none"),
    Csr(0x300, "mstatus", "Privilege stack, interrupt enables, unit states"),
    Csr(0x301, "misa", "Base width and single-letter extensions"),
    Csr(0x302, "medeleg", "Exceptions delegated to supervisor mode"),
    Csr(0x303, "mideleg", "Interrupts delegated to supervisor mode"),
    Csr(0x304, "mie", "Interrupt enable"),
    Csr(0x305, "mtvec", "Machine trap vector"),
    Csr(0x306, "mcounteren", "Counters that supervisor mode may read"),
    Csr(0x30A, "menvcfg", "Environment of the lower modes"),
    Csr(0x320, "mcountinhibit", "Counters that stand still"),
    Csr(0x340, "mscratch", "For the machine trap handler"),
    Csr(0x341, "mepc", "Where a trap taken in machine mode came from"),
    Csr(0x342, "mcause", "Why it came"),
    Csr(0x343, "mtval", "Its address or instruction"),
    Csr(0x344, "mip", "Interrupts pending"),
    Csr(0x3A0, "pmpcfg0", "Physical memory protection, entries 0 to 7"),
    Csr(0x3A2, "pmpcfg2", "Physical memory protection, entries 8 to 15"),
    *(Csr(0x3B0 + i, f"pmpaddr{i}", f"Address of PMP entry {i}") for i in range(PMP_ENTRIES)),
    Csr(0xB00, "mcycle", "Cycle counter, writable"),
    Csr(0xB02, "minstret", "Instructions retired, writable"),
    *(Csr(0xB00 + i, f"mhpmcounter{i}", "Event counter; none, reads 0") for i in range(3, 32)),
    *(Csr(0x320 + i, f"mhpmevent{i}", "Event selector; none, reads 0") for i in range(3, 32)),
)

BY_NUMBER: dict[int, Csr] = {csr.number: csr for csr in _CSRS}
BY_NAME: dict[str, Csr] = {csr.name: csr for csr in _CSRS}

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
