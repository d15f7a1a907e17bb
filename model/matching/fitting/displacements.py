"""How the intensities of a layer change where its atoms lie a little aside of where the library has them.

Computed structures are relaxed in another way than the sample is, and atoms of one flake are frozen in where strain
and defects put them. A shift u of atom j changes the wave into a beam q by -2 pi i q . u of what the atom scatters into
it. With the rest of the wave from the multislice and this change from the atom alone, ln I is good to a third of its
change for shifts of some hundredths of an angstrom.

Thermal motion takes intensity from the beams and scatters it between them: of atoms that move each by itself (Einstein)
the sum over the atoms of |f|^2 (1 - exp(-2 W)) at every q. What of it lies within a spot fills in faint beams.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import symmetric_shifts
from model.electrons import electron_wavelength_angstrom
from model.matching.fitting.intensity_noise import compute_log_slopes
from model.physics.eikonal import eikonal_form_factor
from model.physics.multislice import potential_limit
from model.physics.reciprocal import reciprocal_lattice
from model.physics.sheets import phase_factor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

DISPLACEMENT_SIGMA_ANGSTROM = 0.02
"""rms of an atom's shift along each axis of the plane."""
MAX_DIRECTIONS = 24
DIFFUSE_B = 0.28
"""B of the thermal motion whose diffuse scattering is the unit of `Unrest.diffuse`, angstrom^2 (0.06 angstrom rms)."""


@dataclass(frozen=True)
class Unrest:
    """What M beams of a layer do when its atoms do not lie still where the library has them.

    Attributes:
        shifts: (M, K) change of the amplitudes by a shift of one rms along each of K directions.
        free: (K,) directions that keep the layer's symmetry.
        diffuse: (M,) intensity that the atoms scatter without order by their thermal motion, each by itself.
    """

    shifts: ComplexArray
    free: BoolArray
    diffuse: FloatArray

    @classmethod
    def none(cls, beams: int) -> Self:
        """Of atoms that do lie still."""
        return cls(np.zeros((beams, 0), dtype=np.complex64), np.zeros(0, dtype=bool), np.zeros(beams))


@dataclass(frozen=True)
class Scatterers:
    """What each of A atoms scatters by itself into each of M beams.

    Attributes:
        q: (M, 2) of the beams in the crystal's frame, 1/angstrom.
        amplitude: (M, A) with the phases of the atoms' places in the plane.
        height: (A,) along the beam above the middle of the layer, face up, angstrom.
        curvature: (M,) pi lambda q^2: phase per angstrom of height.
        symmetric: (2 A, 2 A) projector on the shifts that keep the layer's symmetry (`symmetric_shifts`).
    """

    q: FloatArray
    amplitude: ComplexArray
    height: FloatArray
    curvature: FloatArray
    symmetric: FloatArray

    @classmethod
    def of(cls, crystal: Crystal, voltage_kv: float, hk: IntArray) -> Self:
        """Those of a layer for beams with indices (M, 2)."""
        q = hk @ reciprocal_lattice(crystal.lattice)
        length = np.linalg.norm(q, axis=1)
        z = crystal.positions[:, 2]
        phase = -2 * np.pi * (q @ crystal.positions[:, :2].T)
        limit = potential_limit(float(length.max(initial=0.0)))
        own = eikonal_form_factor(crystal.numbers, length, voltage_kv, limit)
        return cls(
            q=q,
            amplitude=(own * phase_factor(phase.astype(np.float32))).astype(np.complex64),
            height=z - (z.min() + z.max()) / 2,
            curvature=np.pi * electron_wavelength_angstrom(voltage_kv) * length**2,
            symmetric=symmetric_shifts(crystal),
        )

    def waves(self, tilt: FloatArray, face: int, amplitude: ComplexArray) -> ComplexArray:
        """(M, A) what each atom adds to the amplitudes.

        Args:
            tilt: (2,) tangents in the crystal's frame.
            face: 1 where the layer is reflected in its plane.
            amplitude: (M,) of the beams by multislice, with phases as at half the height (`Sheets.amplitudes`).
        """
        # What is scattered at a height has the rest of the way to go; the curvature's phase is that at the exit.
        excitation, thickness = 2 * np.pi * (self.q @ tilt) + self.curvature, np.ptp(self.height)
        phase = np.outer(excitation, -self.height if face else self.height)
        phase -= (self.curvature * thickness / 2)[:, None]
        own = self.amplitude * phase_factor(phase.astype(np.float32))
        # Refraction turns all waves alike, absorption into other beams makes them weaker.
        whole = own.sum(axis=1)
        own *= np.vdot(whole, amplitude) / max(float(np.vdot(whole, whole).real), 1e-30)
        return own

    def responses(self, waves: ComplexArray) -> ComplexArray:
        """(M, 2 A) change of the amplitudes by shifts of one rms along x and y of each atom, given its waves (M, A)."""
        along = (-2j * np.pi * DISPLACEMENT_SIGMA_ANGSTROM * self.q).astype(np.complex64)
        return np.asarray((waves[:, :, None] * along[:, None, :]).reshape(len(self.q), -1))

    def unrest(self, tilt: FloatArray, face: int, amplitude: ComplexArray, seen: IntArray) -> Unrest:
        """By the shifts, MAX_DIRECTIONS at most, that change most what is seen, those that keep the symmetry first.

        Args:
            tilt: (2,) tangents in the crystal's frame.
            face: 1 where the layer is reflected in its plane.
            amplitude: (M,) of the beams by multislice (`waves`).
            seen: rows of the beams that were measured.
        """
        waves = self.waves(tilt, face, amplitude)
        shifts, free = main_directions(self.responses(waves), self.symmetric, amplitude, seen)
        thermal = np.expm1(DIFFUSE_B / 2 * np.einsum("md,md->m", self.q, self.q))
        return Unrest(shifts, free, thermal * (np.abs(waves) ** 2).sum(axis=1))


def main_directions(
    shifts: ComplexArray, symmetric: FloatArray, amplitude: ComplexArray, seen: IntArray
) -> tuple[ComplexArray, BoolArray]:
    """(M, K) changes along the K combinations of shifts that change most what is seen, and (K,) which are symmetric.

    Args:
        shifts: (M, 2 A) change of all beams by a shift of each atom.
        symmetric: (2 A, 2 A) projector on those that keep the symmetry.
        amplitude: (M,) of the beams.
        seen: rows of the beams that were measured.
    """
    share, basis = np.linalg.eigh(symmetric)
    free = share > 0.5
    order = np.concatenate([np.flatnonzero(free), np.flatnonzero(~free)])
    basis, free = basis[:, order].astype(np.float32), free[order]
    if len(free) > MAX_DIRECTIONS:
        own, strength = amplitude[seen], np.zeros(len(free))
        slopes = compute_log_slopes(own, shifts[seen] @ basis, np.abs(own) ** 2)
        for kind in (free, ~free):
            strength[kind], directions = np.linalg.eigh(slopes[:, kind].T @ slopes[:, kind])
            basis[:, kind] = basis[:, kind] @ directions
        kept = np.sort(np.argsort(-strength, kind="stable")[:MAX_DIRECTIONS])
        basis, free = basis[:, kept], free[kept]
    return np.asarray(shifts @ basis), free
