"""Compile an LLVM module for this host once, and keep the machine code on disk across runs.

    code = compile_cached("interpreter " + source_key("emu.isa"), build)
    run = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(code.address("run"))

`build` makes the module and is called only when the cache (`emu.cache`) has nothing. A warm start
does not even import LLVM: what is kept is linked (`emu.cpu.link`), and loaded in microseconds
(`emu.cpu.blob`). Where our linker does not know the host, object files are kept, and LLVM loads
them.

`compile_code` and `load` are the two halves, for those who compile in another process. Code is only
good for the host it was made on: put `host_key()` into whatever names it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from emu import cache as disk
from emu.cpu import hostcpu
from emu.cpu.blob import MAGIC, Blob


class Printable(Protocol):
    """What `build` gives: an `llvmlite.ir.Module`, or its text."""

    def __str__(self) -> str: ...


class Code(Protocol):
    """Loaded machine code. Its functions live as long as this object does, or until `close`."""

    def address(self, name: str) -> int:
        """Address of the function or constant `name`; KeyError when the module has none."""

    def close(self) -> None:
        """Give the memory back; nothing may execute in it any more."""


class ObjectCode:
    """An object file loaded by LLVM."""

    def __init__(self, object_file: bytes, symbols: Mapping[str, int] | None = None) -> None:
        import llvmlite.binding as llvm

        for name, address in (symbols or {}).items():
            llvm.add_symbol(name, address)
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), _target_machine(0))
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(object_file))
        self._engine.finalize_object()

    def address(self, name: str) -> int:
        """As `Code` says."""
        engine = self._engine
        address = int(engine.get_function_address(name) or engine.get_global_value_address(name))
        if not address:
            raise KeyError(name)
        return address

    def close(self) -> None:
        """As `Code` says."""
        self._engine.close()


def compile_cached(
    key: str,
    build: Callable[[], Printable],
    *,
    opt: int = 3,
    passes: Sequence[str] | None = None,
    symbols: Mapping[str, int] | None = None,
) -> Code:
    """The module that `build` makes, optimised at level `opt` for this host and loaded.

    `passes` are the names of LLVM's that run in place of the level's, perhaps none: a module that
    has little in it to remove or to move then takes half the time.

    `key` must differ whenever `build` would make another module: name the purpose, and include
    `source_key` of the code that `build` is made of. Its first word begins the entry's name.
    `symbols` are as for `load`.
    """
    return load(compiled(key, build, opt=opt, passes=passes), symbols)


def compiled(
    key: str,
    build: Callable[[], Printable],
    *,
    opt: int = 3,
    passes: Sequence[str] | None = None,
) -> bytes:
    """What `compile_cached` loads, and what it is called with: kept, or made and then kept."""
    stored = kept(key, opt=opt, passes=passes)
    if stored is None:
        stored = compile_code(str(build()), opt=opt, passes=passes)
        disk.write(_entry(key, opt, passes), stored)
    return stored


def kept(key: str, *, opt: int = 3, passes: Sequence[str] | None = None) -> bytes | None:
    """What `compiled` gives when it has nothing to make, else None."""
    return disk.read(_entry(key, opt, passes))


def _entry(key: str, opt: int, passes: Sequence[str] | None) -> str:
    """The name of a module in the cache."""
    identity = "\n".join([key, *(passes or ()), str(opt), host_key()])
    return f"{key.split()[0]}-{hashlib.sha256(identity.encode()).hexdigest()[:40]}.o"


def compile_code(text: str, *, opt: int = 3, passes: Sequence[str] | None = None) -> bytes:
    """Optimise LLVM assembly for this host and give what `load` loads, without the cache."""
    from emu.cpu.link import link  # only needed when something is compiled

    object_file = compile_object(text, opt=opt, passes=passes)
    return link(object_file) or object_file


def load(compiled: bytes, symbols: Mapping[str, int] | None = None) -> Code:
    """Load what `compile_code` gave, here or in another process on this host. Functions that it
    calls but does not have are those in `symbols`, or the process's."""
    if compiled.startswith(MAGIC):
        return Blob(compiled, symbols)
    return ObjectCode(compiled, symbols)


def compile_object(text: str, *, opt: int = 3, passes: Sequence[str] | None = None) -> bytes:
    """Optimise LLVM assembly for this host and give the object file."""
    import llvmlite.binding as llvm

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
        folder, file = os.path.split(spec.origin)
        is_package = spec.submodule_search_locations is not None
        for path in _sources(folder) if is_package else [os.path.join(folder, file)]:
            with open(path, "rb") as source:
                content = source.read()
            digest.update(f"{os.path.basename(path)} {len(content)}\n".encode() + content)
    return digest.hexdigest()


def _sources(folder: str) -> list[str]:
    """The paths of all Python files in a folder and those in it, in order."""
    return sorted(
        os.path.join(place, name)
        for place, _, names in os.walk(folder)
        for name in names
        if name.endswith(".py")
    )


@cache
def host_key() -> str:
    """What compiled code depends on besides its module: the host's processor, LLVM, and how it is
    used here."""
    makers = source_key(__name__, "emu.cpu.link", "emu.cpu.blob")
    return "\n".join([hostcpu.identity(), _llvm_version(), makers])


def _llvm_version() -> str:
    """The release of llvmlite, which brings its LLVM along, told without loading it."""
    spec = importlib.util.find_spec("llvmlite")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("compiling code needs llvmlite, which is not installed")
    return (Path(spec.origin).parent / "_version.py").read_text("utf-8")


def host_architecture() -> str:
    """What LLVM calls the host's processors: 'x86_64', 'aarch64'..."""
    machine = os.uname().machine
    return {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)


def _target_machine(opt: int) -> Any:
    """The host as LLVM's code generators see it."""
    import llvmlite.binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    # What our linker takes is code that may lie anywhere, with its constants beside it.
    ours = hostcpu.is_x86()
    return llvm.Target.from_triple(llvm.get_process_triple()).create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=opt,
        reloc="pic" if ours else "default",
        codemodel="small" if ours else "jitdefault",
    )
