"""The assembler against GNU as: the same bytes for the same text, instruction by instruction and
for whole files; and what it says about wrong text."""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emu.isa import TABLE
from emu.isa.declare import Instruction
from emu.isa.registers import NAMES
from emu.isa.syntax import ROUNDING_MODES, Operand, Place, operands
from toolchain import elf
from toolchain.asm import AsmErrors, assemble
from toolchain.link import link

Tool = Callable[[str], str]

INSTRUCTIONS = sorted(
    (i for i in TABLE.values() if i.extension not in ("xaitensor", "xlane")),
    key=lambda i: i.mnemonic,
)


def gnu(tool: Tool, directory: Path, text: str) -> bytes:
    """The object that GNU as makes of `text`, without compression and relaxation."""
    source, output = directory / "gnu.s", directory / "gnu.o"
    source.write_text(".option norvc\n" + text)
    command = [
        tool("riscv64-unknown-elf-as"), "-mno-relax", "-march=rv64gc_zba_zbb_zbs", str(source),
        "-o", str(output),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return output.read_bytes()


def section(data: bytes, name: str) -> bytes:
    file = elf.read_object(data, "object")
    return b"".join(bytes(s.data) for s in file.sections if s.name == name)


def loaded(executable: bytes) -> dict[str, bytes]:
    """The sections of an executable that are loaded with content."""
    file = elf.read(executable, "executable")
    return {
        s.name: bytes(s.data)
        for s in file.sections
        if s.flags & elf.SHF_ALLOC and s.type != elf.SHT_NOBITS
    }


def numbers(place: Place) -> st.SearchStrategy[int]:
    """Values that the field of a number can hold."""
    field = place.field
    low, high = (
        (-(1 << (field.top - 1)), (1 << (field.top - 1)) - 1)
        if field.signed
        else (0, (1 << field.top) - 1)
    )
    values = st.integers(low // field.align, high // field.align).map(lambda v: v * field.align)
    return values.filter(field.fits)


def texts(place: Place) -> st.SearchStrategy[str]:
    """Operands for one place of an instruction's syntax."""
    if place.kind in NAMES:
        names = NAMES[place.kind][8:16] if place.field.primed else NAMES[place.kind]
        return st.sampled_from(names)
    match place.kind:
        case "b":
            reach = min(1 << place.field.top - 1, 2000)
            return st.integers(-reach // 2, reach // 2 - 1).map(lambda v: f". + {2 * v}")
        case "u":
            if place.field.nonzero:
                return st.integers(1, 31).map(str)
            return st.integers(0, (1 << 20) - 1).map(hex)
        case "csr":
            return st.sampled_from(("mstatus", "satp", "fcsr", "0x5c0", "mcycle"))
        case "set":
            return st.sampled_from(("iorw", "rw", "r", "w", "io", "ow"))
        case "rm":
            return st.sampled_from([m for m in ROUNDING_MODES if m != "dyn"])
    return numbers(place).map(str)


def operand_text(operand: Operand) -> st.SearchStrategy[str]:
    if operand.place is None and operand.base is None:
        return st.just(operand.text)
    offset = st.just("") if operand.place is None else texts(operand.place)
    if operand.base is None:
        return offset
    base = st.just(operand.base) if isinstance(operand.base, str) else texts(operand.base)
    return st.tuples(offset, base).map(lambda p: f"{p[0]}({p[1]})")


@st.composite
def lines(draw: st.DrawFn, insn: Instruction) -> str:
    """A line that uses `insn` with operands that it can have."""
    parts = [
        draw(operand_text(o))
        for o in operands(insn)
        # GNU as knows no rounding mode for the conversions that are always exact.
        if o.place is None or o.place.kind != "rme"
    ]
    return f"{insn.mnemonic} {', '.join(parts)}"


def encodable(line: str, insn: Instruction) -> bool:
    """Whether the operands are a combination that both assemblers take."""
    try:
        assemble(line, "line.s")
    except AsmErrors as error:
        return "reserved" not in str(error)
    # GNU as refuses most of the compressed hints: a destination x0, a shift or sum with 0.
    return insn.length == 4 or not re.search(r" zero, | 0$", line)


@pytest.mark.parametrize("start", range(0, len(INSTRUCTIONS), 32))
@settings(max_examples=4, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_instructions_have_the_bytes_of_gnu_as(
    tool: Tool, tmp_path_factory: pytest.TempPathFactory, start: int, data: st.DataObject
) -> None:
    text = []
    for insn in INSTRUCTIONS[start : start + 32]:
        strategy = lines(insn).filter(lambda line, insn=insn: encodable(line, insn))
        mode = "rvc" if insn.length == 2 else "norvc"
        text += [f".option {mode}", *data.draw(st.lists(strategy, min_size=4, max_size=4))]
    source = "\n".join(text) + "\n"
    expected = section(gnu(tool, tmp_path_factory.mktemp("as"), source), ".text")
    found = section(assemble(source, "all.s"), ".text")
    wrong = [i for i in range(0, len(found), 2) if found[i : i + 2] != expected[i : i + 2]]
    assert not wrong, (text, wrong[0], found[: wrong[0] + 4].hex(), expected[: wrong[0] + 4].hex())


FILE = """
# Everything in one file; /* no label here: */
    .equ    SIZE, 4 * (2 + 1) << 1
    .set    other, SIZE - 1
    .section .text.start, "ax"
    .globl  _start
_start: la      sp, top             # the stack
    lla     a0, table
    li      t0, SIZE; li t1, -1
    li      t2, 0x12345678
    li      t3, 0x7ffff800
    csrw    mtvec, t0
    csrsi   mstatus, 8
1:  bgeu    t0, t1, 2f
    addi    t0, t0, other
    j       1b
2:  beqz    a0, 2b
    call    helper
    tail    helper
    ld      a0, table
    lbu     a1, text + 2
    sd      a0, table + 8, t2
    fld     fa0, table, t0
    lui     a1, %hi(0x12345fff)
    addi    a1, a1, %lo(0x12345fff)
3:  auipc   a2, %pcrel_hi(table + 8)
    ld      a3, %pcrel_lo(3b)(a2)
    sd      a3, %pcrel_lo(3b)(a2)
    amoadd.d.aqrl a0, a1, (a2)
    fence
    fence   rw, w
    fmadd.d fa0, fa1, fa2, fa3, rtz
    fcvt.w.d a0, fa0, rtz
    sfence.vma
    .balign 16
    jalr    8(a0)
    jr      a0
    nop
    ret
    .text
helper:
    neg     a0, a0
    seqz    a0, a0
    sext.w  a0, a0
    fmv.d   fa0, fa1
    fabs.s  fa0, fa1
    rdtime  a0
    frflags a1
    not     a2, a3
    bgtz    a0, helper
    ret
    .size   helper, . - helper
    .section .rodata
text:   .ascii "a#b", "c\\n\\t\\"\\\\"
    .asciz  "//x;y\\x41\\101"
    .p2align 3
    .dword  after - before, helper
before: .byte 1, -1, 'a', '\\n', ~0xf0 & 0xff
    .half   after - before, 0xffff
    .word   (1 << 31) | 1, -5 / 2, -5 % 3, 0b101, 017
after:
    .data
    .align  4
table:  .quad text, table + 8, _start
    .space  3, 0x5a
    .zero   5
    .bss
    .balign 4096
    .space  4096
top:
"""


def test_whole_file_links_to_the_same_image_as_gnu_as(tool: Tool, tmp_path: Path) -> None:
    theirs = link([gnu(tool, tmp_path, FILE)])
    assert loaded(link([assemble(FILE, "file.s")])) == loaded(theirs)


def test_objects_link_with_gnu_ld(tool: Tool, tmp_path: Path) -> None:
    (tmp_path / "file.o").write_bytes(assemble(FILE, "file.s"))
    (tmp_path / "script").write_text(
        """SECTIONS {
            . = 0x80000000; .text : { *(.text.start) *(.text) }
            . = ALIGN(4096); .rodata : { *(.rodata) }
            . = ALIGN(4096); .data : { *(.data) } .bss : { *(.bss) }
        }"""
    )
    ld = tool("riscv64-unknown-elf-ld")
    subprocess.run([ld, "--no-relax", "-T", "script", "file.o"], cwd=tmp_path, check=True)
    assert loaded((tmp_path / "a.out").read_bytes()) == loaded(link([assemble(FILE, "file.s")]))


def test_line_table_is_that_of_gnu_as(tool: Tool, tmp_path: Path) -> None:
    ours = tmp_path / "ours.elf"
    ours.write_bytes(link([assemble(FILE, "file.s")]))
    command = [tool("riscv64-unknown-elf-objdump"), "--dwarf=decodedline", str(ours)]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in shown.splitlines() if line.startswith("file.s  ")]
    source = FILE.split("\n")
    by_line = {int(row[1]) for row in rows if row[1] != "-"}
    assert source.index("    csrw    mtvec, t0") + 1 in by_line
    assert source.index("    neg     a0, a0") + 1 in by_line
    assert ["file.s", str(source.index("    lla     a0, table") + 1), "0x80000008", "x"] in rows


def complaint(text: str) -> str:
    with pytest.raises(AsmErrors) as caught:
        assemble(text, "wrong.s")
    return str(caught.value)


def test_an_error_shows_its_place_and_line() -> None:
    assert complaint("start:\n    addi a0, a1, 4096\n") == (
        "wrong.s:2:18: error: 4096 does not fit 'addi', whose imm is -2048 to 2047.\n"
        "    2 |     addi a0, a1, 4096\n"
        "      |                  ^^^^\n"
        "1 error"
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("li a0", "1:1: error: 'li' takes 2 operands, not 1."),
        ("addd a0, a1, a2", "1:1: error: 'addd' is not an instruction; did you mean 'add'?"),
        (" ld a0, 8(q0)", "1:11: error: 'q0' is not an integer register."),
        ("beq a0, a1, 1f", "1:13: error: '1f' has no label 1 after it."),
        ("j 1b", "1:3: error: '1b' has no label 1 before it."),
        (".bytee 1", "1:1: error: '.bytee' is not a directive; did you mean '.byte'?"),
        (".byte 256", "1:7: error: '256' (256) does not fit 1 bytes."),
        (".byte x", "1:7: error: 'x' is an address, which 1 bytes cannot hold."),
        ("x: x:", "1:4: error: The symbol 'x' is already defined."),
        (".word 1 +", "1:1: error: Expected a number or a symbol, found the end."),
        (".word 1 / 0", "1:7: error: '1 / 0' divides by zero."),
        (".word 089", "1:7: error: '089' is not an octal number."),
        (".data\nnop", "2:1: error: The section .data does not hold instructions"),
        (".bss\n.byte 1", "2:1: error: The section .bss can hold only zeros."),
        (".ascii hello", "1:8: error: Expected a string in quotes, found 'hello'."),
        (".balign 3", "1:9: error: '3' (3) is not a power of two to align to."),
        (".space -1", "1:8: error: '-1' (-1) is not a possible size."),
        ("addi a0, a0, x", "1:14: error: 'x' is not a number that is known here"),
        ("addi a0, a0, %hi(x)", "1:14: error: '%hi(x)' does not belong into this instruction."),
        ("lui a0, %up(x)", "'%up' is not one of the modifiers %hi, %lo, %pcrel_hi, %pcrel_lo."),
        ("la a0, 5", "1:8: error: '5' is a number, not a symbol; use li."),
        ("beqz a0, far\n.space 5000\nfar:", "'beq' cannot reach 'far', 5004 bytes away."),
        ("sd a0, x", "'sd' of a symbol takes a third operand, a scratch register."),
        (".globl", "'.globl' takes at least 1 operands, not 0."),
    ],
)
def test_wrong_text_is_answered_with_a_sentence(text: str, expected: str) -> None:
    assert expected in complaint(text)


def test_all_errors_of_a_file_are_reported_in_order() -> None:
    message = complaint("addd a0\nnop\n.bytee 1\nj 1f\n")
    assert [line.split(":")[1] for line in message.splitlines() if ": error:" in line] == [
        "1", "3", "4",
    ]  # fmt: skip
    assert message.endswith("3 errors")


@settings(max_examples=100)
@given(st.text(alphabet="addi li.wordbyte ,()%'\"#/*+-:;$01xfb\n\\", max_size=60))
def test_no_text_makes_the_assembler_fall_over(text: str) -> None:
    with contextlib.suppress(AsmErrors):
        assemble(text, "any.s")
