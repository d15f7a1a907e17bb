"""Friedel pairs: the spots at q and -q, which a tilt or a polar layer makes differ."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from model.errors import NoSpotsError
from model.pattern.scale import DIRECT_BEAM_RADIUS_INV_ANGSTROM
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]

PAIRING_TOLERANCE_INV_ANGSTROM = 0.02


@dataclass(frozen=True)
class FriedelPairs:
    """A pattern with its spots joined to Friedel pairs.

    Attributes:
        q_inv_angstrom: (P, 2) mean position (q_1 - q_2) / 2 of each pair, or the lone spot's.
        log_intensity: (P,) ln of the mean intensity over that of the strongest pair; zeros without intensities.
        log_ratio: (P,) ln I(q) / I(-q), zero unless both were measured.
        paired: (P,) both members were measured.
        has_intensity: whether the pattern carries intensities at all.
    """

    q_inv_angstrom: FloatArray
    log_intensity: FloatArray
    log_ratio: FloatArray
    paired: NDArray[np.bool_]
    has_intensity: bool

    def __len__(self) -> int:
        return len(self.q_inv_angstrom)

    def select_strongest(self, count: int, q_max_inv_angstrom: float) -> "FriedelPairs":
        """The `count` strongest pairs within q_max; the innermost ones where intensities are unknown.

        Raises:
            NoSpotsError: no pair lies within q_max.
        """
        length = np.linalg.norm(self.q_inv_angstrom, axis=1)
        inside = np.flatnonzero(length <= q_max_inv_angstrom)
        if not len(inside):
            raise NoSpotsError(
                f"no spots within {q_max_inv_angstrom:g} 1/angstrom of the direct beam; check the scale"
            )
        key = -self.log_intensity if self.has_intensity else length
        kept = inside[np.argsort(key[inside], kind="stable")][:count]
        log_intensity = self.log_intensity[kept]
        return FriedelPairs(
            self.q_inv_angstrom[kept],
            log_intensity - log_intensity.max(initial=-np.inf) if self.has_intensity else log_intensity,
            self.log_ratio[kept],
            self.paired[kept],
            self.has_intensity,
        )


def find_friedel_pairs(spots: Spots) -> FriedelPairs:
    """Join each spot with the one nearest to its inverse, where both choose each other.

    The tolerance is 0.02 1/angstrom, or a third of the smallest distance between spots where they lie denser.
    Spots within 0.03 1/angstrom of the direct beam belong to it and are left out.
    """
    away = np.linalg.norm(spots.q_inv_angstrom, axis=1) > DIRECT_BEAM_RADIUS_INV_ANGSTROM
    q = spots.q_inv_angstrom[away]
    intensity = np.ones(len(q)) if spots.intensity is None else spots.intensity[away]
    first, second = _mutual_partners(q)
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


def _mutual_partners(q: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    if len(q) < 2:
        empty = np.empty(0, dtype=np.intp)
        return empty, empty
    tree = cKDTree(q)
    spacing = float(np.quantile(tree.query(q, k=2)[0][:, 1], 0.1))
    tolerance = min(PAIRING_TOLERANCE_INV_ANGSTROM, spacing / 3)
    distance, partner = tree.query(-q)
    index = np.arange(len(q))
    mutual = (distance < tolerance) & (partner[partner] == index) & (index < partner)
    return index[mutual], partner[mutual]
