"""Xaitensor: the tensor instructions of the machine. Read in the order of the data.

descriptor, attributes, faults   what the guest hands over, and how it is refused
operands, arena                  guest addresses to host pointers, every right checked
instructions, checks             `execute`: types and extents checked as the declaration says
call                             what a schedule is given, and how it is bound to instructions
execution, plan                  what is to do, planned once per form of operands; one of
elementwise gemm qgemm conv pool reduce softmax norms  the schedules (`axes`: folding some axes)
attention recurrent quantize     made of these
gather scatter pad position topk nonzero resize grid  those that move (`rows`, `tables`)
expr, semantics                  what elementwise instructions mean, read from the table
reference, vocabulary            what every instruction means: slow, obvious, the judge in tests
formula, elementwise_rows, elementwise_tiles   one pass over memory
vectors, functions, emit         meaning to LLVM vector code
kernels, timing                  compiled code, and what an instruction costs
registers, unit, threads         where descriptors lie; issuing without Python; sharing the work
"""

from emu.cpu.tensor.instructions import execute

__all__ = ["execute"]
