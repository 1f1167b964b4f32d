"""The programs of `aios bench cpu`, on little work, and what is made of their times."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import processes
from bench.cpu import Options, measure, one, programs, sides
from bench.cpu.report import CpuReport, Row
from emu.errors import AiosError
from toolchain.cli import main

HOSTED = [program for program in programs.PROGRAMS.values() if program.hosted]
BARE = [program for program in programs.PROGRAMS.values() if not program.hosted]


def _kept(program: programs.Program) -> bytes:
    with zipfile.ZipFile(programs.KEPT) as kept:
        return programs.with_rounds(kept.read(f"{program.name}.elf"), 1)


@pytest.mark.parametrize("program", HOSTED, ids=lambda program: program.name)
def test_a_program_gives_on_the_machine_what_it_gives_natively(
    program: programs.Program, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(programs.NATIVE_GCC)
    native = programs.build_native(program, tmp_path)
    assert native is not None
    expected = sides.native(native, 1)
    assert int(expected.result, 16) != 0, "a check within the program failed"
    assert one.run(_kept(program)).result == expected.result


@pytest.mark.parametrize("program", BARE, ids=lambda program: program.name)
def test_a_program_for_the_bare_machine_gives_what_it_gives_on_qemu(
    program: programs.Program, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    tool(sides.QEMU)
    image = tmp_path / "image.elf"
    image.write_bytes(_kept(program))
    expected = sides.qemu(image)
    assert int(expected.result, 16) != 0, "a check within the program failed"
    assert one.run(_kept(program)).result == expected.result


def test_the_images_that_are_kept_are_made_from_the_sources_that_are_here() -> None:
    with zipfile.ZipFile(programs.KEPT) as kept:
        assert kept.comment.decode() == programs.digest(), "run python -m bench.cpu.keep_images"
        assert kept.namelist() == [f"{name}.elf" for name in programs.PROGRAMS]


def test_more_rounds_are_more_work() -> None:
    image = _kept(programs.PROGRAMS["crc32"])
    once, thrice = (one.run(programs.with_rounds(image, rounds)) for rounds in (1, 3))
    assert 1.8 < thrice.instructions / once.instructions < 3
    assert once.result != thrice.result


def test_an_unknown_program_is_refused_by_name() -> None:
    with pytest.raises(AiosError, match="no program 'towers' to measure; the programs are mix, "):
        programs.choose("sieve,towers")


@pytest.fixture
def warm_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cold runs that find the tests' own cache: compiling an engine takes seconds."""
    monkeypatch.setattr(processes, "environment", lambda cache: dict(os.environ))
    monkeypatch.setattr(processes, "new_cache", lambda folder, used: folder)


