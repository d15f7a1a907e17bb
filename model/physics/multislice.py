"""Dynamical diffraction of a layer: multislice of one unit cell with one slice for each atomic plane.

A layer is a few atoms thick, so a few transmissions and propagations on the grid of its unit cell suffice (Cowley &
Moodie, Acta Cryst. 10, 609, 1957). Many conditions of one crystal run as one batch.
"""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom, interaction_constant
from model.errors import OptionError
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.scattering import electron_form_factor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex64]

SLICE_ANGSTROM = 0.6
# Waves are kept up to this multiple of the requested |q|, because they scatter back.
WAVE_MARGIN = 1.5
# The core of an atom shifts the phase of a wave by up to a radian, so its sharpness affects even the innermost
# reflections.
POTENTIAL_LIMIT_INV_ANGSTROM = 3.0


@dataclass(frozen=True)
class Conditions:
    """S conditions under which one crystal diffracts.

    Attributes:
        voltage_kv: (S,) accelerating voltages.
        tilt: (S, 2) tangents of the tilt along x and y in the crystal's frame.
        displacements: (S, N, 3) displacements of the atoms, angstrom; zeros for a static lattice.
        b_iso: (S,) isotropic Debye-Waller B, angstrom^2.
    """

    voltage_kv: FloatArray
    tilt: FloatArray
    displacements: FloatArray
    b_iso: FloatArray

    def __post_init__(self) -> None:
        count = len(self.voltage_kv)
        shapes = self.tilt.shape == (count, 2) and self.b_iso.shape == (count,)
        if not shapes or self.displacements.ndim != 3 or len(self.displacements) != count:
            raise OptionError(
                "Conditions need (S,) voltages and B, (S, 2) tilts and (S, N, 3) displacements."
            )


@dataclass(frozen=True)
class WaveGrid:
    """Plane waves of a unit cell on an FFT grid.

    Attributes:
        h: (H,) first Miller index of each row.
        k: (K,) second Miller index of each column.
        q: (H, K, 2) wave vectors, 1/angstrom.
        squared: (H, K) |q|^2.
        inside: (H, K) whether a wave is kept.
        resolved: (H, K) whether the potential contains the wave.
        area: area of the cell, square angstrom.
    """

    h: IntArray
    k: IntArray
    q: FloatArray
    squared: FloatArray
    inside: NDArray[np.bool_]
    resolved: NDArray[np.bool_]
    area: float

    @classmethod
    def from_lattice(cls, lattice: FloatArray, q_max: float) -> "WaveGrid":
        """Return the grid for reflections up to a |q|, with a margin for waves that scatter into them."""
        limit = WAVE_MARGIN * q_max
        sharpest = compute_potential_limit(q_max)
        # A wave scattered by the potential must not alias into another wave that is kept.
        sizes = [
            scipy.fft.next_fast_len(int((sharpest + 2 * limit) * length) + 1)
            for length in np.linalg.norm(lattice, axis=1)
        ]
        h, k = (_list_frequencies(size) for size in sizes)
        a_star, b_star = reciprocal_lattice(lattice)
        q = h[:, None, None] * a_star + k[:, None] * b_star
        q2 = np.einsum("hkd,hkd->hk", q, q)
        area = abs(float(np.linalg.det(lattice)))
        return cls(h, k, q, q2, q2 <= limit**2, q2 <= sharpest**2, area)


@cache
def _list_frequencies(size: int) -> IntArray:
    """Return the (size,) indices of the plane waves along one axis of a grid, read-only."""
    indices: IntArray = np.rint(np.fft.fftfreq(size) * size).astype(np.int64)
    indices.setflags(write=False)
    return indices


def compute_potential_limit(q_max: float) -> float:
    """Return the |q| up to which potentials are resolved for reflections up to q_max, 1/angstrom."""
    return max(POTENTIAL_LIMIT_INV_ANGSTROM, WAVE_MARGIN * q_max)


