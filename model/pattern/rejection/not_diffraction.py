"""What speaks for a set of bright places being a diffraction pattern."""

import numpy as np
from numpy.typing import NDArray

from model.errors import NoSpotsError
from model.pattern.beam_center.friedel_center import Center
from model.pattern.signal.peaks import Peaks
from model.pattern.signal.real_space import are_alike
from model.pattern.spots import MIN_SPOTS

BoolImage = NDArray[np.bool_]

_NO_SYMMETRY = (
    "the bright places of the image have no centre of symmetry, so it does not look like a diffraction pattern; if it "
    "is one whose centre is far from the middle, give center as x, y"
)
_LEAST_PAIRED = 0.15
_MANY, _MANY_PAIRED = 12, 0.45


def require_diffraction(peaks: Peaks, center: Center) -> None:
    """Refuse what shows bright places without the symmetry, or the range of brightness, of diffraction.

    Raises:
        NoSpotsError: too few spots, no centre of symmetry, or the equal bright places of a real-space image.
    """
    if len(peaks) < MIN_SPOTS:
        raise NoSpotsError(
            f"{len(peaks)} spots stand out from the background; at least {MIN_SPOTS} are needed"
        )
    if not has_symmetry(center):
        raise NoSpotsError(_NO_SYMMETRY)
    if are_alike(peaks):
        raise NoSpotsError(
            "the bright places of the image are all alike, or alike a lattice vector on, as in an image of real "
            "space; upload a diffraction pattern"
        )


def require_symmetry(center: Center, count: int) -> None:
    """Refuse many spots of which, with the noise taken out, fewer are paired than about the best place of any image.

    Of rendered patterns no fewer than three quarters are paired, of images of a lattice that get so far two fifths.

    Args:
        center: with its final support.
        count: of the spots.

    Raises:
        NoSpotsError: so few are paired.
    """
    if count >= _MANY and center.paired_fraction < _MANY_PAIRED:
        raise NoSpotsError(_NO_SYMMETRY)


def has_symmetry(center: Center) -> bool:
    """Whether enough of the bright places have a mate across the centre."""
    return center.pairs >= MIN_SPOTS and center.paired_fraction >= _LEAST_PAIRED
