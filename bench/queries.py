"""Simulated patterns for benchmarks: multislice patterns of crystals, and patterns of anything but layers.

The latter are random spots, powder rings that consist of spots, and zones of bulk crystals.
"""

from dataclasses import dataclass, replace
from math import pi

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.electrons import electron_wavelength_angstrom
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, project_to_camera
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.scattering import electron_form_factor

Array = NDArray[np.float64]

VOLTAGE_KV = 80.0
Q_MAX = 1.65
SPOT_WIDTH = 0.012


@dataclass(frozen=True)
class Instrument:
    """Errors of an instrument: rms values, and ranges as (low, high).

    The atoms of the flake are displaced from their positions in the library by `displacement_angstrom` (rms along each
    axis).
    """

    tilt_deg: float = 4.0
    displacement_angstrom: float = 0.02
    intensity_noise: tuple[float, float] = (0.05, 0.4)
    scale_sigma: float = 0.013
    ellipticity_sigma: float = 0.003
    position_noise: float = 0.003
    q_max: tuple[float, float] = (1.1, 1.6)
    range_decades: tuple[float, float] = (2.5, 3.2)
    lost: float = 0.06
    false_spots: int = 3


@dataclass(frozen=True)
class Camera:
    """Effects of an instrument on one pattern, known only to an oracle.

    Attributes:
        stretch: (2,) factors of lengths along x and y.
        noise: rms error of ln I.
        faintest: smallest visible intensity, relative to the strongest reflection.
        q_max: largest visible |q|, 1/angstrom.
    """

    stretch: Array
    noise: float
    faintest: float
    q_max: float


@dataclass(frozen=True)
class SimulatedPattern:
    """A simulated pattern with the true parameters.

    Attributes:
        spots: spots as a spot finder would report them.
        flake: the oriented crystal (`Crystal.turn_over` if face down) with displaced atoms.
        face_down: whether the flake is turned over.
        tilt: (2,) tilt tangents in the camera's frame.
        b_iso: Debye-Waller B, angstrom^2.
        camera: effects of the instrument.
    """

    spots: Spots
    flake: Crystal
    face_down: bool
    tilt: Array
    b_iso: float
    camera: Camera


def simulate_spots(crystal: Crystal, instrument: Instrument, rng: np.random.Generator) -> Spots:
    """Simulate the spots of a flake with random face, rotation, mirror, tilt and noise."""
    return simulate_pattern(crystal, instrument, rng).spots


def simulate_pattern(crystal: Crystal, instrument: Instrument, rng: np.random.Generator) -> SimulatedPattern:
    """Simulate a pattern as `simulate_spots`, with the true parameters."""
    geometry = _draw_geometry(instrument, rng)
    face_down = bool(rng.random() < 0.5)
    facing = crystal.turn_over() if face_down else crystal
    q, intensity, flake, b_iso = _diffract(facing, geometry, instrument, rng)
    spots, camera = _record(q, intensity, instrument, rng)
    tilt = np.linalg.solve(_compute_rotation(geometry), geometry.tilt_vector)
    return SimulatedPattern(spots, flake, face_down, np.asarray(tilt), b_iso, camera)


def simulate_twisted_pair(
    first: Crystal, second: Crystal, instrument: Instrument, rng: np.random.Generator
) -> tuple[Spots, Array]:
    """Simulate two stacked flakes with the same tilt, each of which diffracts the direct beam.

    Returns:
        The spots, merged where they are closer than the width of a spot, and the (2, 2) a axes on the camera.
    """
    geometry = _draw_geometry(instrument, rng)
    tilt = np.linalg.solve(_compute_rotation(geometry), geometry.tilt_vector)
    patterns, axes = [], []
    for crystal in (first, second):
        turned = replace(geometry, rotation_deg=float(rng.uniform(0, 360)))
        x, y = _compute_rotation(turned) @ tilt
        turned = replace(turned, tilt_azimuth_deg=float(np.degrees(np.arctan2(y, x))))
        flake = crystal.turn_over() if rng.random() < 0.5 else crystal
        patterns.append(_diffract(flake, turned, instrument, rng)[:2])
        axes.append(project_to_camera(crystal.lattice[:1], replace(turned, tilt_deg=0.0))[0])
    q, intensity = (np.concatenate(each) for each in zip(*patterns, strict=True))
    order = np.argsort(-intensity)
    kept: list[int] = []
    for row in order.tolist():
        near = [other for other in kept if np.hypot(*(q[row] - q[other])) < SPOT_WIDTH]
        if near:
            intensity[near[0]] += intensity[row]
        else:
            kept.append(row)
    return _record(q[kept], intensity[kept], instrument, rng)[0], np.array(axes)


def _draw_geometry(instrument: Instrument, rng: np.random.Generator) -> Geometry:
    return Geometry(
        tilt_deg=instrument.tilt_deg * float(np.sqrt(rng.random())),
        tilt_azimuth_deg=float(rng.uniform(0, 360)),
        rotation_deg=float(rng.uniform(0, 360)),
        mirrored=bool(rng.random() < 0.5),
    )


