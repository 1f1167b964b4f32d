"""Models that somebody broke: each is answered, and the kernel lives through all of them."""

from __future__ import annotations

import random
from pathlib import Path

from tests.kernel.conftest import ROOT, Boot
from toolchain import disk

MUTANTS = 60


def _mutant(model: bytes, chance: random.Random) -> bytes:
    """The model cut off, with bytes inserted, or with some changed, mostly in its structure."""
    broken = bytearray(model)
    match chance.choice(["cut", "insert", "change", "change"]):
        case "cut":
            del broken[chance.randrange(len(broken)) :]
        case "insert":
            at = chance.randrange(400)
            broken[at:at] = chance.randbytes(chance.randrange(1, 8))
        case _:
            for _ in range(chance.randrange(1, 6)):
                at = chance.choice([chance.randrange(len(broken)), chance.randrange(300), -1])
                broken[at] = chance.choice([0, 127, 128, 255, chance.randrange(256)])
    return bytes(broken)


def test_every_broken_model_is_answered(machine: Boot, tmp_path: Path) -> None:
    model = (ROOT / "models" / "digits.onnx").read_bytes()
    chance = random.Random(2026)
    files = [("digit3.npy", ROOT / "models" / "digit3.npy")]
    for number in range(MUTANTS):
        path = tmp_path / f"m{number}.onnx"
        path.write_bytes(_mutant(model, chance))
        files.append((path.name, path))
    image = tmp_path / "disk.img"
    disk.create(image, files)
    commands = [f"spawn m{number}" for number in range(MUTANTS)]
    commands += [f"infer {number} digit3.npy" for number in range(MUTANTS)]
    session = machine("\n".join([*commands, "agents", "poweroff", ""]), image)
    for command in commands:
        answer = session.answer(command)
        assert answer.startswith(("agent ", "error: ", "class ")), (command, answer)
    assert session.code == 0
