"""The GPU model's times of matrix products against measured ones.

The measurements come in the package aiconfigurator-core: bf16 products by PyTorch as SGLang calls
it, some 35,000 shapes for each GPU. The model's constants were fitted to A100 and H100; H200 had no
part in that.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.report import Report
from emu.board import GpuBoard
from emu.devices.gpu.timing import Timing
from emu.errors import AiosError
from emu.tables import Rate, Size

_TABLES = "systems/data/{}/gemm/sglang/{}/gemm_perf.parquet"
_BATCH = 4000  # shapes at once: the model tries 150 ways of each


@dataclass(frozen=True)
class Gpu:
    """A measured GPU: its data sheet's figures, and where its table lies."""

    folder: str
    version: str
    units: int
    clock_mhz: int
    gflop_s: int
    memory_mb_s: int

    def timing(self) -> Timing:
        """The model of this GPU."""
        rates = (Rate(r) for r in (self.gflop_s, self.memory_mb_s, 1, 1, 1))
        return Timing(GpuBoard(1, Size(80 << 30), self.units, self.clock_mhz, *rates))


GPUS = {
    "a100": Gpu("a100_sxm", "0.5.10", 108, 1410, 312_000, 2_039_000),
    "h100": Gpu("h100_sxm", "0.5.14", 132, 1830, 989_000, 3_350_000),
    "h200": Gpu("h200_sxm", "0.5.14", 132, 1830, 989_000, 4_800_000),
}


def available() -> bool:
    """Whether the package with the measurements is installed."""
    return importlib.util.find_spec("aiconfigurator_core") is not None


def errors(gpu: Gpu) -> np.ndarray:
    """The model's relative error for every measured product (N)."""
    m, n, k, seconds = _measured(gpu)
    timing = gpu.timing()
    batches = [slice(i, i + _BATCH) for i in range(0, len(m), _BATCH)]
    cycles = np.concatenate([timing.product_cycles(m[b], n[b], k[b]) for b in batches])
    return np.asarray(cycles / (gpu.clock_mhz * 1e6) / seconds - 1)


def _measured(gpu: Gpu) -> tuple[np.ndarray, ...]:
    import pyarrow.parquet  # comes with the measurements

    found = importlib.util.find_spec("aiconfigurator_core")
    if found is None or not found.submodule_search_locations:
        raise AiosError("The measured products are not here; install aiconfigurator-core.")
    path = Path(found.submodule_search_locations[0], _TABLES.format(gpu.folder, gpu.version))
    only = [("gemm_dtype", "==", "bfloat16")]
    table = pyarrow.parquet.read_table(
        path, columns=["m", "n", "k", "latency", "gemm_dtype"], filters=only
    )
    m, n, k, milliseconds = (table[c].to_numpy().astype(float) for c in ("m", "n", "k", "latency"))
    return m, n, k, milliseconds / 1000


def measure(report: Report) -> None:
    """A row a GPU: the mean absolute error in percent. Left out without the measurements."""
    if not available():
        return
    for name, gpu in GPUS.items():
        mean = float(np.abs(errors(gpu)).mean()) * 100
        report.add(f"GEMM time, {name.upper()}: mean absolute error", mean, "%")
        if name in ("a100", "h100"):
            report.summary[f"gpu_gemm_mape_{name}"] = round(mean, 2)
