"""Multislice of one static layer under many tilts; everything independent of the tilt is computed once.

Between slices the wave is represented by the amplitudes of the B plane waves inside the band limit, so propagation is a
product. A slice mixes the plane waves: by a matrix if they are few, by two Fourier transforms if they are many.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Protocol, Self

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom, interaction_constant
from model.physics.multislice import WaveGrid, slice_layer
from model.physics.scattering import electron_form_factors_by_element

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
ComplexArray = NDArray[np.complex64]

# With more plane waves than this, two Fourier transforms are faster than a matrix.
MAX_MATRIX_WAVES = 240


class Slice(Protocol):
    """One slice of the layer."""

    def transmit_incident(self) -> ComplexArray:
        """Return the (1, B) amplitudes behind the slice for an incident plane wave of amplitude 1."""
        ...

    def transmit(self, amplitudes: ComplexArray) -> ComplexArray:
        """Return the (S, B) amplitudes behind the slice for (S, B) amplitudes in front of it."""
        ...

    def transmit_to(self, amplitudes: ComplexArray, waves: IntArray) -> ComplexArray:
        """Return the (S, M) amplitudes of selected plane waves behind the slice."""
        ...


@dataclass(frozen=True)
class _MatrixSlice:
    """A slice as a matrix of scattering amplitudes, which depend on the difference of the Miller indices.

    Attributes:
        circle: amplitudes by flattened difference of indices. Both indices are periodic: rows because negative
            positions count from the end, columns because each row is stored twice.
        place: (B,) position of each plane wave in `circle` minus `middle`; 0 for the incident wave.
        middle: position of the zero difference.
    """

    circle: ComplexArray
    place: IntArray
    middle: int

    def transmit_incident(self) -> ComplexArray:
        return self.circle.take(self.place + self.middle)[None]

    def transmit(self, amplitudes: ComplexArray) -> ComplexArray:
        return np.asarray(amplitudes @ self._scattering)

    def transmit_to(self, amplitudes: ComplexArray, waves: IntArray) -> ComplexArray:
        return np.asarray(amplitudes @ self._scatter_into(self.place[waves]))

    @cached_property
    def _scattering(self) -> ComplexArray:
        return self._scatter_into(self.place)

    def _scatter_into(self, place: IntArray) -> ComplexArray:
        return self.circle.take(place - self.place[:, None] + self.middle)


@dataclass(frozen=True)
class _FourierSlice:
    """A slice as a transmission function.

    Attributes:
        transmission: (H, K) on the grid.
        waves: (B,) position of each plane wave in the flattened spectrum.
        scattered: (B,) amplitude scattered from the incident wave into each.
    """

    transmission: ComplexArray
    waves: IntArray
    scattered: ComplexArray

    def transmit_incident(self) -> ComplexArray:
        return self.scattered[None]

    def transmit(self, amplitudes: ComplexArray) -> ComplexArray:
        spectrum = np.zeros((len(amplitudes), self.transmission.size), dtype=np.complex64)
        spectrum[:, self.waves] = amplitudes
        wave = scipy.fft.ifft2(spectrum.reshape(-1, *self.transmission.shape), overwrite_x=True)
        wave *= self.transmission
        transmitted = scipy.fft.fft2(wave, overwrite_x=True).reshape(len(amplitudes), -1)
        return np.asarray(transmitted[:, self.waves])

    def transmit_to(self, amplitudes: ComplexArray, waves: IntArray) -> ComplexArray:
        return self.transmit(amplitudes)[:, waves]


@dataclass(frozen=True)
class StaticMultislice:
    """Multislice of a layer without displacements, at one voltage and under many tilts.

    It equals `compute_dynamical_intensities` except that atoms off the middle of their slice are not projected
    sideways under a tilt, by at most 0.02 angstrom at 4 degrees.
    """

    _q: FloatArray
    _undamped: NDArray[np.float32]
    _place: IntArray
    _curvature: NDArray[np.float32]
    _distances: NDArray[np.float32]
    _slices: tuple[Slice, ...]

    @classmethod
    def from_crystal(
        cls, crystal: Crystal, voltage_kv: float, q_max_inv_angstrom: float = 1.6, b_iso: float = 0.0
    ) -> Self:
        """Prepare the multislice of a layer.

        Args:
            crystal: the layer.
            voltage_kv: accelerating voltage.
            q_max_inv_angstrom: largest |q| of the requested reflections.
            b_iso: Debye-Waller B of the atoms, angstrom^2. It blurs the slices; the attenuation of the reflections by
                exp(-B q^2 / 4) is left out.
        """
        grid = WaveGrid.from_lattice(crystal.lattice, q_max_inv_angstrom)
        slices, heights = slice_layer(crystal.positions[:, 2])
        rows, columns = np.nonzero(grid.inside)
        place = np.zeros(grid.inside.shape, dtype=np.int64)
        place[rows, columns] = np.arange(len(rows))
        q = grid.q[rows, columns]
        transmissions = _compute_transmissions(crystal, voltage_kv, grid, slices)
        q2 = grid.squared[rows, columns]
        damping = np.exp(-b_iso * grid.squared / 4).astype(np.float32)
        return cls(
            _q=q,
            _undamped=(1 / damping[rows, columns]).astype(np.float32),
            _place=place,
            _curvature=(np.pi * electron_wavelength_angstrom(voltage_kv) * q2).astype(np.float32),
            _distances=np.diff(heights).astype(np.float32),
            _slices=_build_slices(transmissions, damping, rows, columns),
        )

    @property
    def thickness_angstrom(self) -> float:
        """Distance from the first slice to the last."""
        return float(self._distances.sum())

    def reflect(self) -> Self:
        """Return the layer reflected in its plane, z to -z: the mirror image of the layer turned over."""
        return replace(self, _distances=self._distances[::-1], _slices=self._slices[::-1])

    def compute_amplitudes(self, hk: IntArray, tilt: FloatArray) -> ComplexArray:
        """Compute the (S, ...) amplitudes of reflections under S tilts, for an incident amplitude of 1.

        Their phases refer to half the height of the layer, where they vary least with the tilt.

        Args:
            hk: (..., 2) Miller indices.
            tilt: (S, 2) tangents along x and y of the crystal's frame.
        """
        excitation = (2 * np.pi * (tilt @ self._q.T)).astype(np.float32)
        propagators = phase_factor(-self._distances[:, None, None] * (excitation + self._curvature))
        places = self._place[hk[..., 0], hk[..., 1]]
        requested = np.zeros(len(self._q), dtype=bool)
        requested[places] = True
        waves, columns = np.flatnonzero(requested), np.cumsum(requested)[places] - 1
        first, *others = self._slices
        wave = first.transmit_incident()
        for propagator, each in zip(propagators[:-1], others[:-1], strict=True):
            wave = each.transmit(wave * propagator)
        wave = others[-1].transmit_to(wave * propagators[-1], waves) if others else wave[:, waves]
        half_way = phase_factor(self.thickness_angstrom / 2 * excitation[:, waves])
        wave = wave * (self._undamped[waves] * half_way)
        return wave.take(columns, axis=1)

    def compute_intensities(self, hk: IntArray, tilt: FloatArray) -> FloatArray:
        """Compute (S, M) intensities as fractions of the incident beam; see `compute_amplitudes`."""
        intensity: FloatArray = np.abs(self.compute_amplitudes(hk, tilt)).astype(np.float64) ** 2
        return intensity


def phase_factor(phase: NDArray[np.float32]) -> ComplexArray:
    """Return exp(i phase); sine and cosine are much faster than a complex exponential."""
    factor = np.empty(phase.shape, dtype=np.complex64)
    np.cos(phase, out=factor.real)
    np.sin(phase, out=factor.imag)
    return factor


def _compute_transmissions(
    crystal: Crystal, voltage_kv: float, grid: WaveGrid, slices: list[IntArray]
) -> ComplexArray:
    """Return exp(i sigma V_z) of every slice without a tilt, (L, H, K)."""
    fractional = crystal.positions[:, :2] @ np.linalg.inv(crystal.lattice)
    # A potential is real, so half of its plane waves determine the others.
    half = grid.resolved[:, : len(grid.k) // 2 + 1]
    rows, columns = np.nonzero(half)
    length = np.sqrt(grid.squared[rows, columns])
    kinds, kind_of = np.unique(crystal.numbers, return_inverse=True)
    factors = electron_form_factors_by_element(kinds, length).astype(np.float32)
    # (N, B): what each atom scatters into each plane wave.
    turns = fractional[:, :1] * grid.h[rows] + fractional[:, 1:] * grid.k[columns]
    scattered = phase_factor((-2 * np.pi * turns).astype(np.float32)) * factors[kind_of]
    member = np.zeros((len(slices), len(scattered)), dtype=np.complex64)
    for each, atoms in zip(member, slices, strict=True):
        each[atoms] = 1.0
    potential = np.zeros((len(slices), *half.shape), dtype=np.complex64)
    potential[:, rows, columns] = member @ scattered
    projected = scipy.fft.irfft2(potential, grid.inside.shape, norm="forward", overwrite_x=True)
    sigma = np.float32(interaction_constant(voltage_kv) / grid.area)
    return phase_factor(sigma * projected)


def _build_slices(
    transmissions: ComplexArray, damping: NDArray[np.float32], rows: IntArray, columns: IntArray
) -> tuple[Slice, ...]:
    """Build slices from transmissions (L, H, K) whose scattered amplitudes are damped by (H, K).

    The plane waves are those at the given rows and columns of the grid.
    """
    height, width = transmissions.shape[1:]
    scattered = scipy.fft.fft2(transmissions, norm="forward") * damping
    if len(rows) > MAX_MATRIX_WAVES:
        waves, blurred = rows * width + columns, scipy.fft.ifft2(scattered, norm="forward")
        return tuple(
            _FourierSlice(each, waves, own[rows, columns])
            for each, own in zip(blurred, scattered, strict=True)
        )
    twice = np.concatenate([scattered, scattered], axis=2).reshape(len(scattered), -1)
    place = np.where(rows > height // 2, rows - height, rows) * 2 * width
    place += np.where(columns > width // 2, columns - width, columns)
    return tuple(_MatrixSlice(each, place, width) for each in twice)
