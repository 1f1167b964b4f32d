"""From LLVM IR to an RV64 object, with llvmlite's copy of LLVM.

Code is position-dependent for anywhere in the address space (the medium code model, "medany"),
for the lp64d calling convention. `runtime/arithmetic.ll` joins every program here.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from llvmlite import binding

from toolchain.kern.codegen.module import TRIPLE

FEATURES = "+m,+a,+f,+d,+c,+zba,+zbb,+zbs"
"""The extensions that compiled code may use."""

_HELPERS = Path(__file__).parent / "runtime" / "arithmetic.ll"


@cache
def _target() -> Any:
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    return binding.Target.from_triple(TRIPLE)


def target_machine(opt: int, features: str = FEATURES) -> Any:
    """LLVM's code generator for the machine's harts, or with other features for its lanes."""
    return _target().create_target_machine(
        cpu="generic-rv64",
        features=features,
        opt=opt,
        reloc="static",
        codemodel="medium",
        abiname="lp64d",
    )


def emit_object(llvm: str, opt: int) -> bytes:
    """The object of a module, optimised at level 0, 1 or 2."""
    machine = target_machine(opt)
    module = binding.parse_assembly(llvm)
    module.link_in(binding.parse_assembly(_HELPERS.read_text()))
    module.verify()
    if opt:
        optimise(module, machine, opt)
    return bytes(machine.emit_object(module))


def optimise(module: Any, machine: Any, opt: int, *, unroll: bool = True) -> None:
    """Runs LLVM's passes over a module."""
    options = binding.create_pipeline_tuning_options(speed_level=opt)
    options.loop_vectorization = False  # the machine has no vector unit but the tensor registers
    options.slp_vectorization = False
    options.loop_unrolling = unroll
    options.inlining_threshold = 50  # of 225: half the time and two thirds of the code
    builder = binding.create_pass_builder(machine, options)
    builder.getModulePassManager().run(module, builder)
