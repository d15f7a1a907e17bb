"""Friedel pairs: the spots at q and -q, which differ if the sample is tilted or the layer is polar."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.spots import DIRECT_BEAM_RADIUS_INV_ANGSTROM, Spots

FloatArray = NDArray[np.float64]

MAX_DISTANCE_INV_ANGSTROM = 0.02
"""How far a spot may lie from the inverse of its mate."""


@dataclass(frozen=True)
class FriedelPairs:
    """A pattern with its spots grouped into Friedel pairs.

    Attributes:
        q_inv_angstrom: (P, 2) mean position (q_1 - q_2) / 2 of each pair, or that of a spot without a mate.
        log_intensity: (P,) ln of the mean intensity over that of the strongest pair; zeros without intensities.
        log_ratio: (P,) ln I(q) / I(-q); zero unless both spots were measured.
        paired: (P,) whether both spots were measured.
        has_intensity: whether the pattern has intensities.
    """

    q_inv_angstrom: FloatArray
    log_intensity: FloatArray
    log_ratio: FloatArray
    paired: NDArray[np.bool_]
    has_intensity: bool

    def __len__(self) -> int:
        return len(self.q_inv_angstrom)

    def select_strongest(self, count: int, q_max_inv_angstrom: float) -> "FriedelPairs":
        """Return the `count` strongest pairs within q_max; the innermost ones if intensities are unknown.

        Raises:
            NoSpotsError: No pair lies within q_max.
        """
        length = np.linalg.norm(self.q_inv_angstrom, axis=1)
        in_range = np.flatnonzero(length <= q_max_inv_angstrom)
        if not len(in_range):
            raise NoSpotsError(
                f"No spots lie within {q_max_inv_angstrom:g} 1/angstrom of the direct beam; check the scale."
            )
        key = -self.log_intensity if self.has_intensity else length
        kept = in_range[np.argsort(key[in_range], kind="stable")][:count]
        log_intensity = self.log_intensity[kept]
        return FriedelPairs(
            self.q_inv_angstrom[kept],
            log_intensity - log_intensity.max(initial=-np.inf) if self.has_intensity else log_intensity,
            self.log_ratio[kept],
            self.paired[kept],
            self.has_intensity,
        )


def find_friedel_pairs(spots: Spots) -> FriedelPairs:
    """Pair each spot with the one nearest to its inverse, if the two are each other's nearest.

    The tolerance is 0.02 1/angstrom, or a third of the smallest distance between spots where they are denser. Spots
    within 0.03 1/angstrom of the direct beam belong to it and are left out.
    """
    is_spot = np.linalg.norm(spots.q_inv_angstrom, axis=1) > DIRECT_BEAM_RADIUS_INV_ANGSTROM
    q = spots.q_inv_angstrom[is_spot]
    intensity = np.ones(len(q)) if spots.intensity is None else spots.intensity[is_spot]
    first, second = _find_mutual_mates(q)
    alone = np.setdiff1d(np.arange(len(q)), np.concatenate([first, second]))
    mean = np.concatenate([(intensity[first] + intensity[second]) / 2, intensity[alone]])
    log_mean = np.log(mean)
    return FriedelPairs(
        q_inv_angstrom=np.concatenate([(q[first] - q[second]) / 2, q[alone]]),
        log_intensity=log_mean - log_mean.max(initial=-np.inf),
        log_ratio=np.concatenate([np.log(intensity[first] / intensity[second]), np.zeros(len(alone))]),
        paired=np.arange(len(mean)) < len(first),
        has_intensity=spots.intensity is not None,
    )


def _find_mutual_mates(q: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if len(q) < 2:
        empty = np.empty(0, dtype=np.intp)
        return empty, empty
    tree = cKDTree(q)
    spacing = float(np.quantile(tree.query(q, k=2)[0][:, 1], 0.1))
    tolerance = min(MAX_DISTANCE_INV_ANGSTROM, spacing / 3)
    distance, mate = tree.query(-q)
    index = np.arange(len(q))
    mutual = (distance < tolerance) & (mate[mate] == index) & (index < mate)
    return index[mutual], mate[mutual]
