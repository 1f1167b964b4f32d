"""The translator: hot code becomes machine code, a region of many basic blocks at a time.

Read in the order of the data: `image` (the guest code as it stands), `region` (which blocks belong
together), `budget`, `spans`, `loops` and `registers` (what can be known about them), `frame`,
`memory` and `emit` (their LLVM), `translation` (what a request is, and its answer), `compiler` (one
becomes the other, in a process of its own), `shelf` (answers for later runs), `installed` and
`translator` (what is hot, and where translations are entered).
"""
