"""The programs under examples/ do what their first lines say."""

from __future__ import annotations

from pathlib import Path

import pytest

from emu import plugins
from emu.devices import docs
from toolchain.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("name", "tests"), [("primes", 2), ("jobs", 3), ("mandelbrot", 2)])
def test_an_example_passes_its_own_tests(
    capsys: pytest.CaptureFixture[str], name: str, tests: int
) -> None:
    assert main(["test", str(EXAMPLES / f"{name}.kern")]) == 0
    assert capsys.readouterr().out == f"{'.' * tests}\n\n{tests} passed\n"


def test_hello_is_built_and_runs_without_a_kernel(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    image = str(tmp_path / "hello.elf")
    sources = [str(EXAMPLES / "hello.kern"), str(EXAMPLES / "start.s")]
    assert main(["build", *sources, "--output", image]) == 0
    assert main(["run", "--kernel", image, "--max-instructions", "1_000_000"]) == 0
    assert capfd.readouterr().out == "1 squared is 1\n2 squared is 4\n3 squared is 9\n"


DOT = EXAMPLES / "dot"


def test_a_device_of_ones_own_works_with_its_driver(capsys: pytest.CaptureFixture[str]) -> None:
    sources = [str(DOT / "driver.kern"), str(DOT / "registers.kern")]
    assert main(["test", "--board", str(DOT / "board.toml"), *sources]) == 0
    assert capsys.readouterr().out == "..\n\n2 passed\n"


def test_its_drivers_constants_follow_from_the_device() -> None:
    device = plugins.find("dot.py:Dot", DOT)
    command = "python -m emu.devices.docs examples/dot/dot.py:Dot > examples/dot/registers.kern"
    assert (DOT / "registers.kern").read_text() == docs.constants_of(device), f"run: {command}"


def test_it_works_as_an_installed_package_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A package is a module and what its installation leaves beside it: name and entry point."""
    (tmp_path / "dot_engine.py").write_text((DOT / "dot.py").read_text())
    installed = tmp_path / "dot_engine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: dot-engine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[aios.devices]\ndot = dot_engine:Dot\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    board = tmp_path / "board.toml"
    board.write_text((DOT / "board.toml").read_text().replace("dot.py:Dot", "dot"))
    sources = [str(DOT / "driver.kern"), str(DOT / "registers.kern")]
    assert main(["test", "--board", str(board), *sources]) == 0
    assert capsys.readouterr().out == "..\n\n2 passed\n"
