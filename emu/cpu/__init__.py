"""The processor: hart state, CSRs, address translation, traps, and the engines that execute.

Read in this order:

    state                          what a hart is, word by word
    routine, csr, traps, regime    what it does by itself, described once for both engines
    pmp, mmu, runs, alarm          what an address means; the timer
    hart, system                   what can be done to it, and what system instructions do
    pysource, softfloat, reference the engine that is slow and obvious
    native/                        the engine that emits machine code from the same table
    tensor/                        the tensor unit
    jit, link, blob, hostcpu       machine code: compiled, kept, loaded
    background, early              the process that compiles beside the machine
"""
