"""The leak-free split: whole formulas go to one side.

Duplicates, the same crystal from two sources, its polymorphs and every stacking of a pair of layers share their
reduced formula, so a split by formula keeps them together without asking what counts as the same.
"""

import hashlib
from collections.abc import Collection, Sequence
from enum import Enum

from model.crystal.crystal import Crystal

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1


class Part(Enum):
    """Which side of the split a crystal is on."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def part_of(formula: str, seed: int, held_out: Collection[str] = ()) -> Part:
    """The part of every crystal of this reduced formula; `held_out` formulas are test whatever the draw."""
    if formula in held_out:
        return Part.TEST
    digest = hashlib.sha256(f"{seed}|{formula}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < TEST_SHARE:
        return Part.TEST
    return Part.VALIDATION if draw < TEST_SHARE + VALIDATION_SHARE else Part.TRAIN


def split(crystals: Sequence[Crystal], seed: int, held_out: Collection[str] = ()) -> dict[Part, list[int]]:
    """Indices of the crystals of each part, in order."""
    parts: dict[Part, list[int]] = {part: [] for part in Part}
    for index, crystal in enumerate(crystals):
        parts[part_of(crystal.formula, seed, held_out)].append(index)
    return parts
