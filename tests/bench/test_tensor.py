"""`aios bench tensor`: that it measures, and that it notices what is wrong."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from bench import tensor
from bench.tensor import products, rounds
from bench.tensor.guest import Guest
from bench.tensor.problem import Case
from bench.tensor.report import Row, TensorReport
from toolchain.cli import main

SUMMARY = {
    "gemm_roof_512", "worst_gemm_vs_best", "geomean_vs_best", "geomean_vs_ort",
    "membound_vs_triad", "int8_roof_512",
}  # fmt: skip
QUICK = tensor.Options(quick=True, cpu_time=True)


def test_quick_rows_are_measured_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "figures.json"
    options = ["--quick", "--only", "gemm [13][62]", "--json", str(path)]
    assert main(["bench", "tensor", *options]) == 0
    figures = json.loads(path.read_text())
    rows = [row for row in figures["rows"] if row["threads"] == 1]
    assert [row["name"] for row in rows] == ["gemm 16", "gemm 32"]
    assert all(row["status"] == "ok" and row["against"][row["best"]] > 0 for row in rows)
    assert figures["summary"].keys() >= SUMMARY
    assert figures["summary"]["geomean_vs_best"] > 0
    assert "gemm 32" in capsys.readouterr().out


def test_a_wrong_result_fails_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong() -> list[Case]:
        case = products.gemm(16, 16, 16)
        problem = case.make()
        expected = problem.expected()
        expected[3, 4] += 1
        return [replace(case, make=lambda: replace(problem, expected=lambda: expected))]

    monkeypatch.setattr(tensor, "cases", wrong)
    report = tensor.measure(QUICK)
    assert report.failed
    assert report.rows[0].status.startswith("failed: AIos is wrong by ")


def test_an_instruction_that_traps_fails_the_row(monkeypatch: pytest.MonkeyPatch) -> None:
    def trapping() -> list[Case]:
        case = products.gemm(16, 16, 16)
        problem = replace(case.make(), shape=(16, 17))
        return [replace(case, make=lambda: problem)]

    monkeypatch.setattr(tensor, "cases", trapping)
    assert "tensor exception SHAPE" in tensor.measure(QUICK).rows[0].status


def test_strided_operands_lie_in_the_machine_as_they_lie_in_the_host() -> None:
    problem = products.gemm(2, 3, 4, transposed=True).make()
    guest = Guest()
    try:
        session = guest.prepare(problem)
        session.run(2)
        np.testing.assert_allclose(session.result(), problem.expected(), rtol=1e-5)
    finally:
        guest.close()


@pytest.mark.parametrize(
    "case", [c for c in tensor.cases() if c.traffic < 1e6], ids=lambda c: c.name
)
def test_peers_compute_the_problem(case: Case) -> None:
    problem = case.make()
    expected = problem.expected()
    for engine in tensor.engines()[0]:
        session = engine.prepare(problem, 1)
        if session is not None:
            session.run(1)
            assert tensor.relative_error(session.result(), expected) < 1e-4


def test_names_of_rows_are_unique() -> None:
    names = [case.name for case in tensor.cases()]
    assert len(set(names)) == len(names)


def test_ratios_are_medians_of_the_rounds() -> None:
    times = rounds.Times({"a": [1.0, 4.0, 2.0], "b": [1.0, 2.0, 2.0]})
    assert (times.seconds("a"), times.ratio("a", "b")) == (2.0, 1.0)


def test_the_summary_takes_the_least_and_the_geometric_mean() -> None:
    def row(ratio: float, fraction: float, threads: int = 1) -> Row:
        return Row(
            "row", "gemm", threads, against={"x": ratio, "onnxruntime": 2 * ratio}, best="x",
            fraction=fraction, counts=frozenset({"gemm_roof_512", "worst_gemm_vs_best"}),
        )  # fmt: skip

    summary = TensorReport(rows=[row(0.5, 0.9), row(2.0, 0.7), row(0.1, 0.1, 2)]).summary
    assert summary["gemm_roof_512"] == 0.7
    assert summary["worst_gemm_vs_best"] == 0.5
    assert summary["geomean_vs_best"] == pytest.approx(1.0)
    assert summary["geomean_vs_ort"] == pytest.approx(2.0)
    assert summary["membound_vs_triad"] is None


def test_a_pattern_that_no_row_matches_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "tensor", "--only", "gemm 17"]) == 2
    assert "contains or matches 'gemm 17'" in capsys.readouterr().err


def test_only_what_the_triad_binds_is_bound_by_memory() -> None:
    def row(roof: str, triad: float) -> Row:
        fractions = {"triad": triad, "fma": 0.7}
        counts = frozenset({"membound_vs_triad"})
        return Row("row", "array", 1, "ok", roof=roof, fraction=fractions[roof],
                   fractions=fractions, counts=counts)  # fmt: skip

    summary = TensorReport(rows=[row("triad", 0.9), row("triad", 0.8), row("fma", 0.3)]).summary
    assert (summary["membound_vs_triad"], summary["arrays_vs_triad"]) == (0.8, 0.3)


def test_options_of_the_tensor_benchmark_are_refused_elsewhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["bench", "start", "--only", "copy"]) == 2
    assert "--only and --cpu-time are for `aios bench tensor`." in capsys.readouterr().err
    assert main(["bench", "start", "--quick"]) == 2
    assert "--quick is for `aios bench cpu` and" in capsys.readouterr().err
