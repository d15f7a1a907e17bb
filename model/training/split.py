"""The leak-free split: all crystals of one formula belong to the same part.

Duplicates, the same crystal from two sources, polymorphs and all stackings of two layers share their reduced formula. A
split by formula keeps them together without any definition of equality.
"""

import gzip
import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from pymatgen.core.composition import Composition

from model.crystal.crystal import Crystal
from model.errors import OptionError, UnreadableError

VALIDATION_SHARE = 0.1
TEST_SHARE = 0.1


class SplitPart(Enum):
    """Part of the split."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def assign_part(formula: str, seed: int, held_out: Collection[str] = ()) -> SplitPart:
    """Return the part of all crystals with this reduced formula; `held_out` formulas always belong to the test part."""
    if formula in held_out:
        return SplitPart.TEST
    digest = hashlib.sha256(f"{seed}|{formula}".encode()).digest()
    draw = int.from_bytes(digest[:8], "big") / 2**64
    if draw < TEST_SHARE:
        return SplitPart.TEST
    return SplitPart.VALIDATION if draw < TEST_SHARE + VALIDATION_SHARE else SplitPart.TRAIN


def split_by_formula(
    crystals: Sequence[Crystal], seed: int, held_out: Collection[str] = ()
) -> dict[SplitPart, list[int]]:
    """Return the indices of the crystals in each part, in order."""
    parts: dict[SplitPart, list[int]] = {part: [] for part in SplitPart}
    for index, crystal in enumerate(crystals):
        parts[assign_part(crystal.formula, seed, held_out)].append(index)
    return parts


def read_split_settings(training: Mapping[str, Any]) -> tuple[int, set[str]]:
    """Return the seed and the held-out formulas of the split on which towers were trained.

    Args:
        training: the description saved beside the weights.

    Raises:
        OptionError: it does not state them.
    """
    try:
        return int(training["split_seed"]), set(training["held_out"])
    except (KeyError, TypeError, ValueError) as error:
        raise OptionError(
            "The description of these towers does not state their training split, so none of the crystals is certain "
            "to be unseen; use other towers."
        ) from error


def read_held_out_formulas(paths: Iterable[Path]) -> set[str]:
    """Read the reduced formulas in JSON lists, plain or gzip, of objects with a `species` list.

    Raises:
        UnreadableError: a file is no such list.
    """
    formulas: set[str] = set()
    for path in paths:
        try:
            content = path.read_bytes()
            entries = json.loads(gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content)
            if not isinstance(entries, list):
                raise TypeError(f"it contains {type(entries).__name__}")
            formulas |= {Composition("".join(entry["species"])).reduced_formula for entry in entries}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UnreadableError(
                f"{path} is not a JSON list of crystals with a `species` list: {error}."
            ) from error
    return formulas
