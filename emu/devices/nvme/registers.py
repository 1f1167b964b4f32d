"""The controller's registers (NVM Express base specification 1.4, chapter 3) in BAR 0."""

from __future__ import annotations

from emu.devices.registers import RO, RW, W1C, W1S, WO, Register, bits

IO_QUEUES = 64
"""How many I/O submission queues, and how many completion queues, there may be."""
MAX_ENTRIES = 2048
"""The largest queue."""
CSS_NVM, CSS_ALL, CSS_ADMIN = 0, 6, 7
"""Values of CC.CSS: the NVM command set; all that the controller has; admin commands only."""
SUBSYSTEM_RESET = 0x4E56_4D65
"""What NSSR wants: "NVMe"."""


class Cap(Register, offset=0x00, size=8):
    """Controller capabilities."""

    mqes = bits[15:0](RO, reset=MAX_ENTRIES - 1, doc="largest queue, in entries, less one")
    cqr = bits[16](RO, reset=1, doc="queues must be physically contiguous")
    ams = bits[18:17](RO, doc="arbitration besides round robin: none")
    to = bits[31:24](RO, reset=10, doc="longest time to become ready, in 500 ms")
    dstrd = bits[35:32](RO, doc="doorbell stride: 4 << dstrd bytes")
    nssrs = bits[36](RO, reset=1, doc="subsystem reset: yes")
    css = bits[44:37](
        RO, reset=0xC1, doc="command sets: bit 0, NVM; 6, by identifier; 7, admin only"
    )
    bps = bits[45](RO, doc="boot partitions: no")
    mpsmin = bits[51:48](RO, doc="smallest memory page: 4 KiB << mpsmin")
    mpsmax = bits[55:52](RO, reset=4, doc="largest memory page: 4 KiB << mpsmax")
    pmrs = bits[56](RO, doc="persistent memory region: no")
    cmbs = bits[57](RO, doc="controller memory buffer: 1 on boards that give the drive one")
    reserved = bits[23:19], bits[47:46], bits[63:58]


class Vs(Register, offset=0x08, size=4):
    """Version of the specification."""

    ter = bits[7:0](RO, doc="tertiary")
    mnr = bits[15:8](RO, reset=4, doc="minor")
    mjr = bits[31:16](RO, reset=1, doc="major")


class Intms(Register, offset=0x0C, size=4):
    """Interrupt mask set; reads as the mask. For INTx only."""

    vectors = bits[31:0](W1S, doc="1 masks the vector")


class Intmc(Register, offset=0x10, size=4):
    """Interrupt mask clear; reads as the mask. For INTx only."""

    vectors = bits[31:0](W1C, doc="1 unmasks the vector")


class Cc(Register, offset=0x14, size=4):
    """Controller configuration."""

    en = bits[0](RW, doc="enable; clearing it resets the controller")
    css = bits[6:4](RW, doc="command set: 0, NVM; 6, all; 7, admin only")
    mps = bits[10:7](RW, doc="memory page: 4 KiB << mps")
    ams = bits[13:11](RW, doc="arbitration: 0, round robin")
    shn = bits[15:14](RW, doc="shutdown: 1 normal, 2 abrupt")
    iosqes = bits[19:16](RW, doc="log2 of the I/O submission queue entry: 6")
    iocqes = bits[23:20](RW, doc="log2 of the I/O completion queue entry: 4")
    reserved = bits[3:1], bits[31:24]


class Csts(Register, offset=0x1C, size=4):
    """Controller status."""

    rdy = bits[0](RO, doc="set when the controller may be given commands")
    cfs = bits[1](RO, doc="fatal status: only a reset helps")
    shst = bits[3:2](RO, doc="shutdown: 0 none, 1 under way, 2 complete")
    nssro = bits[4](W1C, doc="a subsystem reset has happened")
    pp = bits[5](RO, doc="processing is paused: never")
    reserved = bits[31:6]


class Nssr(Register, offset=0x20, size=4):
    """NVM subsystem reset."""

    nssrc = bits[31:0](WO, doc='0x4e564d65 ("NVMe") resets the subsystem')


class Aqa(Register, offset=0x24, size=4):
    """Admin queue attributes; sizes in entries, less one."""

    asqs = bits[11:0](RW, doc="size of the admin submission queue")
    acqs = bits[27:16](RW, doc="size of the admin completion queue")
    reserved = bits[15:12], bits[31:28]


class Asq(Register, offset=0x28, size=8):
    """Address of the admin submission queue."""

    low = bits[11:0](RW, doc="must be 0: the queue is page aligned")
    page = bits[63:12](RW, doc="the address, bits 63:12")


class Acq(Register, offset=0x30, size=8):
    """Address of the admin completion queue."""

    low = bits[11:0](RW, doc="must be 0: the queue is page aligned")
    page = bits[63:12](RW, doc="the address, bits 63:12")


class Cmbloc(Register, offset=0x38, size=4):
    """Controller memory buffer location; zero until CMBMSC.CRE is set."""

    bir = bits[2:0](RO, doc="which BAR it lies in: 2")
    cqmms = bits[3](RO, doc="completion queues need not be wholly in it")
    cqpds = bits[4](RO, doc="queues in it may have data outside")
    cdpmls = bits[5](RO, doc="PRP lists in it may mix places")
    cdpcils = bits[6](RO, doc="data and its PRP list may lie apart")
    cdmmms = bits[7](RO, doc="a command's data may lie in both places")
    cqda = bits[8](RO, doc="dword alignment for data is enough")
    ofst = bits[31:12](RO, doc="where it begins in the BAR: 0")
    reserved = bits[11:9]


class Cmbsz(Register, offset=0x3C, size=4):
    """Controller memory buffer size and uses; zero until CMBMSC.CRE is set."""

    sqs = bits[0](RO, doc="submission queues may lie in it")
    cqs = bits[1](RO, doc="completion queues")
    lists = bits[2](RO, doc="PRP lists")
    rds = bits[3](RO, doc="data from the drive")
    wds = bits[4](RO, doc="data to the drive")
    szu = bits[11:8](RO, doc="unit of its size: 4 KiB << 4 * szu")
    sz = bits[31:12](RO, doc="its size in units")
    reserved = bits[7:5]


class Cmbmsc(Register, offset=0x50, size=8):
    """Controller memory buffer memory space control."""

    cre = bits[0](RW, doc="show CMBLOC and CMBSZ")
    cmse = bits[1](RW, doc="commands may name it by the addresses from cba")
    cba = bits[63:12](RW, doc="its first address in commands, bits 63:12")
    reserved = bits[11:2]


class Cmbsts(Register, offset=0x58, size=4):
    """Controller memory buffer status."""

    cbai = bits[0](RO, doc="cba is not possible")
    reserved = bits[31:1]


class Sqtdbl(Register, offset=0x1000, size=4, count=IO_QUEUES + 1, stride=8):
    """Submission queue tail doorbells; queue 0 is the admin queue."""

    sqt = bits[15:0](WO, doc="the new tail")
    reserved = bits[31:16]


class Cqhdbl(Register, offset=0x1004, size=4, count=IO_QUEUES + 1, stride=8):
    """Completion queue head doorbells; queue 0 is the admin queue."""

    cqh = bits[15:0](WO, doc="the new head")
    reserved = bits[31:16]
