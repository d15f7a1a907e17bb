"""Beams that a candidate has and the pattern does not show."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]

# A beam is lost at random, or because it is fainter than the faintest spot.
LOST = 0.06
CLEARLY_ABOVE = 1.0


@dataclass(frozen=True)
class Absent:
    """The beams that were not measured.

    Attributes:
        hk: (K, 2) indices of those that should have been seen.
        computed: (K,) their ln intensity on the measured scale.
        log_densities: (K,) ln likelihood of not having seen each.
        log_likelihood: of not having seen any of the absent beams, expected or not.
        expected: number of beams computed well above the faintest spot, seen or not.
    """

    hk: IntArray
    computed: FloatArray
    log_densities: FloatArray
    log_likelihood: float
    expected: int

    @classmethod
    def of(
        cls,
        hk: IntArray,
        above: FloatArray,
        within: BoolArray,
        seen: IntArray,
        faintest: float,
        sigma: FloatArray,
    ) -> Self:
        """Of M beams.

        Args:
            hk: (M, 2) their indices.
            above: (M,) ln of the intensity over that of the faintest spot.
            within: (M,) lies within the range of the pattern.
            seen: rows of the beams that were measured.
            faintest: ln of the faintest spot's intensity.
            sigma: (M,) expected rms error of `above`.
        """
        absent = within.copy()
        absent[seen] = False
        hidden = np.zeros(len(above))
        hidden[absent] = np.log(LOST + (1 - LOST) * ndtr(-above[absent] / sigma[absent]))
        strong = above > CLEARLY_ABOVE
        missing = absent & strong
        return cls(
            hk=hk[missing],
            computed=above[missing] + faintest,
            log_densities=hidden[missing],
            log_likelihood=float(hidden.sum()),
            expected=int((within & strong).sum()),
        )

    @property
    def share(self) -> float:
        """Of the beams that should have been seen, those that were not."""
        return len(self.hk) / max(self.expected, 1)
