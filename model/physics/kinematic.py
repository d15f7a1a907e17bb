"""Kinematic diffraction of a layer: one scattering event, exact geometry of the tilted Ewald sphere."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import cos, radians, sin, tan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom
from model.errors import OptionError
from model.pattern.spots import Spots
from model.physics.eikonal import eikonal_form_factor
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.scattering import electron_form_factor, polarization_factor, xray_form_factor

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]
Radiation = Literal["electron", "xray"]
AtomModel = Literal["born", "eikonal"]

COPPER_K_ALPHA_ANGSTROM = 1.5406


@dataclass(frozen=True)
class Geometry:
    """How the beam meets the flake, and how the camera sees it.

    Attributes:
        radiation: electrons or X-rays.
        voltage_kv: accelerating voltage of the electrons.
        wavelength_angstrom: of the X-rays; electrons take theirs from the voltage.
        q_max_inv_angstrom: largest |q| that is computed.
        tilt_deg: angle between the beam and the layer's normal.
        tilt_azimuth_deg: direction of the tilt in the crystal's frame, from a towards b.
        rotation_deg: rotation of the pattern on the camera.
        mirrored: the camera sees the pattern mirrored. A flake face down is `Crystal.turn_over`; the two
            are the same with real factors only.
        strain: (2, 2) symmetric in-plane strain of the crystal, or None.
        atom_model: how an atom scatters electrons: once ("born", real factors), or as often as its own
            potential makes them ("eikonal", complex factors, nearer to multislice).

    Raises:
        OptionError: a value out of its range.
    """

    radiation: Radiation = "electron"
    voltage_kv: float = 80.0
    wavelength_angstrom: float = COPPER_K_ALPHA_ANGSTROM
    q_max_inv_angstrom: float = 1.6
    tilt_deg: float = 0.0
    tilt_azimuth_deg: float = 0.0
    rotation_deg: float = 0.0
    mirrored: bool = False
    strain: tuple[tuple[float, float], tuple[float, float]] | None = None
    atom_model: AtomModel = "born"

    def __post_init__(self) -> None:
        if not 0 < self.q_max_inv_angstrom <= 5:
            raise OptionError(f"q_max is {self.q_max_inv_angstrom}; it has to lie between 0 and 5 1/angstrom")
        if not 0 <= self.tilt_deg < 60:
            raise OptionError(f"tilt_deg is {self.tilt_deg}; a layer can be tilted by 0 to 60 degrees")
        if not self.wavelength > 0:
            raise OptionError(f"wavelength_angstrom is {self.wavelength_angstrom}; it has to be positive")
        if self.strain is not None and not np.array_equal(self.strain, np.transpose(self.strain)):
            raise OptionError(f"strain {self.strain} is not symmetric; give a turn as rotation_deg")

    @property
    def wavelength(self) -> float:
        """Wavelength of the radiation, angstrom."""
        if self.radiation == "electron":
            return electron_wavelength_angstrom(self.voltage_kv)
        return self.wavelength_angstrom

    @property
    def tilt_vector(self) -> FloatArray:
        """(2,) tangent of the tilt along its azimuth."""
        azimuth = radians(self.tilt_azimuth_deg)
        return tan(radians(self.tilt_deg)) * np.array([cos(azimuth), sin(azimuth)])


@dataclass(frozen=True)
class ThermalMotion:
    """Thermal smearing by Debye-Waller factors, angstrom^2 (B = 8 pi^2 <u^2>).

    Attributes:
        b_in_plane: B of the motion in the plane; one for all atoms, or one for each.
        b_out_of_plane: B of the motion along the normal, likewise; acts through q_z only.

    Raises:
        OptionError: a B that is negative or not finite.
    """

    b_in_plane: float | tuple[float, ...] = 0.0
    b_out_of_plane: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        for name in ("b_in_plane", "b_out_of_plane"):
            b = np.asarray(getattr(self, name))
            if not (np.isfinite(b) & (b >= 0)).all():
                raise OptionError(f"{name} is {b}; it has to be finite and not negative")

    def amplitude(self, q2: FloatArray, qz: FloatArray, atoms: int) -> FloatArray:
        """(M, N) exp(-(B q^2 + B_z q_z^2) / 4) of each of N atoms, (M, 1) where all have one B.

        Args:
            q2: (M,) squared in-plane |q|, 1/angstrom^2.
            qz: (M,) 1/angstrom.
            atoms: N.

        Raises:
            OptionError: another number of B than of atoms.
        """
        b, b_z = np.atleast_1d(self.b_in_plane), np.atleast_1d(self.b_out_of_plane)
        for given in (b, b_z):
            if len(given) not in {1, atoms}:
                raise OptionError(f"{len(given)} factors B for {atoms} atoms; give one, or one for each")
        damping: FloatArray = np.exp(-(b * q2[:, None] + b_z * qz[:, None] ** 2) / 4)
        return damping


@dataclass(frozen=True)
class Reflections:
    """Computed beams of one crystal.

    Attributes:
        hk: (M, 2) Miller indices; the second half are the Friedel mates of the first, in the same order.
        q_inv_angstrom: (M, 2) positions in the crystal's frame (a along x), before rotation and mirror.
        qz_inv_angstrom: (M,) where the Ewald sphere cuts each rod.
        amplitude: (M,) complex structure factors; angstrom for electrons, electrons for X-rays.
    """

    hk: IntArray
    q_inv_angstrom: FloatArray
    qz_inv_angstrom: FloatArray
    amplitude: NDArray[np.complex128] = field(repr=False)

    @property
    def intensity(self) -> FloatArray:
        """(M,) squared amplitudes."""
        intensity: FloatArray = np.abs(self.amplitude) ** 2
        return intensity


def compute_excitation_error(q: FloatArray, geometry: Geometry) -> FloatArray:
    """q_z at which the Ewald sphere of a tilted beam cuts each rod, (M,) 1/angstrom; NaN where it never does.

    With the incident wave vector k0 = K (tau, 1) / |(tau, 1)|, K = 1/lambda, the cut solves
    |k0 + q - q_z z|^2 = K^2, with z along the beam. To first order q_z = lambda q^2 / 2 + q . tau.
    """
    wave_number = 1 / geometry.wavelength
    tau = geometry.tilt_vector
    normal = wave_number / np.sqrt(1 + tau @ tau)
    across = np.einsum("md,md->m", q + normal * tau, q + normal * tau)
    with np.errstate(invalid="ignore"):
        qz: FloatArray = normal - np.sqrt(wave_number**2 - across)
    return qz


def compute_structure_factors(
    crystal: Crystal,
    geometry: Geometry | None = None,
    thermal: ThermalMotion | None = None,
    displacements: FloatArray | None = None,
) -> Reflections:
    """Structure factors on the rods of a layer, where the Ewald sphere cuts them.

    F(q) = sum_j f_j(|q|) DW exp(2 pi i (q . r_j - q_z z_j)), Eq. 2 of Fu et al. (2025) with the height of
    each atom and the curvature of the Ewald sphere, which they leave out. The beam travels along +z.

    Args:
        crystal: the layer.
        geometry: the beam and the tilt; straight 80 kV electrons if absent.
        thermal: Debye-Waller factors; none if absent.
        displacements: (N, 3) shifts of the atoms of the cell, angstrom.

    Raises:
        OptionError: displacements of another shape, or another number of B than of atoms.
    """
    geometry, thermal = geometry or Geometry(), thermal or ThermalMotion()
    positions = crystal.positions
    if displacements is not None:
        if displacements.shape != positions.shape:
            raise OptionError(f"displacements have shape {displacements.shape}, the atoms {positions.shape}")
        positions = positions + displacements
    lattice = crystal.lattice
    if geometry.strain is not None:
        deformation = np.eye(2) + np.array(geometry.strain)
        lattice = lattice @ deformation.T
        positions = np.column_stack([positions[:, :2] @ deformation.T, positions[:, 2]])
    hk = list_reflections(lattice, geometry.q_max_inv_angstrom)
    q = hk @ reciprocal_lattice(lattice)
    qz = compute_excitation_error(q, geometry)
    if np.isnan(qz).any():
        reached = ~np.isnan(qz) & ~np.isnan(np.roll(qz, len(qz) // 2))
        hk, q, qz = hk[reached], q[reached], qz[reached]
    q2 = np.einsum("md,md->m", q, q)
    damping = thermal.amplitude(q2, qz, len(crystal.numbers))
    factors = _form_factors(crystal.numbers, np.sqrt(q2 + qz**2), geometry)
    phase = np.exp(2j * np.pi * (q @ positions[:, :2].T - qz[:, None] * positions[:, 2]))
    if damping.shape[1] == 1:  # one factor for the whole sum, which spares a product a beam and an atom
        return Reflections(hk, q, qz, (factors * phase).sum(axis=1) * damping[:, 0])
    return Reflections(hk, q, qz, (factors * damping * phase).sum(axis=1))


def _form_factors(
    numbers: IntArray, length: FloatArray, geometry: Geometry
) -> FloatArray | NDArray[np.complex128]:
    if geometry.radiation == "xray":
        polarisation = polarization_factor(length, geometry.wavelength)
        return xray_form_factor(numbers, length) * np.sqrt(polarisation)[:, None]
    if geometry.atom_model == "eikonal":
        # Transmission is exp(+i sigma v) for waves exp(-2 pi i q . r); the phases here have the other sign.
        return eikonal_form_factor(numbers, length, geometry.voltage_kv).conj()
    return electron_form_factor(numbers, length)


def compute_structure_factors_of_many(
    crystals: Iterable[Crystal], geometry: Geometry | None = None, thermal: ThermalMotion | None = None
) -> Iterator[Reflections]:
    """`compute_structure_factors` of many crystals under the same conditions, in their order.

    One matrix of atoms by reflections a crystal; 18,000 take seconds, so nothing is gained by padding.
    """
    for crystal in crystals:
        yield compute_structure_factors(crystal, geometry, thermal)


def project_to_camera(q: FloatArray, geometry: Geometry) -> FloatArray:
    """(M, 2) positions as the camera sees them: stretched by the tilt, mirrored, rotated.

    A rod cut at q_z is seen where the scattered beam hits the plane normal to the incident one, which
    stretches the pattern by 1 / cos(tilt) across the tilt axis. The sphere's curvature moves a spot by a
    further lambda q^2 / 2 sin(tilt), 0.0007 1/angstrom at q = 1 and 2 degrees, which is left out.
    """
    tau = geometry.tilt_vector
    tangent2 = tau @ tau
    if tangent2 > 0:
        direction = tau / np.sqrt(tangent2)
        q = q + np.outer(q @ direction, direction) * (np.sqrt(1 + tangent2) - 1)
    if geometry.mirrored:
        q = q * np.array([-1.0, 1.0])
    angle = radians(geometry.rotation_deg)
    rotated: FloatArray = q @ np.array([[cos(angle), sin(angle)], [-sin(angle), cos(angle)]])
    return rotated


def compute_kinematic_spots(
    crystal: Crystal,
    geometry: Geometry | None = None,
    thermal: ThermalMotion | None = None,
    displacements: FloatArray | None = None,
    relative_threshold: float = 1e-4,
) -> Spots:
    """The pattern of a layer as spots on the camera, strongest 1, those under the threshold left out.

    Raises:
        NoSpotsError: fewer than three spots within q_max.
    """
    geometry = geometry or Geometry()
    beams = compute_structure_factors(crystal, geometry, thermal, displacements)
    intensity = beams.intensity / max(beams.intensity.max(initial=0.0), 1e-300)
    seen = intensity > relative_threshold
    return Spots(
        q_inv_angstrom=project_to_camera(beams.q_inv_angstrom[seen], geometry),
        intensity=intensity[seen],
        voltage_kv=geometry.voltage_kv if geometry.radiation == "electron" else None,
    )
