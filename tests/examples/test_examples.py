"""The programs under examples/ do what their first lines say."""

from __future__ import annotations

from pathlib import Path

import pytest

from toolchain.cli import main

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.parametrize(("name", "tests"), [("primes", 2), ("jobs", 3)])
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
