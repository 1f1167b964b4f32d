"""The device tree: valid for dtc, and in what counts the same as QEMU's."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from emu import devicetree
from emu.fdt import Node, flatten

GIB = 1 << 30


def decompile(dtc: str, blob: bytes) -> tuple[str, str]:
    """The source that dtc gives, sorted, and its complaints."""
    done = subprocess.run(
        [dtc, "-I", "dtb", "-O", "dts", "-s"], input=blob, capture_output=True, check=True
    )
    return done.stdout.decode(), done.stderr.decode()


def node(source: str, name: str) -> list[str]:
    """The property lines of the node `name`."""
    lines = source.splitlines()
    start = next(i for i, line in enumerate(lines) if line.strip() == f"{name} {{")
    found = []
    for line in lines[start + 1 :]:
        if line.strip().endswith(("{", "}", "};")):
            break
        found.append(line.strip())
    return [_without_high_window(line) for line in found if line]


def _without_high_window(line: str) -> str:
    """A property line; in `ranges` without the 64-bit window, which is larger than QEMU's."""
    return line.split(" 0x3000000 0x", 2)[0] if line.startswith("ranges = <0x1000000") else line


def test_dtc_accepts_the_tree(tool) -> None:
    source, complaints = decompile(tool("dtc"), devicetree.build(GIB, 'exec="help; poweroff"'))
    assert "ERROR" not in complaints
    assert 'bootargs = "exec=\\"help; poweroff\\"";' in source
    assert "_xaitensor" in source


def test_an_initrd_is_in_the_tree_as_linux_looks_for_it(tool) -> None:
    blob = devicetree.build(GIB, "", initrd_range=(0x8820_0000, 0x8820_1234))
    chosen = node(decompile(tool("dtc"), blob)[0], "chosen")
    assert "linux,initrd-start = <0x00 0x88200000>;" in chosen
    assert "linux,initrd-end = <0x00 0x88201234>;" in chosen


def test_the_tree_survives_a_round_trip_through_dtc(tool) -> None:
    blob = devicetree.build(GIB, "x")
    again = subprocess.run(
        [tool("dtc"), "-I", "dtb", "-O", "dtb"], input=blob, capture_output=True, check=True
    ).stdout
    assert decompile(tool("dtc"), again)[0] == decompile(tool("dtc"), blob)[0]


@pytest.mark.parametrize("harts", [1, 3])
@pytest.mark.parametrize(
    "name",
    [
        "memory@80000000",
        "poweroff",
        "reboot",
        "soc",
        "rtc@101000",
        "serial@10000000",
        "test@100000",
        "pci@30000000",
        "virtio_mmio@10001000",
        "virtio_mmio@10008000",
        "plic@c000000",
        "clint@2000000",
        "interrupt-controller",
        "core0",
    ],
)
def test_nodes_equal_qemus(tool, tmp_path: Path, name: str, harts: int) -> None:
    dump = tmp_path / "qemu.dtb"
    qemu = [tool("qemu-system-riscv64"), "-M", f"virt,dumpdtb={dump}", "-m", "1G"]
    qemu += ["-smp", str(harts), "-nographic"]
    subprocess.run(qemu, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    theirs, _ = decompile(tool("dtc"), dump.read_bytes())
    ours, _ = decompile(tool("dtc"), devicetree.build(GIB, "", harts=harts))
    assert node(ours, name) == node(theirs, name)


def test_values_of_every_kind(tool) -> None:
    root = Node("")
    root["number"], root["cells"], root["text"] = 5, [1, 2], "word"
    root["texts"], root["raw"], root["flag"] = ["a", "b"], b"\1\2\3", None
    root.add("child")["number"] = 6
    source, _ = decompile(tool("dtc"), flatten(root))
    for line in ("number = <0x05>;", "cells = <0x01 0x02>;", 'text = "word";', "flag;"):
        assert line in source
    assert "raw = [01 02 03];" in source
