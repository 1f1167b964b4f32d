"""Where things are kept that can always be made again: object code, kernel images."""

import os
from pathlib import Path


def cache_directory() -> Path:
    """`$AIOS_CACHE`, or `aios` in the user's cache directory; the directory need not exist."""
    if chosen := os.environ.get("AIOS_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aios"
