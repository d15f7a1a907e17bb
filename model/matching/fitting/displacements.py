"""How the intensities of a layer change when its atoms are displaced from their library positions.

Computed structures are relaxed differently from the sample, and the atoms of a flake are displaced by strain and
defects. A displacement u of atom j changes the wave into a reflection q by -2 pi i q . u times what the atom scatters
into it. With the rest of the wave from the multislice and this change from the atom alone, ln I is accurate to a third
of its change for displacements of some hundredths of an angstrom.

Thermal motion removes intensity from the reflections and scatters it between them: for atoms that move independently
(Einstein model), sum_j |f_j|^2 (1 - exp(-2 W_j)) at every q. The part of it within a spot fills in faint reflections.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.crystal.operations import compute_symmetry_projector
from model.electrons import electron_wavelength_angstrom
from model.matching.priors import DISPLACEMENT_SIGMA_ANGSTROM, INTENSITY_FLOOR
from model.physics.eikonal import eikonal_form_factor
from model.physics.multislice import compute_potential_limit
from model.physics.reciprocal import reciprocal_lattice
from model.physics.static_multislice import phase_factor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]
ComplexArray = NDArray[np.complex64]

MAX_DIRECTIONS = 24
"""Number of combinations of displacements that are fitted, at most."""
DIFFUSE_B = 0.28
"""B of the thermal motion (0.06 angstrom rms) whose diffuse scattering is the unit of the diffuse share, angstrom^2."""


@dataclass(frozen=True)
class DisplacementResponse:
    """How M reflections of a layer respond to displacements and thermal motion of its atoms.

    Attributes:
        amplitudes: (M, K) change of the amplitudes by a displacement of one `DISPLACEMENT_SIGMA_ANGSTROM` along each
            of K directions, which combine the displacements of several atoms.
        keeps_symmetry: (K,) directions that keep the layer's symmetry.
        diffuse: (M,) diffuse intensity at the reflections, from independent thermal motion of the atoms.
    """

    amplitudes: ComplexArray
    keeps_symmetry: BoolArray
    diffuse: FloatArray

    @classmethod
    def zero(cls, reflections: int) -> Self:
        """Return the response of atoms that are fixed."""
        return cls(
            np.zeros((reflections, 0), dtype=np.complex64), np.zeros(0, dtype=bool), np.zeros(reflections)
        )


@dataclass(frozen=True)
class Scatterers:
    """The scattering of each of A atoms alone into each of M reflections.

    Attributes:
        q: (M, 2) of the reflections in the crystal's frame, 1/angstrom.
        amplitude: (M, A) with the phases of the atoms' positions in the plane.
        height: (A,) along the beam above the middle of the layer, face up, angstrom.
        curvature: (M,) pi lambda q^2: phase per angstrom of height.
        symmetric: (2 A, 2 A) projector on the displacements that keep the layer's symmetry.
    """

    q: FloatArray
    amplitude: ComplexArray
    height: FloatArray
    curvature: FloatArray
    symmetric: FloatArray

    @classmethod
    def from_crystal(cls, crystal: Crystal, voltage_kv: float, hk: IntArray) -> Self:
        """Return the scatterers of a crystal for reflections with indices (M, 2)."""
        q = hk @ reciprocal_lattice(crystal.lattice)
        length = np.linalg.norm(q, axis=1)
        z = crystal.positions[:, 2]
        phase = -2 * np.pi * (q @ crystal.positions[:, :2].T)
        limit = compute_potential_limit(float(length.max(initial=0.0)))
        form_factor = eikonal_form_factor(crystal.numbers, length, voltage_kv, limit)
        return cls(
            q=q,
            amplitude=(form_factor * phase_factor(phase.astype(np.float32))).astype(np.complex64),
            height=z - (z.min() + z.max()) / 2,
            curvature=np.pi * electron_wavelength_angstrom(voltage_kv) * length**2,
            symmetric=compute_symmetry_projector(crystal),
        )

    def compute_phases(self, tilt: FloatArray, face: int) -> NDArray[np.float32]:
        """Return the phases (M, A) of the waves at the exit of the layer, from the heights of the atoms.

        Args:
            tilt: (2,) tangents in the crystal's frame.
            face: 1 where the layer is reflected in its plane.
        """
        # A wave scattered at some height propagates through the rest of the layer; the curvature's phase is that at
        # the exit.
        excitation, thickness = 2 * np.pi * (self.q @ tilt) + self.curvature, np.ptp(self.height)
        phase = np.outer(excitation, -self.height if face else self.height)
        phase -= (self.curvature * thickness / 2)[:, None]
        return phase.astype(np.float32)

    def compute_waves(self, factors: ComplexArray, amplitude: ComplexArray) -> ComplexArray:
        """Return the contribution of each atom to the amplitudes, (M, A).

        Args:
            factors: (M, A) exp(i phase) of `compute_phases`.
            amplitude: (M,) of the reflections by multislice, with phases as at half the height.
        """
        waves = self.amplitude * factors
        # Refraction turns all waves alike; scattering into other reflections weakens them.
        total = waves.sum(axis=1)
        waves *= np.vdot(total, amplitude) / max(float(np.vdot(total, total).real), 1e-30)
        return waves

    def compute_responses(self, waves: ComplexArray) -> ComplexArray:
        """Return what rms displacements along x and y add to amplitudes, (M, 2 A), given the atoms' shares (M, A)."""
        along = (-2j * np.pi * DISPLACEMENT_SIGMA_ANGSTROM * self.q).astype(np.complex64)
        return np.asarray((waves[:, :, None] * along[:, None, :]).reshape(len(self.q), -1))

    def find_response(
        self, waves: ComplexArray, amplitude: ComplexArray, measured: IntArray
    ) -> DisplacementResponse:
        """Find the response to the displacements that change the measured reflections most.

        Args:
            waves: (M, A) what each atom adds to the amplitudes.
            amplitude: (M,) of the reflections.
            measured: rows of the reflections that were measured.
        """
        responses = self.compute_responses(waves)
        amplitudes, keeps_symmetry = select_directions(responses, self.symmetric, amplitude, measured)
        thermal = np.expm1(DIFFUSE_B / 2 * np.einsum("md,md->m", self.q, self.q))
        return DisplacementResponse(amplitudes, keeps_symmetry, thermal * (np.abs(waves) ** 2).sum(axis=1))


