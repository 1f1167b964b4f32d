"""Devices that come from elsewhere: what `kind` in a `[[device]]` of a board file may name.

Either a device that an installed package offers, by its entry point in the group `aios.devices`,
or a class in a Python file, written `file.py:Class` with a path relative to the board file. The
class is a `PciFunction` that is made with a name, a `System` and, if it declares that dataclass for
the other keys of the table, its `Parameters` (`docs/write-a-device.md`).
"""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emu.errors import AiosError

if TYPE_CHECKING:
    from emu.devices.pcie import PciFunction

GROUP = "aios.devices"


@dataclass(frozen=True)
class NoParameters:
    """What a device has that declares none."""


def find(kind: str, folder: Path) -> type[PciFunction]:
    """The class that `kind` names, with files relative to `folder`; AiosError if it cannot be
    had."""
    from emu.devices.pcie import PciFunction  # only boards with plug-ins need it this early

    path, colon, name = kind.rpartition(":")
    try:
        found = _from_file(folder / path, name) if colon else _from_package(kind)
    except AiosError:
        raise
    except Exception as error:
        raise AiosError(f"The device '{kind}' cannot be loaded: {error!r}.") from error
    if not (isinstance(found, type) and issubclass(found, PciFunction)):
        raise AiosError(f"The device '{kind}' is {found!r}, but it must be a PciFunction class.")
    return found


def parameters_of(device: type[PciFunction]) -> type[Any]:
    """The dataclass of a device's own keys."""
    declared: type[Any] = getattr(device, "Parameters", NoParameters)
    return declared


def _from_package(kind: str) -> object:
    """The object of an entry point."""
    from importlib.metadata import entry_points  # takes longer than all else here

    known = {point.name: point for point in entry_points(group=GROUP)}
    if kind not in known:
        have = f"installed are {', '.join(sorted(known))}" if known else "none is installed"
        raise AiosError(
            f"There is no device '{kind}': {have}. Name one, or a class as 'file.py:Class'."
        )
    loaded: object = known[kind].load()
    return loaded


def _from_file(path: Path, name: str) -> object:
    """The object `name` of a Python file, which is a module of its own, read once."""
    module_name = f"aios_device_{path.resolve().as_posix()}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None or not path.is_file():
            raise AiosError(f"The device file {path} is not there, or is no Python file.")
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    if not hasattr(module, name):
        raise AiosError(f"The device file {path} has no class '{name}'.")
    found: object = getattr(module, name)
    return found
