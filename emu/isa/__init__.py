"""The instruction set: every instruction declared once, every reading of it derived.

`graph` is the vocabulary, `encoding` the bit patterns, `declare` the table; the `rv64*`, `zb*`,
`zicsr`, `privileged` and `xaitensor` modules are the declarations, a file an extension.
"""