def _compute_rotation(geometry: Geometry) -> Array:
    """Return the (2, 2) matrix from row vectors in the crystal's frame to the camera; q . tilt is the same in both."""
    return np.asarray(project_to_camera(np.eye(2), replace(geometry, tilt_deg=0.0)))


def _diffract(
    flake: Crystal, geometry: Geometry, instrument: Instrument, rng: np.random.Generator
) -> tuple[Array, Array, Crystal, float]:
    """Return positions on the camera, intensities (fractions of the incident beam), the displaced flake, and B."""
    shifts = rng.normal(0, instrument.displacement_angstrom, (1, len(flake.numbers), 3))
    b_iso = 8 * pi**2 * rng.uniform(0.04, 0.08, 1) ** 2
    conditions = Conditions(np.array([VOLTAGE_KV]), geometry.tilt_vector[None], shifts, b_iso)
    _, q, intensity = compute_dynamical_intensities(flake, conditions, Q_MAX)
    shifted = replace(flake, positions=flake.positions + shifts[0])
    return project_to_camera(q, geometry), intensity[0], shifted, float(b_iso[0])


def _record(
    q: Array, intensity: Array, instrument: Instrument, rng: np.random.Generator
) -> tuple[Spots, Camera]:
    ellipticity = rng.normal(0, instrument.ellipticity_sigma)
    stretch = np.array([1 + ellipticity, 1 - ellipticity]) * (1 + rng.normal(0, instrument.scale_sigma))
    q = q * stretch + rng.normal(0, instrument.position_noise, q.shape)
    noise = float(rng.uniform(*instrument.intensity_noise))
    level = intensity / intensity.max() * np.exp(rng.normal(0, noise, len(q)))
    faintest, q_max = 10 ** -rng.uniform(*instrument.range_decades), rng.uniform(*instrument.q_max)
    length = np.hypot(*q.T)
    kept = (length < q_max) & (level > faintest) & (rng.random(len(q)) > instrument.lost)
    if kept.sum() < 6:
        kept = np.isin(np.arange(len(q)), np.argsort(-level)[:6])
    count = int(rng.integers(0, instrument.false_spots + 1))
    false = _draw_in_disc(count, q_max, rng)
    strength = faintest * 10 ** rng.uniform(0, 1, count)
    spots = Spots(np.concatenate([q[kept], false]), np.concatenate([level[kept], strength]))
    return spots, Camera(stretch, noise, float(faintest), float(q_max))


def simulate_random_spots(rng: np.random.Generator) -> Spots:
    """Simulate random spots, in half of the cases as Friedel pairs."""
    count, q_max = int(rng.integers(15, 90)), rng.uniform(1.1, 1.6)
    q = _draw_in_disc(count, q_max, rng, inner=0.2)
    level = np.exp(rng.normal(0, 1.5, count))
    if rng.random() < 0.5:
        q, level = np.concatenate([q, -q]), np.concatenate([level, level * np.exp(rng.normal(0, 0.2, count))])
    return Spots(q + rng.normal(0, 0.003, q.shape), level)


def simulate_broken_rings(rng: np.random.Generator) -> Spots:
    """Simulate rings of a cubic powder that consist of the spots of single grains."""
    squares = np.array(
        [(3, 4, 8, 11, 12, 16, 19, 20, 24), (1, 2, 3, 4, 5, 6, 8, 9, 10), (2, 4, 6, 8, 10, 12, 14, 16, 18)]
    )
    radii = np.sqrt(rng.choice(squares)) / rng.uniform(2.8, 5.6)
    radii = radii[(radii < 1.5) & (radii > 0.15)]
    spots, level = [], []
    for radius in radii:
        count = int(rng.integers(4, 16))
        angle = rng.uniform(0, 2 * pi, count)
        spots.append(radius * np.column_stack([np.cos(angle), np.sin(angle)]))
        level.append(np.exp(rng.normal(-2 * radius, 0.6, count)))
    q = np.concatenate(spots)
    return Spots(q + rng.normal(0, 0.003, q.shape), np.concatenate(level))


@dataclass(frozen=True)
class BulkPrototype:
    """A prototype of a three-dimensional crystal: fractional sites and the element number of each."""

    sites: tuple[tuple[float, float, float], ...]
    kinds: tuple[int, ...]


_FACES = ((0.0, 0.0, 0.0), (0.0, 0.5, 0.5), (0.5, 0.0, 0.5), (0.5, 0.5, 0.0))


def _shift_faces(x: float, y: float, z: float) -> tuple[tuple[float, float, float], ...]:
    return tuple((a + x, b + y, c + z) for a, b, c in _FACES)


