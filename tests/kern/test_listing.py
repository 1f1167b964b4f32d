"""The listing that Kern was made for compiles, with its corrections and no others."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain import elf
from toolchain.kern.compile import compile, read_source

LISTING = Path(__file__).parent / "listing"


@pytest.mark.parametrize("opt", [0, 1, 2])
def test_the_listing_compiles_to_an_object(opt: int) -> None:
    sources = [read_source(path) for path in sorted(LISTING.glob("*.kern"))]
    compiled = elf.read_object(compile(sources, root="aioskernel", opt=opt), "listing")
    defined = {symbol.name for symbol in compiled.symbols if symbol.where != elf.SHN_UNDEF}
    assert {"kern_main", "kern_panic"} <= defined
