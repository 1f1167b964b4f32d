"""The linker against GNU ld (the same bytes from the same layout), readelf and QEMU."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import llvmlite.binding as llvm
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from emu.errors import AiosError
from toolchain import elf
from toolchain.link import LinkErrors, link

Tool = Callable[[str], str]

START = """
    .section .text.start, "ax"
    .globl _start
_start:
    la   sp, stack_top
    li   t0, 0x6000
    csrs mstatus, t0
    beqz zero, 1f
    .align 4
1:  call cmain
    .bss
    .space 4096
stack_top:
"""

MAIN = """
int counter = 41, zeros[100], common_thing;
const char *const message[] = {"hello", "world"};
extern int other(int, const char *);
__attribute__((aligned(64))) int triple(int x) { return x * 3; }
int (*table[])(int) = {triple, triple};
void cmain(void) {
    int s = counter;
    for (int i = 0; i < 100; i++) s += zeros[i] + common_thing;
    s += table[1](other(s, message[1]));
    switch (s & 7) {
    case 0: s += 1; break;
    case 1: s += 2; break;
    case 2: s += 8; break;
    case 4: s += 99; break;
    case 5: s += 77; break;
    }
    *(volatile unsigned *)0x100000 = (s & 0xff) << 16 | 0x3333;
    for (;;);
}
"""

OTHER = """
double factor = 2.5;
__attribute__((weak)) int one(void) { return 1; }
int other(int a, const char *p) {
    int n = 0;
    while (*p++) n++;
    return (int)(a + n * factor) + one();
}
"""

LD_SCRIPT = """
SECTIONS {
    . = 0x80000000;
    .text : { *(.text.start) *(.text .text.*) }
    . = ALIGN(4096);
    .rodata : { *(.rodata .rodata.* .srodata .srodata.*) }
    . = ALIGN(4096);
    .data : { *(.data .data.* .sdata .sdata.*) }
    .bss : { *(.bss .bss.* .sbss .sbss.*) *(COMMON) }
}
"""


class Gnu:
    """The GNU toolchain for RISC-V, in a directory of its own."""

    def __init__(self, tool: Tool, directory: Path) -> None:
        self.tool, self.directory = tool, directory

    def run(self, name: str, *arguments: str) -> str:
        program = self.tool(f"riscv64-unknown-elf-{name}")
        done = subprocess.run(
            [program, *arguments], cwd=self.directory, check=True, capture_output=True, text=True
        )
        return done.stdout

    def compile(self, name: str, source: str, *options: str) -> bytes:
        """An object from C (`NAME.c`) or assembly (`NAME.s`)."""
        (self.directory / name).write_text(source)
        output = name.split(".")[0] + ".o"
        self.run(
            "gcc", "-c", "-O2", "-g", "-march=rv64gc_zba_zbb_zbs", "-mabi=lp64d",
            "-mcmodel=medany", "-ffreestanding", "-fno-merge-constants",
            *options, name, "-o", output,
        )  # fmt: skip
        return (self.directory / output).read_bytes()

    def section(self, file: str, name: str) -> bytes:
        self.run("objcopy", "-O", "binary", f"--only-section={name}", file, "section.bin")
        return (self.directory / "section.bin").read_bytes()


@pytest.fixture
def gnu(tool: Tool, tmp_path: Path) -> Gnu:
    return Gnu(tool, tmp_path)


@pytest.fixture(scope="module")
def whole_object(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """An object with code, data, debug information and many relocations, made by LLVM."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    module = llvm.parse_assembly(
        """
        target triple = "riscv64-unknown-elf"
        @words = global [2 x ptr] [ptr @other, ptr @words]
        @zeros = global [9 x i64] zeroinitializer
        define i64 @other(i64 %a) {
            %c = icmp sgt i64 %a, 4
            br i1 %c, label %more, label %done
        more:
            %b = load volatile i64, ptr @zeros
            %r = call i64 @other(i64 %b)
            ret i64 %r
        done:
            ret i64 3
        }
        """
    )
    machine = llvm.Target.from_triple("riscv64-unknown-elf").create_target_machine(
        features="+m,+c,+relax", reloc="static", codemodel="medium"
    )
    return bytes(machine.emit_object(module))


def run_on_qemu(tool: Tool, image: Path) -> int:
    """The exit status of QEMU, which the guest's test finisher decides."""
    command = [
        tool("qemu-system-riscv64"), "-M", "virt", "-bios", "none", "-nographic", "-kernel",
        str(image),
    ]  # fmt: skip
    return subprocess.run(command, stdin=subprocess.DEVNULL, timeout=20).returncode


