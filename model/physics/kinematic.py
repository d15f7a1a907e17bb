"""Kinematic diffraction of a layer: single scattering, with the exact geometry of the tilted Ewald sphere."""

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
    """Geometry of beam, flake and camera.

    Attributes:
        radiation: electrons or X-rays.
        voltage_kv: accelerating voltage of the electrons.
        wavelength_angstrom: wavelength of the X-rays; that of electrons follows from the voltage.
        q_max_inv_angstrom: largest |q| of the reflections.
        tilt_deg: angle between the beam and the layer normal.
        tilt_azimuth_deg: direction of the tilt in the crystal's frame, from a toward b.
        rotation_deg: rotation of the pattern on the camera.
        mirrored: whether the camera mirrors the pattern. A flake face down is `Crystal.turn_over`, which is
            equivalent with real factors only.
        strain: (2, 2) symmetric in-plane strain of the crystal, or None.
        atom_model: scattering of electrons by an atom: "born" (single, real factors) or "eikonal" (multiple within
            the atom, complex factors, closer to multislice).

    Raises:
        OptionError: a value is out of range.
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
            raise OptionError(
                f"q_max_inv_angstrom is {self.q_max_inv_angstrom}; it must be above 0 and at most 5 1/angstrom."
            )
        if not 0 <= self.tilt_deg < 60:
            raise OptionError(f"tilt_deg is {self.tilt_deg}; it must be at least 0 and less than 60 degrees.")
        if not self.wavelength > 0:
            raise OptionError(f"wavelength_angstrom is {self.wavelength_angstrom}; it must be positive.")
        if self.strain is not None and not np.array_equal(self.strain, np.transpose(self.strain)):
            raise OptionError(f"The strain {self.strain} is not symmetric; give a rotation as rotation_deg.")

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
    """Debye-Waller factors, angstrom^2 (B = 8 pi^2 <u^2>).

    Attributes:
        b_in_plane: B of the in-plane motion; one value for all atoms, or one for each.
        b_out_of_plane: B of the motion along the normal, likewise; it acts through q_z only.

    Raises:
        OptionError: a B is negative or not finite.
    """

    b_in_plane: float | tuple[float, ...] = 0.0
    b_out_of_plane: float | tuple[float, ...] = 0.0

    def __post_init__(self) -> None:
        for name in ("b_in_plane", "b_out_of_plane"):
            b = np.asarray(getattr(self, name))
            if not (np.isfinite(b) & (b >= 0)).all():
                raise OptionError(f"{name} is {b}; it must be finite and not negative.")

    def compute_damping(self, q2: FloatArray, qz: FloatArray, atoms: int) -> FloatArray:
        """Return exp(-(B q^2 + B_z q_z^2) / 4), (M, N) for N atoms, or (M, 1) if all atoms share one B.

        Args:
            q2: (M,) squared in-plane |q|, 1/angstrom^2.
            qz: (M,) 1/angstrom.
            atoms: N.

        Raises:
            OptionError: the number of B values is neither 1 nor N.
        """
        b, b_z = np.atleast_1d(self.b_in_plane), np.atleast_1d(self.b_out_of_plane)
        for given in (b, b_z):
            if len(given) not in {1, atoms}:
                raise OptionError(
                    f"There are {len(given)} values of B for {atoms} atoms; give one, or one for each atom."
                )
        damping: FloatArray = np.exp(-(b * q2[:, None] + b_z * qz[:, None] ** 2) / 4)
        return damping


@dataclass(frozen=True)
class Reflections:
    """Computed reflections of one crystal.

    Attributes:
        hk: (M, 2) Miller indices; the second half holds the Friedel mates of the first, in the same order.
        q_inv_angstrom: (M, 2) scattering vectors in the crystal's frame (a along x), before rotation and mirror.
        qz_inv_angstrom: (M,) intersection of the Ewald sphere with each rod.
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
    """Return the (M,) q_z at which the Ewald sphere of a tilted beam intersects each rod; NaN if it does not.

    With the incident wave vector k0 = K (tau, 1) / |(tau, 1)|, K = 1/lambda, q_z solves |k0 + q - q_z z|^2 = K^2,
    with z along the beam. To first order q_z = lambda q^2 / 2 + q . tau.
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
    """Compute the structure factors of a layer where the Ewald sphere intersects its rods.

    F(q) = sum_j f_j(|q|) DW exp(2 pi i (q . r_j - q_z z_j)), Eq. 2 of Fu et al. (2025), extended by
    the heights of the atoms and the curvature of the Ewald sphere. The beam travels along +z.

    Args:
        crystal: the layer.
        geometry: beam and tilt; 80 kV electrons without tilt if None.
        thermal: Debye-Waller factors; none if None.
        displacements: (N, 3) displacements of the atoms, angstrom.

    Raises:
        OptionError: the displacements or the Debye-Waller factors do not match the number of atoms.
    """
    geometry, thermal = geometry or Geometry(), thermal or ThermalMotion()
    positions = crystal.positions
    if displacements is not None:
        if displacements.shape != positions.shape:
            raise OptionError(
                f"The displacements have shape {displacements.shape}; the atoms need {positions.shape}."
            )
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
    damping = thermal.compute_damping(q2, qz, len(crystal.numbers))
    factors = _select_form_factors(crystal.numbers, np.sqrt(q2 + qz**2), geometry)
    phase = np.exp(2j * np.pi * (q @ positions[:, :2].T - qz[:, None] * positions[:, 2]))
    if damping.shape[1] == 1:  # one factor for all atoms, which saves an (M, N) product
        return Reflections(hk, q, qz, (factors * phase).sum(axis=1) * damping[:, 0])
    return Reflections(hk, q, qz, (factors * damping * phase).sum(axis=1))


def _select_form_factors(
    numbers: IntArray, length: FloatArray, geometry: Geometry
) -> FloatArray | NDArray[np.complex128]:
    if geometry.radiation == "xray":
        polarization = polarization_factor(length, geometry.wavelength)
        return xray_form_factor(numbers, length) * np.sqrt(polarization)[:, None]
    if geometry.atom_model == "eikonal":
        # The transmission exp(+i sigma v) belongs to waves exp(-2 pi i q . r); the phases here have the other sign.
        return eikonal_form_factor(numbers, length, geometry.voltage_kv).conj()
    return electron_form_factor(numbers, length)


def project_to_camera(q: FloatArray, geometry: Geometry) -> FloatArray:
    """Return (M, 2) positions on the camera: stretched by the tilt, mirrored and rotated.

    A spot appears where the scattered beam meets the plane normal to the incident beam, which stretches the pattern by
    1 / cos(tilt) across the tilt axis. The curvature of the Ewald sphere would move it further by
    lambda q^2 / 2 sin(tilt), 0.0007 1/angstrom at q = 1 and 2 degrees, which is neglected.
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
    """Compute the spots of a layer; the strongest has intensity 1, and those below the threshold are omitted.

    Raises:
        NoSpotsError: there are fewer than three spots within q_max.
    """
    geometry = geometry or Geometry()
    reflections = compute_structure_factors(crystal, geometry, thermal, displacements)
    intensity = reflections.intensity / max(reflections.intensity.max(initial=0.0), 1e-300)
    visible = intensity > relative_threshold
    return Spots(
        q_inv_angstrom=project_to_camera(reflections.q_inv_angstrom[visible], geometry),
        intensity=intensity[visible],
        voltage_kv=geometry.voltage_kv if geometry.radiation == "electron" else None,
    )
