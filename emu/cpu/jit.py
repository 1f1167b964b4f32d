"""Compile an LLVM module for this host once, and keep the object code on disk across runs.

    code = compile_cached("interpreter " + source_key("emu.isa"), build)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("run"))

`build` makes the module and is called only when the cache has nothing: a warm start neither makes
IR nor optimises, it maps an object file. The cache (`emu.cache`) is a convenience, never a
condition: a file that is damaged is made anew, a directory that cannot be written is done without.
An entry's name is a hash of the key, the LLVM version and the host's processor, so nothing is ever
invalidated; what nobody has used for a month is deleted.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Protocol

import llvmlite
import llvmlite.binding as llvm

from emu.cache import cache_directory

_MAGIC = b"aios object 1\n"
_UNUSED_SECONDS = 30 * 24 * 3600


class Printable(Protocol):
    """What `build` gives: an `llvmlite.ir.Module`, or its text."""

    def __str__(self) -> str: ...


class Code:
    """Loaded machine code. Its functions live as long as this object does."""

    def __init__(self, object_code: bytes) -> None:
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine(0))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_code))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """Address of the function `name`; KeyError when the module has none."""
        address = int(self._engine.get_function_address(name))
        if not address:
            raise KeyError(name)
        return address


def compile_cached(
    key: str, build: Callable[[], Printable], *, opt: int = 3, passes: Sequence[str] | None = None
) -> Code:
    """The module that `build` makes, optimised at level `opt` for this host and loaded.

    `passes` are the names of LLVM's that run in place of the level's, perhaps none: a module that
    has little in it to remove or to move then takes half the time.

    `key` must differ whenever `build` would make another module: name the purpose, and include
    `source_key` of the code that `build` is made of. Its first word begins the file's name.
    """
    path = cache_directory() / _file_name(" ".join([key, *(passes or ())]), opt)
    stored = _read(path)
    if stored is not None:
        return Code(stored)
    object_code = compile_object(str(build()), opt=opt, passes=passes)
    _write(path, object_code)
    return Code(object_code)


def compile_object(text: str, *, opt: int = 3, passes: Sequence[str] | None = None) -> bytes:
    """Optimise LLVM assembly for this host and give the object file, without the cache."""
    machine = _target_machine(opt)
    module = llvm.parse_assembly(text)
    module.verify()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options(opt))
    manager = builder.getModulePassManager()
    if passes is not None:
        manager = llvm.create_new_module_pass_manager()
        for name in passes:
            getattr(manager, f"add_{name}_pass")()
    manager.run(module, builder)
    return bytes(machine.emit_object(module))


@cache
def source_key(*modules: str) -> str:
    """A hash over the Python source of modules, and of packages with all they contain."""
    digest = hashlib.sha256()
    for name in modules:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(f"there is no source of the module '{name}' to hash")
        origin = Path(spec.origin)
        is_package = spec.submodule_search_locations is not None
        for path in sorted(origin.parent.rglob("*.py")) if is_package else [origin]:
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)}\n".encode() + content)
    return digest.hexdigest()


@cache
def _host() -> tuple[str, str, str]:
    """Target triple, processor name and features of the machine we run on."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return (
        llvm.get_process_triple(),
        llvm.get_host_cpu_name(),
        llvm.get_host_cpu_features().flatten(),
    )


def host_architecture() -> str:
    """First part of the target triple, such as 'x86_64' or 'aarch64'."""
    return _host()[0].partition("-")[0]


def _target_machine(opt: int) -> llvm.TargetMachine:
    triple, cpu, features = _host()
    return llvm.Target.from_triple(triple).create_target_machine(
        cpu=cpu, features=features, opt=opt, reloc="default", codemodel="jitdefault"
    )


def _file_name(key: str, opt: int) -> str:
    identity = "\n".join([key, str(opt), llvmlite.__version__, *_host()])
    return f"{key.split()[0]}-{hashlib.sha256(identity.encode()).hexdigest()[:40]}.o"


def _read(path: Path) -> bytes | None:
    """The object in a cache file; None when there is none, or it is not what was written."""
    try:
        content = path.read_bytes()
        if time.time() - path.stat().st_mtime > _UNUSED_SECONDS / 30:
            os.utime(path)
    except OSError:
        return None
    head = len(_MAGIC) + 32
    if content[:head] != _MAGIC + hashlib.sha256(content[head:]).digest():
        return None
    return content[head:]


def _write(path: Path, object_code: bytes) -> None:
    """Store an object so that a reader sees all of it or nothing; give up where that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".new-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(_MAGIC + hashlib.sha256(object_code).digest() + object_code)
            os.replace(temporary, path)
        except OSError:
            os.unlink(temporary)
            raise
        _delete_unused(path.parent)
    except OSError:
        return


def _delete_unused(directory: Path) -> None:
    oldest = time.time() - _UNUSED_SECONDS
    for path in directory.glob("*.o"):
        if path.stat().st_mtime < oldest:
            path.unlink(missing_ok=True)
