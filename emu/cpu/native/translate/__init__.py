"""The translator: hot code becomes machine code, a region of many basic blocks at a time.

Read in the order of the data: `image` (the guest code as it stands), `region` (which blocks belong
together), `frame` and `emit` (their LLVM), `compiler` (a request becomes machine code, in a process
of its own), `translator` (what is hot, and where translations are entered).
"""
