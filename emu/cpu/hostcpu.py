"""Which processor this process runs on: what decides whether machine code may be used here.

Compiled code uses every instruction that the host has, so a cache directory that comes to another
host, on a shared disk or in a container's image, must not be believed there. On x86-64 the
processor itself is asked, by the CPUID instruction, all that LLVM asks to find its name and its
features; that takes microseconds where importing LLVM takes a tenth of a second. On other hosts
LLVM is asked.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

from emu.cpu.blob import Blob, pack

_CPUID = bytes.fromhex(
    "53"  # push rbx
    "89f8 89f1 4989d0"  # mov eax, edi; mov ecx, esi; mov r8, rdx
    "0fa2"  # cpuid
    "418900 41895804 41894808 4189500c"  # mov [r8], eax; [r8+4], ebx; [r8+8], ecx; [r8+12], edx
    "5b c3"  # pop rbx; ret
)
"""void cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])"""
_XGETBV = bytes.fromhex("31c9 0f01d0 c3")  # xor ecx, ecx; xgetbv; ret
"""uint32_t xgetbv(void): which registers the operating system preserves"""

_OSXSAVE = 1 << 27
_NOT_THE_NUMBER_OF_THE_CORE = 0x0000_FFFF
_LEAVES = (
    (1, 0), (7, 0), (7, 1), (0xD, 1), (0x14, 0), (0x19, 0), (0x1E, 1), (0x24, 0),
    (0x80000001, 0), (0x80000008, 0),
)  # fmt: skip
"""What LLVM's sys::getHostCPUFeatures and getHostCPUName read, besides leaf 0."""


@cache
def identity() -> str:
    """A text that differs between two hosts when code compiled for one may not run on the other."""
    host = os.uname()
    return " ".join([host.sysname, host.machine, _x86() if is_x86() else _llvm()])


def is_x86() -> bool:
    """Whether the host is an x86-64 whose calls follow the System V ABI, as all but Windows do."""
    return os.uname().machine in ("x86_64", "amd64")


def _llvm() -> str:
    import llvmlite.binding as llvm

    return " ".join([llvm.get_host_cpu_name(), llvm.get_host_cpu_features().flatten()])


def _x86() -> str:
    """CPUID's words in hexadecimal."""
    code = Blob(pack(_CPUID + _XGETBV, (), (), (("cpuid", 0), ("xgetbv", len(_CPUID)))))
    registers = (ctypes.c_uint32 * 4)()
    arguments = (ctypes.c_uint32, ctypes.c_uint32, type(registers))
    cpuid = ctypes.CFUNCTYPE(None, *arguments)(code.address("cpuid"))
    cpuid(0, 0, registers)
    words = [*registers]
    highest = {0: words[0], 0x80000000: 0}
    cpuid(0x80000000, 0, registers)
    highest[0x80000000] = registers[0]
    for leaf, subleaf in _LEAVES:
        if leaf <= highest[leaf & 0x80000000]:
            cpuid(leaf, subleaf, registers)
            if leaf == 1:
                registers[1] &= _NOT_THE_NUMBER_OF_THE_CORE
                if registers[2] & _OSXSAVE:
                    words.append(ctypes.CFUNCTYPE(ctypes.c_uint32)(code.address("xgetbv"))())
            words += registers
    code.close()
    return " ".join(f"{word:x}" for word in words)
