"""The tensor unit: instructions issued by emitted code, without Python. A picture: docs/tensor.md.

layout       the memory that emitted code and Python share
writer       words for writing LLVM functions
descriptors  tld, tst, tmv, tget, tset
issue        an instruction that computes: its key, its plan, its operands' addresses
teamwork     the steps of a plan, by one thread or several
build        all of that as one module
packed, unit what Python puts into the memory: the steps of a plan; a hart's unit
"""
