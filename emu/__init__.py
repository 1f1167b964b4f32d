"""The machine: a RISC-V computer with tensor instructions and accelerators behind PCIe.

Read in this order: `isa` (what an instruction means), `cpu` (how one is executed),
`bus`, `memory`, `clock`, `devices` (what it can reach), `machine` (how all are put together).
"""
