"""Agreement of all crystals of an index with a measured composition."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from index.chemistry.elements import ElementFilter, check_symbol, get_atomic_numbers
from model.crystal.elements import MAX_ATOMIC_NUMBER
from model.errors import OptionError

FloatArray = NDArray[np.float64]

# rms error of an EDS measurement without standards.
SIGMA = 0.05
# X-rays of elements lighter than boron do not reach the detector, so these elements count only where they are given.
MIN_DETECTED_NUMBER = 5
# Candidates more than five sigma away are excluded.
MAX_SIGMAS = 5.0


@dataclass(frozen=True)
class Composition:
    """Atomic fractions, measured for instance by EDS.

    Attributes:
        fractions: positive amounts of the elements that were detected; only their ratios matter.
        sigma: rms error of a fraction.

    Raises:
        OptionError: no element, an unknown one, or an amount that is not positive.
    """

    fractions: Mapping[str, float]
    sigma: float = SIGMA

    def __post_init__(self) -> None:
        if not self.fractions:
            raise OptionError("The composition is empty; give amounts, such as Mo:0.33,S:0.67.")
        for symbol, amount in self.fractions.items():
            check_symbol(symbol, "composition")
            if not (isfinite(amount) and amount > 0):
                raise OptionError(f"The amount of {symbol} in composition is {amount}; it must be positive.")
        if not 0.001 <= self.sigma <= 0.5:
            raise OptionError(f"composition_sigma is {self.sigma}; it must be between 0.001 and 0.5.")

    def check_against(self, elements: ElementFilter) -> None:
        """Reject a condition on the elements that excludes a measured element.

        Raises:
            OptionError: condition and composition contradict each other.
        """
        allowed = set(elements.only or self.fractions) - set(elements.none)
        excluded = [symbol for symbol in self.fractions if symbol not in allowed]
        if excluded:
            raise OptionError(
                f"composition contains {', '.join(excluded)}, which elements_only or elements_none excludes; change "
                "one of them."
            )


class CompositionTable:
    """The atomic fractions of N crystals.

    Args:
        numbers: atomic numbers of each crystal's atoms.
        preceding: tables of the crystals before these, (N_i, 99) atoms of each element; shared, not copied.
    """

    def __init__(
        self, numbers: Sequence[NDArray[np.integer]], preceding: tuple[NDArray[np.float32], ...] = ()
    ) -> None:
        counts = [np.bincount(each, minlength=MAX_ATOMIC_NUMBER + 1) for each in numbers]
        self._blocks = (*preceding, np.array(counts, dtype=np.float32).reshape(-1, MAX_ATOMIC_NUMBER + 1))

    def append(self, numbers: Sequence[NDArray[np.integer]]) -> "CompositionTable":
        """Return a table with further crystals appended."""
        return CompositionTable(numbers, self._blocks)

    def list_arrays(self) -> dict[str, NDArray[np.float32]]:
        """Return the blocks of the table by what they are called in messages."""
        return {f"compositions {place}": block for place, block in enumerate(self._blocks)}

    def compute_log_likelihood(self, measured: Composition) -> FloatArray:
        """Return (N,) ln likelihoods of the measurement, up to a constant: -chi^2 / 2 over the fractions."""
        return np.concatenate([_compute_log_likelihood(block, measured) for block in self._blocks])

    def list_possible(self, likelihood: FloatArray) -> NDArray[np.int64]:
        """Return the rows of crystals within five sigma, given the likelihoods of all."""
        return np.flatnonzero(likelihood > -(MAX_SIGMAS**2) / 2)


def _compute_log_likelihood(atoms: NDArray[np.float32], measured: Composition) -> FloatArray:
    given = np.zeros(MAX_ATOMIC_NUMBER + 1)
    for symbol, amount in measured.fractions.items():
        given[get_atomic_numbers()[symbol]] = amount / max(measured.fractions.values())
    is_detected = (given > 0) | (np.arange(len(given)) >= MIN_DETECTED_NUMBER)
    counts = atoms[:, is_detected].astype(np.float64)
    # A crystal of undetected elements alone has zero fractions, the farthest from any measurement.
    fractions = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    square = ((fractions - given[is_detected] / given.sum()) ** 2).sum(axis=1)
    likelihood: FloatArray = -square / (2 * measured.sigma**2)
    return likelihood
