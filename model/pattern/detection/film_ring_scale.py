"""Rings of a support film beside the spots of a crystal: a standard of the scale within the frame."""

from model.pattern.materials import MATERIALS

USUAL, OTHER = MATERIALS["Au"], MATERIALS["Al"]
# Rings are followed to about 0.1 %, the two metals differ by 0.7 %, and what a file says is seldom better than this.
_AGREES = 0.02


def size_by_rings(fcc_unit_px: float) -> float:
    """1/angstrom per pixel if rings whose 1 / a is so many pixels are those of gold, the usual film."""
    return 1 / (USUAL.a_angstrom * fcc_unit_px)


def told_by_rings(fcc_unit_px: float, stated: float | None) -> tuple[str, ...]:
    """What to tell the user of the rings of a face-centred cubic metal.

    Args:
        fcc_unit_px: pixels of its 1 / a.
        stated: 1/angstrom per pixel, by the request or the file; None where the rings are all that is known.

    Returns:
        That their scale was used, that it contradicts the one stated, or nothing.
    """
    size = size_by_rings(fcc_unit_px)
    if stated is None:
        larger = 100 * (USUAL.a_angstrom / OTHER.a_angstrom - 1)
        return (
            f"The size of a pixel, {size:.5g} 1/angstrom, was taken from rings beside the spots, as those of "
            f"{USUAL.name}; of {OTHER.name} it would be {larger:.1f} % larger. Give pixel_size if the film is another.",
        )
    off = min(abs(stated * each.a_angstrom * fcc_unit_px - 1) for each in (USUAL, OTHER))
    if off <= _AGREES:
        return ()
    return (
        f"The rings beside the spots are those of {USUAL.name} if a pixel is {size:.5g} 1/angstrom; "
        f"{stated:.5g} was stated and used. Is pixel_size right?",
    )