def find_responses(
    scatterers: Sequence[Scatterers],
    faces: Sequence[int],
    tilt: FloatArray,
    amplitudes: Sequence[ComplexArray],
    measured: Sequence[IntArray],
) -> list[DisplacementResponse]:
    """Find the responses of J candidates, each under a tilt.

    Args:
        scatterers: (J,) the atoms of each.
        faces: (J,) 1 where the layer is reflected in its plane.
        tilt: (J, 2) tangents in the frame of each.
        amplitudes: (J,) amplitudes (M,) of the reflections by multislice, with phases as at half the height.
        measured: (J,) rows of the reflections that were measured.
    """
    phases = [atoms.compute_phases(*view) for atoms, *view in zip(scatterers, tilt, faces, strict=True)]
    factors = [phase_factor(phase) for phase in phases]
    return [
        atoms.find_response(atoms.compute_waves(factor, amplitude), amplitude, rows)
        for atoms, factor, amplitude, rows in zip(scatterers, factors, amplitudes, measured, strict=True)
    ]


def select_directions(
    responses: ComplexArray, symmetric: FloatArray, amplitude: ComplexArray, measured: IntArray
) -> tuple[ComplexArray, BoolArray]:
    """Select the combinations of displacements, `MAX_DIRECTIONS` at most, that change the measured reflections most.

    Args:
        responses: (M, 2 A) change of all amplitudes by a displacement of each atom along x and y.
        symmetric: (2 A, 2 A) projector on the displacements that preserve the symmetry.
        amplitude: (M,) of the reflections.
        measured: rows of the reflections that were measured.

    Returns:
        (M, K) changes along the selected combinations, those that preserve the symmetry first; and (K,) which do.
    """
    share, basis = np.linalg.eigh(symmetric)
    keeps = share > 0.5
    order = np.concatenate([np.flatnonzero(keeps), np.flatnonzero(~keeps)])
    basis, keeps = basis[:, order].astype(np.float32), keeps[order]
    if len(keeps) > MAX_DIRECTIONS:
        seen, strength = amplitude[measured], np.zeros(len(keeps))
        steep = 2 * (seen.conj()[:, None] * (responses[measured] @ basis)).real
        slopes = steep / (np.abs(seen) ** 2 + INTENSITY_FLOOR)[:, None]  # of ln I
        for kind in (keeps, ~keeps):
            strength[kind], directions = np.linalg.eigh(slopes[:, kind].T @ slopes[:, kind])
            basis[:, kind] = basis[:, kind] @ directions
        kept = np.sort(np.argsort(-strength, kind="stable")[:MAX_DIRECTIONS])
        basis, keeps = basis[:, kept], keeps[kept]
    return np.asarray(responses @ basis), keeps
