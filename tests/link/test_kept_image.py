"""AIos's image, kept from one run to the next: used when it is whole, made anew otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from toolchain import image

CONTENT = b"\x7fELF, let us say" * 10


@pytest.fixture
def builds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The builds that happen; the sources are one file, and building takes no time."""
    (tmp_path / "main.kern").write_text("")
    monkeypatch.setenv("AIOS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(image, "_ROOT", tmp_path)
    monkeypatch.setattr(image, "_MAKERS", ())
    monkeypatch.setattr(image, "kernel_files", lambda: [tmp_path / "main.kern"])
    done: list[str] = []

    def build(files: Sequence[Path], *, root: str, opt: int) -> bytes:
        done.append(root)
        return CONTENT

    monkeypatch.setattr(image, "build", build)
    return done


def test_an_image_is_built_once(builds: list[str]) -> None:
    paths = {image.default_image() for _ in range(3)}
    assert len(paths) == len(builds) == 1
    assert paths.pop().read_bytes() == CONTENT


@pytest.mark.parametrize("content", [b"", CONTENT[:40], CONTENT[:-1] + b"?", CONTENT + b"\0"])
def test_a_damaged_image_is_built_again(builds: list[str], content: bytes) -> None:
    image.default_image().write_bytes(content)
    assert image.default_image().read_bytes() == CONTENT
    assert len(builds) == 2


def test_another_source_is_another_image(builds: list[str], tmp_path: Path) -> None:
    first = image.default_image()
    (tmp_path / "main.kern").write_text("fn main() {}")
    assert image.default_image() != first
    assert len(builds) == 2


def test_without_a_cache_the_image_is_kept_beside_other_builds(
    builds: list[str], tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("a file in its place")
    assert image.default_image().parent == tmp_path / "build"
    assert image.default_image().read_bytes() == CONTENT
    assert len(builds) == 1
