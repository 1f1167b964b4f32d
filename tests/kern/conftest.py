"""Fixtures for tests of the language: programs that must be accepted, and exactly what is said of
those that must not."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest

from toolchain.kern import typed
from toolchain.kern.check import check
from toolchain.kern.compile import library, tensor_library
from toolchain.kern.diagnostics import KernErrors, Source
from toolchain.kern.parse import parse
from toolchain.kern.syntax import Module

Accepts = Callable[..., typed.Program]
Rejects = Callable[..., None]


@cache
def _prelude() -> Module:
    return parse(library()[0])


def _analyse(text: str, modules: dict[str, str]) -> typed.Program:
    """Checks a program with the prelude, but without the runtime, which only costs time here."""
    program = {"m": text, **modules}
    sources = [Source(f"{name}.kern", name, text) for name, text in program.items()]
    parsed = map(parse, [*tensor_library(sources), *sources])
    return check([_prelude(), *parsed], "m", tests=True)


@pytest.fixture
def accepts() -> Accepts:
    """Checks a program (module m, and others by name) that must be right."""

    def accept(*texts: str, **modules: str) -> typed.Program:
        return _analyse("\n".join(texts), modules)

    return accept


@pytest.fixture
def rejects() -> Rejects:
    """Checks a program of one text against all messages, each "line:column: message | hint"."""

    def reject(text: str, *messages: str, **modules: str) -> None:
        with pytest.raises(KernErrors) as raised:
            _analyse(text, modules)
        found = [
            f"{d.place.line}:{d.place.column}: {d.message}" + (f" | {d.hint}" if d.hint else "")
            for d in raised.value.diagnostics
        ]
        assert found == list(messages)

    return reject
