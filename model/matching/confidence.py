"""How sure an answer may be: the probability of each candidate, and of none of them.

Scores are logarithms of a likelihood whose noise is only roughly known, so they are tempered; whether the crystal is
among the candidates at all is judged by how well the best of them explains the pattern. Both were fitted, by maximum
likelihood, to simulated patterns of validation crystals in and out of the index, of random spots and of broken rings
(`bench/confidence.py --fit`), and are measured on patterns of test crystals (the same without `--fit`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, log
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.matching.depth import Effort
from model.matching.match import Match

FloatArray = NDArray[np.float64]
Verdict = Literal["match", "ambiguous", "no_match"]

SURE = 0.9
TYPICAL_SPOTS = 40


@dataclass(frozen=True)
class Calibration:
    """What was fitted.

    Attributes:
        temperature: by which differences of scores are divided.
        known: weights of `evidence` in the log odds that the crystal is among the candidates.
        unknown_below: probability that it is among them, under which the verdict is "no_match".
    """

    temperature: float
    known: tuple[float, ...]
    unknown_below: float


# Printed by --fit: of 900 queries with seed 1, and of 250 with seed 2 and --effort full.
CALIBRATIONS: dict[Effort, Calibration] = {
    "verify": Calibration(3.15, (1.485, -4.622, -0.562, -11.848, 1.127, -3.969), 0.287),
    "full": Calibration(3.67, (2.099, -3.737, -6.119, -7.949, 0.689, -3.298), 0.597),
}


@dataclass(frozen=True)
class Confidence:
    """How sure an answer is.

    Attributes:
        probability: (C,) of each candidate; NaN where it was not refined. They sum to at most 1, the rest is "none of
            these".
        verdict: "match" where one candidate has at least 0.9, "no_match" where likely none is right, else "ambiguous".
    """

    probability: FloatArray
    verdict: Verdict


def evidence(best: Match, spots: int) -> FloatArray:
    """(6,) what tells whether the best candidate explains a pattern of so many spots."""
    r_factor = 0.0 if best.r_factor is None else best.r_factor
    return np.array([1.0, best.extra, best.missing, r_factor, log(spots / TYPICAL_SPOTS), 1 - best.explained])


def confidence(
    matches: Sequence[Match | None], values: FloatArray, spots: int, calibration: Calibration
) -> Confidence:
    """Probabilities and verdict.

    Args:
        matches: of the C candidates.
        values: (C,) by which refined candidates are ranked, ln likelihood and similarity together.
        spots: number of spots of the pattern.
        calibration: what was fitted.
    """
    probability = np.full(len(matches), np.nan)
    refined = np.array([row for row, match in enumerate(matches) if match is not None], dtype=np.int64)
    if not len(refined):
        return Confidence(probability, "no_match")
    tempered = (values[refined] - values[refined].max()) / calibration.temperature
    best = matches[refined[tempered.argmax()]]
    assert best is not None
    known = 1 / (1 + exp(-float(evidence(best, spots) @ np.array(calibration.known))))
    probability[refined] = known * np.exp(tempered) / np.exp(tempered).sum()
    if known < calibration.unknown_below:
        return Confidence(probability, "no_match")
    return Confidence(probability, "match" if np.nanmax(probability) >= SURE else "ambiguous")
