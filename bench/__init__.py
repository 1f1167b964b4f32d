"""Benchmarks, a module each with `measure() -> Report`; `aios bench` runs them."""
