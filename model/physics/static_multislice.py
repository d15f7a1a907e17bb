"""Multislice of one still layer under many tilts: what does not depend on the tilt is computed once.

Between its slices the wave is kept as the amplitudes of the B beams inside the band limit, so that propagation is a
product; a slice mixes the beams, which is a matrix for few of them and two Fourier transforms for many.
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

# With more beams than this two Fourier transforms are faster than a matrix.
MAX_MATRIX_WAVES = 240


class Slice(Protocol):
    """A slice that waves pass."""

    def entered(self) -> ComplexArray:
        """(1, B) amplitudes of the beams behind it, of an incident beam of 1 alone."""
        ...

    def passed(self, amplitudes: ComplexArray) -> ComplexArray:
        """(S, B) amplitudes of the beams behind it, of those before it."""
        ...

    def left(self, amplitudes: ComplexArray, beams: IntArray) -> ComplexArray:
        """(S, M) the same of some of the beams."""
        ...


@dataclass(frozen=True)
class _MatrixSlice:
    """A slice by what it scatters from one beam into another, which depends on the difference of their indices.

    Attributes:
        circle: by that difference, on the grid's circle: rows go round by themselves, as negative places count from
            the end, columns by coming twice.
        place: (B,) of the beams on it, less `middle`; the incident beam's is 0.
        middle: where no difference is.
    """

    circle: ComplexArray
    place: IntArray
    middle: int

    def entered(self) -> ComplexArray:
        return self.circle.take(self.place + self.middle)[None]

    def passed(self, amplitudes: ComplexArray) -> ComplexArray:
        return np.asarray(amplitudes @ self._scattering)

    def left(self, amplitudes: ComplexArray, beams: IntArray) -> ComplexArray:
        return np.asarray(amplitudes @ self._into(self.place[beams]))

    @cached_property
    def _scattering(self) -> ComplexArray:
        return self._into(self.place)

    def _into(self, place: IntArray) -> ComplexArray:
        return self.circle.take(place - self.place[:, None] + self.middle)


@dataclass(frozen=True)
class _FourierSlice:
    """A slice by its transmission function.

    Attributes:
        transmission: (H, K) on the grid.
        beams: (B,) where the beams are among the plane waves of that grid.
        scattered: (B,) what goes from the incident beam into each.
    """

    transmission: ComplexArray
    beams: IntArray
    scattered: ComplexArray

    def entered(self) -> ComplexArray:
        return self.scattered[None]

    def left(self, amplitudes: ComplexArray, beams: IntArray) -> ComplexArray:
        return self.passed(amplitudes)[:, beams]

    def passed(self, amplitudes: ComplexArray) -> ComplexArray:
        waves = np.zeros((len(amplitudes), self.transmission.size), dtype=np.complex64)
        waves[:, self.beams] = amplitudes
        shaped = scipy.fft.ifft2(waves.reshape(-1, *self.transmission.shape), overwrite_x=True)
        shaped *= self.transmission
        passed = scipy.fft.fft2(shaped, overwrite_x=True).reshape(len(amplitudes), -1)
        return np.asarray(passed[:, self.beams])


@dataclass(frozen=True)
class StaticMultislice:
    """A still layer ready to be seen at one voltage under many tilts.

    That leaves out that an atom above the middle of its slice is projected aside under a tilt, by 0.02 angstrom at
    4 degrees at most; otherwise it is what `compute_dynamical_intensities` computes.
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
        """The sheets of a layer.

        Args:
            crystal: the layer.
            voltage_kv: accelerating voltage.
            q_max_inv_angstrom: largest |q| of the beams that will be asked for.
            b_iso: Debye-Waller B of the atoms, angstrom^2, which blurs the slices. That it makes the beams fainter, by
                exp(-B q^2 / 4), is left out.
        """
        grid = WaveGrid.from_lattice(crystal.lattice, q_max_inv_angstrom)
        slices, heights = slice_layer(crystal.positions[:, 2])
        rows, columns = np.nonzero(grid.inside)
        place = np.zeros(grid.inside.shape, dtype=np.int64)
        place[rows, columns] = np.arange(len(rows))
        q = grid.q[rows, columns]
        transmissions = _transmissions(crystal, voltage_kv, grid, slices)
        q2 = grid.squared[rows, columns]
        damping = np.exp(-b_iso * grid.squared / 4).astype(np.float32)
        return cls(
            _q=q,
            _undamped=(1 / damping[rows, columns]).astype(np.float32),
            _place=place,
            _curvature=(np.pi * electron_wavelength_angstrom(voltage_kv) * q2).astype(np.float32),
            _distances=np.diff(heights).astype(np.float32),
            _slices=_slices(transmissions, damping, rows, columns),
        )

    @property
    def thickness_angstrom(self) -> float:
        """From the first slice to the last."""
        return float(self._distances.sum())

    def reversed(self) -> Self:
        """The layer reflected in its plane, z to -z: the other face towards the beam, seen in a mirror."""
        return replace(self, _distances=self._distances[::-1], _slices=self._slices[::-1])

    def amplitudes(self, hk: IntArray, tilt: FloatArray) -> ComplexArray:
        """(S, ...) amplitudes of beams under S tilts, of an incident beam of 1.

        Their phases are those at half the height of the layer, where they vary least with the tilt.

        Args:
            hk: (..., 2) indices of the beams.
            tilt: (S, 2) tangents along x and y of the crystal's frame.
        """
        excitation = (2 * np.pi * (tilt @ self._q.T)).astype(np.float32)
        propagators = phase_factor(-self._distances[:, None, None] * (excitation + self._curvature))
        places = self._place[hk[..., 0], hk[..., 1]]
        asked = np.zeros(len(self._q), dtype=bool)
        asked[places] = True
        beams, every = np.flatnonzero(asked), np.cumsum(asked)[places] - 1
        first, *others = self._slices
        wave = first.entered()
        for propagator, each in zip(propagators[:-1], others[:-1], strict=True):
            wave = each.passed(wave * propagator)
        wave = others[-1].left(wave * propagators[-1], beams) if others else wave[:, beams]
        half_way = phase_factor(self.thickness_angstrom / 2 * excitation[:, beams])
        wave = wave * (self._undamped[beams] * half_way)
        return wave.take(every, axis=1)

    def intensities(self, hk: IntArray, tilt: FloatArray) -> FloatArray:
        """(S, M) fractions of the incident beam; see `amplitudes`."""
        intensity: FloatArray = np.abs(self.amplitudes(hk, tilt)).astype(np.float64) ** 2
        return intensity


