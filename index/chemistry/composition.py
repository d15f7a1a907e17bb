"""How well crystals agree with a measured composition, answered for a whole index at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from index.chemistry.elements import ElementFilter, check_symbol, get_atomic_numbers
from model.crystal.elements import MAX_ATOMIC_NUMBER
from model.errors import OptionError

FloatArray = NDArray[np.float64]

# Of an EDS measurement without standards.
SIGMA = 0.05
# Lighter than boron, an element's X-rays do not reach the detector; it counts only where it is given.
LIGHTEST_SEEN = 5
# A crystal further off than so many sigma is no candidate.
FARTHEST_SIGMAS = 5.0


@dataclass(frozen=True)
class Composition:
    """Atomic fractions as measured, by EDS for instance.

    Attributes:
        fractions: of each element that was found; any positive numbers, their ratios count.
        sigma: rms error of a fraction.

    Raises:
        OptionError: no element, an unknown one, or a number that is no amount.
    """

    fractions: Mapping[str, float]
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        if not self.fractions:
            raise OptionError("composition is empty; give amounts, such as Mo:0.33,S:0.67")
        for symbol, amount in self.fractions.items():
            check_symbol(symbol, "composition")
            if not (isfinite(amount) and amount > 0):
                raise OptionError(f"composition: {symbol} has the amount {amount}; give a positive number")
        if not 0.001 <= self.sigma <= 0.5:
            raise OptionError(f"composition_sigma is {self.sigma}; give an error of 0.001 to 0.5")

    def check_against(self, elements: ElementFilter) -> None:
        """Refuse a condition on the elements that rules out what was measured.

        Raises:
            OptionError: they contradict each other.
        """
        allowed = set(elements.only or self.fractions) - set(elements.none)
        excluded = [symbol for symbol in self.fractions if symbol not in allowed]
        if excluded:
            raise OptionError(
                f"composition holds {', '.join(excluded)}, which elements_only or elements_none rules out"
            )


class CompositionTable:
    """The atomic fractions of N crystals.

    Args:
        numbers: atomic numbers of each crystal's atoms.
        before: atoms of each element in the crystals before these, (N_i, 99) each; shared, never copied.
    """

    def __init__(
        self, numbers: Sequence[NDArray[np.integer]], before: tuple[NDArray[np.float32], ...] = ()
    ) -> None:
        counts = [np.bincount(each, minlength=MAX_ATOMIC_NUMBER + 1) for each in numbers]
        self._parts = (*before, np.array(counts, dtype=np.float32).reshape(-1, MAX_ATOMIC_NUMBER + 1))

    def append(self, numbers: Sequence[NDArray[np.integer]]) -> "CompositionTable":
        """These and more crystals after them."""
        return CompositionTable(numbers, self._parts)

    def log_likelihood(self, measured: Composition) -> FloatArray:
        """(N,) ln likelihood of the measurement, up to a constant: -chi^2 / 2 over the fractions."""
        return np.concatenate([_log_likelihood(part, measured) for part in self._parts])

    def list_possible(self, likelihood: FloatArray) -> NDArray[np.int64]:
        """Rows that are not impossible by a likelihood of these crystals."""
        return np.flatnonzero(likelihood > -(FARTHEST_SIGMAS**2) / 2)


def _log_likelihood(atoms: NDArray[np.float32], measured: Composition) -> FloatArray:
    given = np.zeros(MAX_ATOMIC_NUMBER + 1)
    for symbol, amount in measured.fractions.items():
        given[get_atomic_numbers()[symbol]] = amount / max(measured.fractions.values())
    seen = (given > 0) | (np.arange(len(given)) >= LIGHTEST_SEEN)
    counts = atoms[:, seen].astype(np.float64)
    # A crystal of nothing but elements that are not seen has no fractions, and is as far off as can be.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    square = ((fractions - given[seen] / given.sum()) ** 2).sum(axis=1)
    likelihood: FloatArray = -square / (2 * measured.sigma**2)
    return likelihood
