"""The processor: hart state, CSRs, address translation, traps, and the engines that execute.

Read `state` first (what a hart is, byte by byte), then `hart` (what it can do), then the engines:
`reference` (slow and obvious) and `native` (the same table, emitted as machine code).
"""
