"""The examples of docs/kern.md are programs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.kern.conftest import Accepts

TEXT = (Path(__file__).parents[2] / "docs" / "kern.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```kern\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example_is_accepted(accepts: Accepts, example: str) -> None:
    accepts(example)
