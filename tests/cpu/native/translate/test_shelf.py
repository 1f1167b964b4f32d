"""Translations on disk: found by those who have the same code, and by no one else."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from emu import cache
from emu.cpu.native.translate import shelf
from emu.cpu.native.translate.compiler import answer, translate
from emu.cpu.native.translate.shelf import Shelf
from emu.cpu.native.translate.translation import Entry, Request, Translation
from emu.cpu.state import PAGE_SIZE
from tests.cpu.native.translate.guest import AT, Pair, image, program

LOOP = ("top:", "addi x5, x5, 1", "bne x5, x6, top")
CODE = image(LOOP)


def _request(lines: tuple[str, ...] = LOOP, seed: int = AT, at: int = AT) -> bytes:
    return pickle.dumps(Request(image(lines, at), (seed, 0), {}, AT))


def _take(there: bytes, page: int = AT) -> list[Translation]:
    return Shelf().take(page, lambda at, size: there[at : at + size])


def test_a_translation_is_found_by_the_code_that_it_was_made_for() -> None:
    made = Translation.unpack(answer(_request()))
    assert _take(CODE.pages[AT].code) == [made]
    assert made.spans == ((AT, CODE.bytes_at(AT, 8)),)
    assert [entry.pc for entry in made.entries] == [AT]


def test_a_translation_is_given_once() -> None:
    answer(_request())
    kept, there = Shelf(), CODE.pages[AT].code
    assert len(kept.take(AT, lambda at, size: there[at : at + size])) == 1
    assert kept.take(AT, lambda at, size: there[at : at + size]) == []


def test_it_waits_until_its_code_is_there() -> None:
    answer(_request())
    kept, there = Shelf(), CODE.pages[AT].code
    assert kept.take(AT, lambda at, size: bytes(size)) == []
    assert kept.take(AT + PAGE_SIZE, lambda at, size: there[at : at + size]) == []
    assert len(kept.take(AT, lambda at, size: there[at : at + size])) == 1


def test_what_another_program_made_is_not_found(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(_request())
    monkeypatch.setattr(shelf, "maker", lambda: "another")
    assert _take(CODE.pages[AT].code) == []


@pytest.mark.parametrize("size", [0, 1, 40, 200, -1])
def test_a_truncated_file_is_as_if_it_were_not_there(directory: Path, size: int) -> None:
    answer(_request())
    (path,) = directory.iterdir()
    path.write_bytes(path.read_bytes()[:size])
    assert _take(CODE.pages[AT].code) == []


@pytest.mark.parametrize("at", [0, 20, 60, 300, -1])
def test_a_file_with_a_wrong_byte_is_as_if_it_were_not_there(directory: Path, at: int) -> None:
    answer(_request())
    (path,) = directory.iterdir()
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)
    assert _take(CODE.pages[AT].code) == []


@pytest.mark.parametrize("content", [b"", b"[]\n", b"{}\n", b"\xff\n", b"(lp0\n.", b'{"size": 1}'])
def test_what_is_no_translation_is_as_if_it_were_not_there(directory: Path, content: bytes) -> None:
    answer(_request())
    (path,) = directory.iterdir()
    cache.write(path.name, content)
    assert cache.read(path.name) == content
    assert _take(CODE.pages[AT].code) == []


def test_another_program_s_under_a_name_of_ours_is_as_if_it_were_not_there(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(_request())
    (path,) = directory.iterdir()
    path.rename(path.with_name(path.name.replace(shelf.maker(), "another")))
    monkeypatch.setattr(shelf, "maker", lambda: "another")
    assert _take(CODE.pages[AT].code) == []


@pytest.mark.parametrize(
    "rest", ["", "80000000", "80000000-8", "x-8-0", "80000000-8-zz", "80000000-0-0",
             "80000ff8-99-0", "80000000-99999999-0", "80000000--8-0"],
)  # fmt: skip
def test_a_name_that_is_none_of_ours_is_passed_over(rest: str) -> None:
    cache.write(f"region-{shelf.maker()}-{rest}.o", b"")
    assert _take(bytes(PAGE_SIZE)) == []


def test_a_directory_that_cannot_be_written_costs_nothing_but_time(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = directory / "file"
    file.write_bytes(b"")
    monkeypatch.setenv("AIOS_CACHE", str(file))
    assert answer(_request())
    assert _take(CODE.pages[AT].code) == []


def test_a_directory_that_is_gone_does_not_come_back(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIOS_CACHE", str(directory / "gone"))
    assert answer(_request())
    assert [*directory.iterdir()] == []


def test_a_translation_is_what_it_was_when_unpacked() -> None:
    entries = (Entry(AT, 0x13, 64), Entry(1 << 63, 1, 1))
    spans = ((AT, b"\0\n\xff" * 9), (1 << 63, b""))
    made = Translation(b"code\n\0", entries, spans, {1 << 63: (2, 4), 8: ()}, 7)
    assert Translation.unpack(made.pack()) == made


def test_an_engine_takes_up_translations_that_another_made() -> None:
    code = program("main:", "top:", "addi x5, x5, 1", "xor x6, x6, x5", "j top")
    first = Pair(code)
    first.warm()
    second = Pair(code)
    assert second.translated(100) > 50


def test_an_engine_whose_code_differs_behind_the_entry_takes_nothing_up() -> None:
    nops = ["nop"] * 10
    code = program("main:", "top:", "addi x5, x5, 1", *nops, "xor x6, x6, x5", "j top")
    Pair(code).warm()
    other = Pair(program("main:", "top:", "addi x5, x5, 1", *nops, "xor x7, x6, x5", "j top"))
    assert other.translated(100) == 0


# --- bad requests -----------------------------------------------------------------------------


def test_there_is_no_translation_around_what_has_not_run_or_cannot_be_translated() -> None:
    assert not answer(_request(seed=AT + 100))
    assert not answer(_request(seed=2**64 - 1))
    assert not answer(_request(("ecall", "ecall")))
    assert not answer(_request(("csrrw x5, mscratch, x6", "nop")))


@pytest.mark.parametrize("request_", [b"", b"no pickle", pickle.dumps(7), pickle.dumps(None)])
def test_what_is_no_request_is_an_error_that_the_worker_reports(request_: bytes) -> None:
    with pytest.raises(Exception):  # noqa: B017, PT011  (whichever; `background` gives its text)
        answer(request_)


def test_targets_that_are_no_code_are_left_out() -> None:
    jump = ("top:", "addi x5, x5, 1", "jalr x0, 0(x5)")
    taken = {AT + 4: (AT, AT + 2, AT + 1, 0, 2**64 - 2, AT + 5 * PAGE_SIZE)}
    made = translate(Request(image(jump * 15), (AT, 1), taken, 0))
    assert made is None or made.targets[AT + 4] == (AT,)


def test_a_region_of_one_instruction_that_jumps_to_itself() -> None:
    made = translate(Request(image(["jal x0, 0"]), (AT, 0), {}, 0))
    assert made is not None
    assert (made.size, made.entries[0].needed) == (1, 1)


def test_code_at_the_end_of_the_address_space_is_translated_up_to_it() -> None:
    page = 2**64 - PAGE_SIZE
    lines = ("addi x5, x5, 1", "jal x0, -4") * (PAGE_SIZE // 8)
    made = translate(Request(image(lines, page), (page + PAGE_SIZE - 8, 0), {}, 0))
    assert made is None  # its jump would be the last instruction
    made = translate(Request(image(lines, page), (page + PAGE_SIZE - 16, 0), {}, 0))
    assert made is not None