def compute_dynamical_intensities(
    crystal: Crystal, conditions: Conditions, q_max_inv_angstrom: float = 1.6
) -> tuple[IntArray, FloatArray, FloatArray]:
    """Compute the intensities of the reflections of a layer under S conditions.

    Between slices the wave gains the factor exp(-2 pi i dz (lambda q^2 / 2 + q . tau)), with the excitation error of
    the kinematic model, so that both agree for weak scatterers.

    Args:
        crystal: the layer.
        conditions: the S conditions.
        q_max_inv_angstrom: largest |q| of the reflections.

    Returns:
        hk (M, 2), q (M, 2) in 1/angstrom, and intensities (S, M) as fractions of the incident beam, in the
        order of `list_reflections`.
    """
    grid = WaveGrid.from_lattice(crystal.lattice, q_max_inv_angstrom)
    slices, heights = slice_layer(crystal.positions[:, 2])
    wave = np.ones((len(conditions.voltage_kv), len(grid.h), len(grid.k)), dtype=np.complex64)
    for index, atoms in enumerate(slices):
        wave *= _transmit(crystal, conditions, grid, atoms, heights[index])
        spectrum = scipy.fft.fft2(wave) * grid.inside
        if index + 1 < len(slices):
            spectrum *= _propagate(conditions, grid, heights[index + 1] - heights[index])
            wave = scipy.fft.ifft2(spectrum)
    hk = list_reflections(crystal.lattice, q_max_inv_angstrom)
    amplitude = spectrum[:, hk[:, 0], hk[:, 1]] / wave[0].size
    q = hk @ reciprocal_lattice(crystal.lattice)
    intensity: FloatArray = np.abs(amplitude).astype(np.float64) ** 2
    return hk, q, intensity


def slice_layer(heights: FloatArray) -> tuple[list[IntArray], FloatArray]:
    """Return the atoms of each slice, in the order along the beam, and the mean heights of the slices."""
    order = np.argsort(heights)
    ascending = heights[order].tolist()
    starts = [0]
    for place, height in enumerate(ascending):
        if height - ascending[starts[-1]] > SLICE_ANGSTROM:
            starts.append(place)
    bounds = list(pairwise([*starts, len(order)]))
    means = [sum(ascending[first:last]) / (last - first) for first, last in bounds]
    return [order[first:last] for first, last in bounds], np.array(means)


def _transmit(
    crystal: Crystal, conditions: Conditions, grid: WaveGrid, atoms: IntArray, height: float
) -> ComplexArray:
    """Return exp(i sigma V_z) of one slice, (S, H, K), averaged over independent thermal motion of the atoms.

    The transmission is blurred, not the potential: the core of an atom stays sharp as the atom moves.
    """
    shifted = crystal.positions[atoms] + conditions.displacements[:, atoms]
    # Along a tilted beam, an atom above the middle of its slice is projected sideways by -tau dz.
    aside = conditions.tilt[:, None, :] * (shifted[..., 2:] - height)
    fractional = (shifted[..., :2] - aside) @ np.linalg.inv(crystal.lattice)
    along_a = np.exp(-2j * np.pi * fractional[:, None, :, 0] * grid.h[:, None]).astype(np.complex64)
    along_b = np.exp(-2j * np.pi * fractional[:, None, :, 1] * grid.k[:, None]).astype(np.complex64)
    length = np.sqrt(grid.squared)
    potential = np.zeros((len(along_a), len(grid.h), len(grid.k)), dtype=np.complex64)
    numbers = crystal.numbers[atoms]
    for number in np.unique(numbers):
        of_kind = numbers == number
        factor = (
            electron_form_factor(np.array([number]), length.ravel()).reshape(length.shape) * grid.resolved
        )
        summed = along_a[..., of_kind] @ along_b[..., of_kind].transpose(0, 2, 1)
        potential += factor.astype(np.float32) * summed
    sigma = np.array([interaction_constant(kv) for kv in conditions.voltage_kv], dtype=np.float32) / grid.area
    projected = scipy.fft.ifft2(potential).real * potential[0].size
    transmission: ComplexArray = np.exp(1j * sigma[:, None, None] * projected).astype(np.complex64)
    if not conditions.b_iso.any():
        return transmission
    damping = np.exp(-conditions.b_iso[:, None, None] * length**2 / 4).astype(np.float32)
    return np.asarray(scipy.fft.ifft2(scipy.fft.fft2(transmission) * damping))


def _propagate(conditions: Conditions, grid: WaveGrid, distance: float) -> ComplexArray:
    """Return the (S, H, K) Fresnel propagator over a distance (angstrom) for a tilted beam."""
    wavelength = np.array([electron_wavelength_angstrom(kv) for kv in conditions.voltage_kv])
    along_tilt = np.einsum("hkd,sd->shk", grid.q, conditions.tilt)
    excitation = wavelength[:, None, None] * grid.squared / 2 + along_tilt
    propagator: ComplexArray = np.exp(-2j * np.pi * distance * excitation).astype(np.complex64)
    return propagator