PROTOTYPES = (
    BulkPrototype((*_FACES, *_shift_faces(0.25, 0.25, 0.25)), (0,) * 4 + (1,) * 4),  # zincblende
    BulkPrototype((*_FACES, *_shift_faces(0.25, 0.25, 0.25)), (0,) * 8),  # diamond
    BulkPrototype((*_FACES, *_shift_faces(0.5, 0.5, 0.5)), (0,) * 4 + (1,) * 4),  # rock salt
    BulkPrototype(
        (*_FACES, *_shift_faces(0.25, 0.25, 0.25), *_shift_faces(0.75, 0.75, 0.75)), (0,) * 4 + (1,) * 8
    ),  # fluorite
    BulkPrototype(_FACES, (0,) * 4),
    BulkPrototype(((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)), (0, 0)),
    BulkPrototype(((0.0, 0.0, 0.0), (0.5, 0.5, 0.5)), (0, 1)),  # cesium chloride
    BulkPrototype(
        ((0.0, 0.0, 0.0), (0.5, 0.5, 0.5), (0.5, 0.5, 0.0), (0.5, 0.0, 0.5), (0.0, 0.5, 0.5)), (0, 1, 2, 2, 2)
    ),  # perovskite
    BulkPrototype(
        ((0, 0, 0), (0.5, 0.5, 0.5), (0.3, 0.3, 0), (0.7, 0.7, 0), (0.2, 0.8, 0.5), (0.8, 0.2, 0.5)),
        (0, 0, 1, 1, 1, 1),
    ),  # rutile
)


def simulate_bulk_zone(rng: np.random.Generator) -> tuple[Spots, Array]:
    """Simulate a zone of a bulk crystal, kinematic, with the width of the reflections that follows from its thickness.

    Returns:
        The spots, and (2, 2) the reciprocal basis of the zone, 1/angstrom.
    """
    while True:
        bulk = PROTOTYPES[int(rng.integers(len(PROTOTYPES)))]
        cell = rng.uniform(3.0, 7.0) * np.exp(rng.choice([0.0, 0.2]) * rng.normal(0, 1, 3))
        axis = rng.integers(-3, 4, 3)
        if not axis.any() or np.gcd.reduce(axis) != 1:
            continue
        hkl = np.stack(np.meshgrid(*[np.arange(-14, 15)] * 3), axis=-1).reshape(-1, 3)
        hkl = hkl[(hkl @ axis == 0) & hkl.any(axis=1)]
        g = hkl / cell
        hkl, g = hkl[np.linalg.norm(g, axis=1) < Q_MAX], g[np.linalg.norm(g, axis=1) < Q_MAX]
        length = np.linalg.norm(g, axis=1)
        numbers = rng.choice([5, 8, 9, 13, 14, 17, 22, 26, 29, 31, 33, 47, 52, 56, 74, 79, 82], 3)
        factors = electron_form_factor(numbers, length)[:, list(bulk.kinds)]
        waves = (factors * np.exp(2j * pi * hkl @ np.array(bulk.sites).T)).sum(axis=1)
        thickness, wavelength = rng.uniform(30.0, 300.0), electron_wavelength_angstrom(VOLTAGE_KV)
        normal = axis * cell / np.linalg.norm(axis * cell)
        first = np.cross(normal, [0.36, 0.48, 0.8])
        plane = np.stack([first / np.linalg.norm(first), np.cross(normal, first) / np.linalg.norm(first)])
        q = g @ plane.T
        error = wavelength * length**2 / 2 + q @ (np.radians(rng.uniform(0, 1.0)) * _draw_direction(rng))
        # Multiple scattering reduces the contrast of the intensities.
        level = (
            np.abs(waves) ** 2 * np.sinc(thickness * error) ** 2 * np.exp(-0.4 * length**2)
        ) ** rng.uniform(0.5, 1.0)
        allowed = level > 1e-4 * level.max(initial=0.0)
        if allowed.sum() < 10 or np.linalg.matrix_rank(q[allowed], 0.05) < 2:
            continue
        spots, _ = _record(q[allowed] @ _draw_rotation(rng), level[allowed], Instrument(), rng)
        return spots, _find_basis(q[allowed])


def _find_basis(q: Array) -> Array:
    """Return (2, 2) the two shortest vectors that are not parallel."""
    order = q[np.argsort(np.hypot(*q.T), kind="stable")]
    crossed = np.abs(order[0, 0] * order[:, 1] - order[0, 1] * order[:, 0])
    second = np.flatnonzero(crossed > 0.05 * np.hypot(*order[0]) * np.hypot(*order.T))[0]
    return np.stack([order[0], order[second]])


def _draw_direction(rng: np.random.Generator) -> Array:
    angle = rng.uniform(0, 2 * pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _draw_rotation(rng: np.random.Generator) -> Array:
    x, y = _draw_direction(rng)
    return np.array([[x, y], [-y, x]])


def _draw_in_disc(count: int, radius: float, rng: np.random.Generator, inner: float = 0.05) -> Array:
    length = np.sqrt(rng.uniform(inner**2, radius**2, count))
    angle = rng.uniform(0, 2 * pi, count)
    return np.column_stack([length * np.cos(angle), length * np.sin(angle)])
