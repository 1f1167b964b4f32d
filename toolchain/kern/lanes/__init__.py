"""From the LLVM module of gpu functions to code that lanes run.

Lanes execute those of a warp that have the lowest pc together, so code comes out with its blocks
in order, a loop's together and what follows it behind: then lanes that part meet again where the
ways meet. LLVM knows neither that rule nor the lanes' instructions. Hence, in this order:

* `backend.optimise` runs LLVM's passes over IR in which lanes' instructions are convergent calls;
* `order` puts the blocks in order, and `stand_ins` writes instructions for those calls that LLVM
  can encode and no gpu function contains otherwise;
* LLVM makes an object of that, without the passes that move blocks (`_OPTIONS`);
* `finish` turns the stand-ins into what they stand for and completes the kernel objects.
"""

from toolchain.kern.lanes.emit import emit

__all__ = ["emit"]
