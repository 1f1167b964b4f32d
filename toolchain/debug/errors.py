"""What is wrong with a command, an expression or a place: a sentence, after which the user is asked
for the next command."""

from __future__ import annotations

from emu.errors import AiosError


class DebugError(AiosError):
    """A command that cannot be carried out; the session goes on."""