@pytest.mark.parametrize("relax", ["-mrelax", "-mno-relax"])
def test_same_bytes_as_ld_and_runs_on_qemu(gnu: Gnu, tool: Tool, relax: str) -> None:
    names = ["start.s", "main.c", "other.c"]
    objects = [
        gnu.compile(n, source, relax) for n, source in zip(names, (START, MAIN, OTHER), strict=True)
    ]
    ours = gnu.directory / "ours.elf"
    ours.write_bytes(link(objects))
    (gnu.directory / "script").write_text(LD_SCRIPT)
    gnu.run("ld", "--no-relax", "-T", "script", "start.o", "main.o", "other.o", "-o", "ld.elf")
    for section in (".text", ".rodata", ".data"):
        assert gnu.section("ours.elf", section) == gnu.section("ld.elf", section), section
    assert run_on_qemu(tool, ours) == run_on_qemu(tool, gnu.directory / "ld.elf")


@pytest.mark.parametrize("options", [["-mrelax"], ["-mno-relax"], ["-mrelax", "-gdwarf-4"]])
def test_debug_sections_are_relocated_as_ld_does(gnu: Gnu, options: list[str]) -> None:
    objects = [gnu.compile("start.s", START, *options), gnu.compile("main.c", MAIN, *options)]
    objects.append(gnu.compile("other.c", OTHER, *options))
    (gnu.directory / "ours.elf").write_bytes(link(objects))
    (gnu.directory / "script").write_text(LD_SCRIPT)
    gnu.run("ld", "--no-relax", "-T", "script", "start.o", "main.o", "other.o", "-o", "ld.elf")

    def dump(file: str) -> list[str]:
        text = gnu.run("objdump", "--dwarf=decodedline,frames,Ranges", file)
        return [line for line in text.splitlines() if "file format" not in line]

    assert dump("ours.elf") == dump("ld.elf")
    for kind in ("info", "loc", "aranges"):
        assert gnu.run("readelf", f"--debug-dump={kind}", "ours.elf")


def test_links_objects_from_llvm(gnu: Gnu, tool: Tool) -> None:
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    text = """
    target triple = "riscv64-unknown-elf"
    @words = global [3 x ptr] [ptr @answer, ptr null, ptr getelementptr (i8, ptr @words, i64 16)]
    @count = internal global i64 0
    declare i64 @leaf(i64)
    define i64 @answer(i64 %a) { %r = mul i64 %a, 7 ret i64 %r }
    define void @cmain() {
        store volatile i64 5, ptr @count
        %f = load volatile ptr, ptr @words
        %n = load volatile i64, ptr @count
        %a = call i64 %f(i64 %n)
        %b = call i64 @leaf(i64 %a)
        %s = shl i64 %b, 16
        %c = or i64 %s, 13107
        %t = trunc i64 %c to i32
        store volatile i32 %t, ptr inttoptr (i64 1048576 to ptr)
        ret void
    }
    """
    module = llvm.parse_assembly(text)
    machine = llvm.Target.from_triple("riscv64-unknown-elf").create_target_machine(
        features="+m,+a,+f,+d,+c", reloc="static", codemodel="medium", abiname="lp64d"
    )
    leaf = gnu.compile("leaf.c", "long leaf(long x) { return x + 4; }")
    start = gnu.compile("start.s", START)
    image = gnu.directory / "image.elf"
    image.write_bytes(link([start, machine.emit_object(module), leaf]))
    assert run_on_qemu(tool, image) == 5 * 7 + 4


def test_undefined_instruction_names_become_stubs(gnu: Gnu) -> None:
    caller = """
        .globl _start
    _start:
        call "__insn csrrs a0, mstatus, x0"
        call "__insn fence rw, w; wfi"
        call "__insn csrrs a0, mstatus, x0"
    """
    (gnu.directory / "image.elf").write_bytes(link([gnu.compile("caller.s", caller)]))
    shown = gnu.run("objdump", "-d", "--no-show-raw-insn", "image.elf")
    functions = {
        name: re.findall(r"^ .*?\t(.*?)\s*$", body, re.M)
        for name, body in re.findall(r"<(.*)>:\n((?: .*\n)+)", shown)
    }
    assert functions["__insn csrrs a0, mstatus, x0"] == ["csrr\ta0,mstatus", "ret"]
    assert functions["__insn fence rw, w; wfi"] == ["fence\trw,w", "wfi", "ret"]
    assert sum("jalr" in line for line in functions["_start"]) == 3


def test_stub_that_does_not_assemble_is_named(gnu: Gnu) -> None:
    assert refusal(gnu.compile("x.s", '.globl _start\n_start: call "__insn nope a0"\n')) == (
        "The intrinsic '__insn nope a0' does not assemble: 'nope' is not an instruction."
    )


