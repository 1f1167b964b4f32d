"""What the linker says when objects do not fit together."""

from __future__ import annotations

from collections.abc import Sequence

from emu.errors import AiosError


class LinkErrors(AiosError):
    """One or more sentences, a line each, naming the symbol and the object."""

    def __init__(self, sentences: Sequence[str]) -> None:
        super().__init__("\n".join(sentences))
        self.sentences = tuple(sentences)
