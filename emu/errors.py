"""The one exception that a user of the machine or the toolchain is meant to read.

Its message is a whole sentence that names the offending value and what to do about it; the
command line prints it after `aios: error:` and exits with a non-zero status, without a traceback.
"""


class AiosError(Exception):
    """Bad input from outside: a file, an option, a board, an image."""