def test_program_headers_and_bound_symbols(gnu: Gnu) -> None:
    image = gnu.directory / "image.elf"
    image.write_bytes(
        link([gnu.compile("main.c", MAIN), gnu.compile("other.c", OTHER)], entry="cmain")
    )
    headers = gnu.run("readelf", "-lhW", "image.elf")
    assert re.findall(r"LOAD .* (R E|R|RW ) +0x1000", headers) == ["R E", "R", "RW "]
    assert "RVC, double-float ABI" in headers
    symbols = {
        name: int(value, 16)
        for value, name in re.findall(
            r": ([0-9a-f]{16}).* (\S+)$", gnu.run("readelf", "-sW", "image.elf"), re.M
        )
    }
    assert symbols["__text_start"] == 0x8000_0000
    assert symbols["__bss_start"] <= symbols["zeros"] < symbols["__bss_end"] == symbols["_end"]
    assert symbols["__data_start"] <= symbols["counter"] < symbols["__data_end"]
    assert symbols["__rodata_start"] <= symbols["message"] < symbols["__rodata_end"]


def test_section_of_the_entry_comes_first(gnu: Gnu) -> None:
    objects = [
        gnu.compile("main.c", MAIN),
        gnu.compile("other.c", OTHER),
        gnu.compile("start.s", START),
    ]
    image = link(objects)
    assert elf.EHDR.unpack_from(image)[4] == 0x8000_0000


def refusal(*objects: bytes, names: tuple[str, ...] = ()) -> str:
    with pytest.raises(LinkErrors) as caught:
        link(objects, names=names)
    return str(caught.value)


def test_undefined_symbols_are_each_named(gnu: Gnu) -> None:
    start = gnu.compile("start.s", ".globl _start\n_start: call here\n call there\n")
    assert refusal(start, names=("start.o",)).splitlines() == [
        "The symbol 'here', which start.o uses, is not defined in any object.",
        "The symbol 'there', which start.o uses, is not defined in any object.",
    ]


def test_duplicate_symbol_names_both_objects(gnu: Gnu) -> None:
    other = gnu.compile("other.c", OTHER)
    assert "The symbol 'factor' is defined in a.o and again in b.o." in refusal(
        other, other, names=("a.o", "b.o")
    )


def test_weak_definition_gives_way(gnu: Gnu) -> None:
    weak = gnu.compile("weak.s", ".globl _start\n.weak _start\n_start: nop\n")
    strong = gnu.compile("strong.s", ".globl _start\n nop\n_start: ebreak\n")
    assert elf.EHDR.unpack_from(link([weak, strong]))[4] == 0x8000_0002


def test_missing_entry(gnu: Gnu) -> None:
    assert refusal(gnu.compile("x.s", "nop\n")) == (
        "The entry symbol '_start' is not defined in any object."
    )


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("_start: lui a0, %hi(_start)", "out of the range of R_RISCV_HI20"),
        ("_start: jal far", "out of the range of R_RISCV_JAL"),
        ("_start: .word away", "out of the range of R_RISCV_32"),
    ],
)
def test_out_of_range_relocations_are_refused(gnu: Gnu, source: str, expected: str) -> None:
    rest = "\n.globl away\n.set away, 0x123456789a\n.data\n.space 0x200000\nfar:"
    complaint = refusal(gnu.compile("far.s", f".globl _start\n{source}{rest}\n"))
    assert expected in complaint
    assert "object 1, at .text+0x0" in complaint


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "is not an ELF file."),
        (b"\x7fELF\x01\x01" + bytes(60), "is not a 64-bit little-endian ELF file."),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\x3e" + bytes(60), "ELF machine 62, not for RISC-V"),
    ],
)
def test_other_files_are_refused_in_a_sentence(data: bytes, expected: str) -> None:
    with pytest.raises(elf.ElfError, match=re.escape(expected)):
        link([data])


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=5
    )
)
def test_damaged_object_is_linked_or_refused(
    whole_object: bytes, changes: list[tuple[float, int]]
) -> None:
    damaged = bytearray(whole_object)
    for place, value in changes:
        damaged[int(place * len(damaged))] = value
    with contextlib.suppress(AiosError):
        link([bytes(damaged)], entry="other")


def test_section_table_that_lies_beyond_all_files_is_refused(whole_object: bytes) -> None:
    damaged = bytearray(whole_object)
    damaged[40:48] = (1 << 63).to_bytes(8, "little")  # e_shoff
    with pytest.raises(elf.ElfError, match="damaged"):
        link([bytes(damaged)])


def test_truncated_object_is_refused(gnu: Gnu) -> None:
    whole = gnu.compile("other.c", OTHER)
    for length in range(64, len(whole) - 1, 97):
        with pytest.raises(elf.ElfError, match="damaged"):
            link([whole[:length]])