def phase_factor(phase: NDArray[np.float32]) -> ComplexArray:
    """exp(i phase), complex; sine and cosine are much faster than a complex exponential."""
    factor = np.empty(phase.shape, dtype=np.complex64)
    np.cos(phase, out=factor.real)
    np.sin(phase, out=factor.imag)
    return factor


def _transmissions(
    crystal: Crystal, voltage_kv: float, grid: WaveGrid, slices: list[IntArray]
) -> ComplexArray:
    """exp(i sigma V_z) of every slice seen straight on, (L, H, K)."""
    fractional = crystal.positions[:, :2] @ np.linalg.inv(crystal.lattice)
    # A potential is real: half of its plane waves tell the other half.
    half = grid.resolved[:, : len(grid.k) // 2 + 1]
    rows, columns = np.nonzero(half)
    length = np.sqrt(grid.squared[rows, columns])
    kinds, kind_of = np.unique(crystal.numbers, return_inverse=True)
    factors = electron_form_factors_by_element(kinds, length).astype(np.float32)
    # (N, B): what each atom scatters into each beam.
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


def _slices(
    transmissions: ComplexArray, damping: NDArray[np.float32], rows: IntArray, columns: IntArray
) -> tuple[Slice, ...]:
    """The slices with these transmissions (L, H, K), blurred by a damping (H, K) of what they scatter, for beams at
    these rows and columns of the grid."""
    height, width = transmissions.shape[1:]
    scattered = scipy.fft.fft2(transmissions, norm="forward") * damping
    if len(rows) > MAX_MATRIX_WAVES:
        beams, blurred = rows * width + columns, scipy.fft.ifft2(scattered, norm="forward")
        return tuple(
            _FourierSlice(each, beams, own[rows, columns])
            for each, own in zip(blurred, scattered, strict=True)
        )
    twice = np.concatenate([scattered, scattered], axis=2).reshape(len(scattered), -1)
    place = np.where(rows > height // 2, rows - height, rows) * 2 * width
    place += np.where(columns > width // 2, columns - width, columns)
    return tuple(_MatrixSlice(each, place, width) for each in twice)