def test_the_figures_are_written_as_json(
    warm_only: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.cpu.MOST_FILLING_RUNS", 1)
    figures = tmp_path / "figures.json"
    command = ["bench", "cpu", "--quick", "--programs", "quicksort", "--json", str(figures)]
    assert main(command) == 0
    content = json.loads(figures.read_text())
    (row,) = content["rows"]
    assert row["name"] == "quicksort"
    assert row["status"] == "ok"
    assert {"warm", "warm_process", "cold_process"} <= set(row["seconds"])
    targets = {"geomean_vs_qemu", "worst_vs_qemu", "geomean_vs_native", "cold_vs_qemu"}
    assert targets <= set(content["summary"])


def test_a_program_is_warm_when_a_run_leaves_nothing_new(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runs = []

    def leaves_two(image: Path, cache: Path) -> sides.Timing:
        cache.mkdir(exist_ok=True)
        runs.append(cache)
        if cache.name == "warm" and len(runs) < 3:
            (cache / f"translation {len(runs)}").touch()
        return sides.Timing("1", 1.0, 1.0)

    monkeypatch.setattr(sides, "aios", leaves_two)
    monkeypatch.setattr(sides, "have_qemu", lambda: False)
    monkeypatch.setattr(programs, "build_native", lambda program, folder: None)
    monkeypatch.setattr(processes, "new_cache", lambda folder, used: folder)
    measure(Options("chase", quick=True), lambda line: None)
    assert [cache.name == "warm" for cache in runs] == [True, True, True, False, True]


def test_machines_that_disagree_make_the_benchmark_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    right, wrong = (sides.Timing(f"{result:016x}", 1.0, 1.0) for result in (1, 2))
    monkeypatch.setattr(sides, "native", lambda program, rounds: right)
    monkeypatch.setattr(sides, "aios", lambda image, cache: wrong)
    monkeypatch.setattr(processes, "new_cache", lambda folder, used: folder)
    monkeypatch.setattr(sides, "have_qemu", lambda: False)
    monkeypatch.setattr(programs, "build_native", lambda program, folder: Path(os.devnull))
    lines: list[str] = []
    report = measure(Options("chase", quick=True), lines.append)
    assert report.failed
    assert any("failed: the results are" in line for line in lines)


def test_a_host_with_no_compiler_and_no_qemu_runs_the_kept_images_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images: list[bytes] = []

    def note_image(image: Path, cache: Path) -> sides.Timing:
        images.append(image.read_bytes())
        return sides.Timing("1", 1.0, 1.0)

    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(sides, "aios", note_image)
    monkeypatch.setattr(processes, "new_cache", lambda folder, used: folder)
    lines: list[str] = []
    report = measure(Options("chase", quick=True), lines.append)
    rounds = programs.PROGRAMS["chase"].scaled(0.1)
    assert set(images) == {programs.with_rounds(_kept(programs.PROGRAMS["chase"]), rounds)}
    assert lines[:2] == [
        "Neither qemu-system-riscv64 nor gcc is installed, so there is nothing to compare with: "
        "the times are AIos's alone.",
        "riscv64-unknown-elf-gcc is not installed: the images are those that are kept.",
    ]
    assert report.summary["geomean_vs_qemu"] is None
    assert lines[-1].count("not measured") == 4


def test_the_footer_says_which_targets_are_met() -> None:
    times = {"native": 1.0, "qemu": 8.0, "warm": 2.0, "qemu_process": 9.0, "cold_process": 10.0}
    lines = CpuReport([Row("a", "", times)]).footer().splitlines()
    verdicts = {
        line.split()[0]: line.split(maxsplit=2)[2] for line in lines if ": m" in line.lower()
    }
    assert verdicts == {
        "geomean_vs_qemu": "at least 3: met",
        "worst_vs_qemu": "at least 1: met",
        "geomean_vs_native": "at most 2: met",
        "cold_vs_qemu": "at least 1: MISSED",
    }


def test_ratios_are_above_one_where_this_machine_is_faster_than_qemu() -> None:
    report = CpuReport(
        [
            Row("a", "", {"native": 1.0, "qemu": 8.0, "warm": 2.0, "qemu_process": 9.0}),
            Row("b", "", {"qemu": 2.0, "warm": 4.0, "qemu_process": 2.0, "cold_process": 1.0}),
            Row("short", "", {"qemu_process": 1.0, "cold_process": 4.0}),
        ]
    )
    summary = report.summary
    assert summary["geomean_vs_qemu"] == pytest.approx(2**0.5)
    assert summary["worst_vs_qemu"] == 0.5
    assert summary["geomean_vs_native"] == pytest.approx(2.0)
    assert summary["cold_vs_qemu"] == 2.0  # of programs that take QEMU two seconds


def test_a_new_cache_has_the_bytecode_of_what_was_installed_and_nothing_of_ours(
    tmp_path: Path,
) -> None:
    used = tmp_path / "used"
    installed, ours = Path("lib/python/json.pyc"), Path(*processes.ROOT.parts[1:], "emu/bus.pyc")
    for path in (used / "python" / installed, used / "python" / ours, used / "engine.o"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    new = processes.new_cache(tmp_path / "new", used)
    assert [path.relative_to(new) for path in new.rglob("*.*")] == ["python" / installed]
