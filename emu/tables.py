"""Tables of a TOML file as dataclasses: what a board file, and a device's table in it, may say.

A dataclass is the declaration: each field is a key, its type what the value must be, its default
what an absent key means. Whatever does not fit is a sentence that names the file, key and value.
"""

from __future__ import annotations

import dataclasses
import re
from datetime import datetime
from typing import Any, NewType, TypeVar, get_type_hints

from emu.errors import AiosError

Size = NewType("Size", int)
"""Bytes; written as a number with a unit in the file."""

Rate = NewType("Rate", int)
"""A number of at least 1: time is computed by dividing by it, or by adding it up."""

_UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_WORDS = {str: "a string", bool: "true or false", float: "a number", datetime: "a date and time"}
T = TypeVar("T")


def parse_size(text: str) -> Size:
    """`"16GiB"` in bytes; ValueError if it is no size."""
    match = re.fullmatch(r"(\d+)([KMGT]i)?B", text.replace(" ", ""))
    if match is None:
        raise ValueError(text)
    return Size(int(match[1]) * _UNITS[f"{match[2] or ''}B"])


def checked(kind: type[T], table: dict[str, Any], where: str, prefix: str = "") -> T:
    """`table` as an instance of the dataclass `kind`; every key without a default must be there and
    none that it does not know. `where` and `prefix` say in errors where the table stands."""
    hints = get_type_hints(kind)
    expected = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in table:
        if key not in expected:
            raise AiosError(f"{where} has an unknown key '{prefix}{key}'.")
    for key, field in expected.items():
        required = field.default is field.default_factory is dataclasses.MISSING
        if required and key not in table:
            raise AiosError(f"{where} lacks '{prefix}{key}'.")
    return kind(**{k: _value(hints[k], v, where, prefix + k) for k, v in table.items()})


def _value(kind: Any, value: object, where: str, key: str) -> object:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if isinstance(value, dict):
            return checked(kind, value, where, f"{key}.")
        raise AiosError(f"{where} must have a table [{key}], but '{key}' is {value!r}.")
    if kind is Size:
        try:
            return parse_size(str(value))
        except ValueError:
            raise AiosError(f"{where} says {key} = {value!r}; write a size like '1GiB'.") from None
    least, kind = (1, int) if kind is Rate else (0, kind)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind or (kind is int and isinstance(value, int) and value < least):
        what = _WORDS.get(kind, f"a number of at least {least}")
        raise AiosError(f"{where} says {key} = {value!r}, but it must be {what}.")
    return value
