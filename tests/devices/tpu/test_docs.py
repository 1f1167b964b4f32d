"""What is generated from the table of instructions is what the table says, and Kern's functions
encode as it does."""

from __future__ import annotations

import re

from emu.devices.tpu import docs
from emu.devices.tpu.declare import TABLE
from emu.devices.tpu.text import assemble

STALE = "is stale: run `python -m emu.devices.tpu.docs`"


def test_manual_is_up_to_date() -> None:
    assert docs.manual() == docs.MANUAL.read_text(encoding="utf-8"), f"{docs.MANUAL} {STALE}"


def test_kernel_module_is_up_to_date() -> None:
    assert docs.module() == docs.MODULE.read_text(encoding="utf-8"), f"{docs.MODULE} {STALE}"


def test_kernel_module_has_a_function_for_every_instruction() -> None:
    functions = re.findall(r"^fn (\w+)\(", docs.module(), re.M)
    assert set(TABLE) <= set(functions)


def test_program_in_the_manual_is_one() -> None:
    text = docs.MANUAL.read_text(encoding="utf-8")
    block = text.split("## A program")[1].split("`emu.devices")[0]
    assert len(assemble(block)) == 8 * 12
