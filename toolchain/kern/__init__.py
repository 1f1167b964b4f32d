"""Kern: the language of the kernel, from source text to an RV64 object.

One module a pass: `parse` (text to lark tree to the AST of `syntax`), `check` (AST to the typed
tree of `typed`, whose types are in `types`), then code generation through LLVM: `codegen` writes
its IR, `backend` has it compiled for harts, `lanes` for the lanes of a GPU. `diagnostics` holds
what all passes report. The language itself is described in `docs/kern.md`.
"""
