"""Multislice compared with abTEM, an independent code with other scattering factors (Lobato) and a real-space grid."""

import warnings
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.static_multislice import StaticMultislice
from tests.physics.layers import BLACK_PHOSPHORUS, GRAPHENE, JANUS, MOS2

Array = NDArray[np.float64]
Q_MAX = 1.2
SAMPLING_ANGSTROM = 0.05


def by_abtem(crystal: Crystal, tilt: Array, hk: NDArray[np.int64]) -> Array:
    """Return (M,) intensities of a static layer in a rectangular cell, as fractions of the incident beam."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import abtem
        from ase import Atoms

        abtem.config.set({"local_diagnostics.progress_bar": False})
        repeats, cell = _rectangular(crystal)
        height = crystal.thickness + 8.0
        shifts = [i * crystal.lattice[0] + j * crystal.lattice[1] for i, j in repeats]
        positions = np.concatenate([crystal.positions + np.append(shift, 0.0) for shift in shifts])
        positions[:, 2] += 4.0 - positions[:, 2].min()
        atoms: Any = Atoms(
            np.tile(crystal.numbers, len(shifts)), positions, cell=[*cell, height], pbc=(True, True, False)
        )
        atoms.wrap()
        potential = abtem.Potential(
            atoms, sampling=SAMPLING_ANGSTROM, slice_thickness=0.25, projection="infinite"
        )
        plane: Any = abtem.PlaneWave(energy=80e3, tilt=tuple((1e3 * tilt).tolist()))
        exit_wave: Any = plane.multislice(potential).compute()
    array = np.fft.fft2(exit_wave.array) / exit_wave.array.size
    q = hk @ reciprocal_lattice(crystal.lattice)
    rows = np.rint(q * cell).astype(np.int64)
    assert np.abs(q * cell - rows).max() < 1e-6
    return np.asarray(np.abs(array[rows[:, 0], rows[:, 1]]) ** 2)


def _rectangular(crystal: Crystal) -> tuple[list[tuple[int, int]], Array]:
    """Translations that fill a rectangular cell, and its sides."""
    a, b = crystal.lattice
    if abs(a @ b) < 1e-6:
        return [(0, 0)], np.array([a[0], b[1]])
    return [(0, 0), (0, 1)], np.array([a[0], 2 * b[1]])


@pytest.mark.parametrize("crystal", [GRAPHENE, MOS2, JANUS, BLACK_PHOSPHORUS], ids=lambda each: str(each.id))
@pytest.mark.parametrize("tilt_deg", [(0.0, 0.0), (2.5, -1.0)], ids=["straight", "tilted"])
def test_agrees_with_abtem(crystal: Crystal, tilt_deg: tuple[float, float]) -> None:
    tilt = np.tan(np.radians(tilt_deg))
    hk = list_reflections(crystal.lattice, Q_MAX)
    own = StaticMultislice.from_crystal(crystal, 80.0, Q_MAX).compute_intensities(hk, tilt[None])[0]
    other = by_abtem(crystal, tilt, hk)
    strong = other > 1e-3 * other.max()
    assert strong.sum() >= 12
    difference = np.log(own[strong] / other[strong])
    assert difference.std() < 0.1
    assert abs(difference.mean()) < 0.1
