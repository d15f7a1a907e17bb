"""Patterns for benchmarks: of crystals by multislice through an instrument, and of what is no layer at all."""

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from model.crystal import Crystal
from model.pattern import Spots
from model.physics.kinematic import Geometry, on_camera
from model.physics.multislice import Conditions, dynamical_intensities

Array = NDArray[np.float64]

VOLTAGE_KV = 80.0
Q_MAX = 1.65


@dataclass(frozen=True)
class Instrument:
    """What is done to a pattern: rms of each error, ranges as (low, high)."""

    tilt_deg: float = 4.0
    intensity_noise: tuple[float, float] = (0.05, 0.4)
    scale_sigma: float = 0.013
    ellipticity_sigma: float = 0.003
    position_noise: float = 0.003
    q_max: tuple[float, float] = (1.1, 1.6)
    range_decades: tuple[float, float] = (2.5, 3.2)
    lost: float = 0.06
    false_spots: int = 3


def pattern_of(crystal: Crystal, instrument: Instrument, rng: np.random.Generator) -> Spots:
    """A flake of the crystal as a spot finder would report it: either face, turned, mirrored, tilted and noisy."""
    lying = Geometry(
        tilt_deg=instrument.tilt_deg * float(np.sqrt(rng.random())),
        tilt_azimuth_deg=float(rng.uniform(0, 360)),
        rotation_deg=float(rng.uniform(0, 360)),
        mirrored=bool(rng.random() < 0.5),
    )
    flake = crystal.turned_over() if rng.random() < 0.5 else crystal
    # The library's atoms are not quite those of the sample; the rest of the motion damps.
    shifts = rng.normal(0, 0.02, (1, len(flake.numbers), 3))
    b_iso = 8 * pi**2 * rng.uniform(0.04, 0.08, 1) ** 2
    conditions = Conditions(np.array([VOLTAGE_KV]), lying.tilt_vector[None], shifts, b_iso)
    _, q, intensity = dynamical_intensities(flake, conditions, Q_MAX)
    return _observed(on_camera(q, lying), intensity[0], instrument, rng)


def _observed(q: Array, intensity: Array, instrument: Instrument, rng: np.random.Generator) -> Spots:
    ellipticity = rng.normal(0, instrument.ellipticity_sigma)
    q = q * np.array([1 + ellipticity, 1 - ellipticity]) * (1 + rng.normal(0, instrument.scale_sigma))
    q = q + rng.normal(0, instrument.position_noise, q.shape)
    noise = rng.uniform(*instrument.intensity_noise)
    level = intensity / intensity.max() * np.exp(rng.normal(0, noise, len(q)))
    faintest, q_max = 10 ** -rng.uniform(*instrument.range_decades), rng.uniform(*instrument.q_max)
    length = np.hypot(*q.T)
    kept = (length < q_max) & (level > faintest) & (rng.random(len(q)) > instrument.lost)
    if kept.sum() < 6:
        kept = np.isin(np.arange(len(q)), np.argsort(-level)[:6])
    count = int(rng.integers(0, instrument.false_spots + 1))
    false = _in_disc(count, q_max, rng)
    strength = faintest * 10 ** rng.uniform(0, 1, count)
    return Spots(np.concatenate([q[kept], false]), np.concatenate([level[kept], strength]))


def random_spots(rng: np.random.Generator) -> Spots:
    """Spots without any order, in Friedel pairs as often as not."""
    count, q_max = int(rng.integers(15, 90)), rng.uniform(1.1, 1.6)
    q = _in_disc(count, q_max, rng, inner=0.2)
    level = np.exp(rng.normal(0, 1.5, count))
    if rng.random() < 0.5:
        q, level = np.concatenate([q, -q]), np.concatenate([level, level * np.exp(rng.normal(0, 0.2, count))])
    return Spots(q + rng.normal(0, 0.003, q.shape), level)


def broken_rings(rng: np.random.Generator) -> Spots:
    """Rings of a powder of a cubic crystal, each broken into the spots of its grains."""
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


def _in_disc(count: int, radius: float, rng: np.random.Generator, inner: float = 0.05) -> Array:
    length = np.sqrt(rng.uniform(inner**2, radius**2, count))
    angle = rng.uniform(0, 2 * pi, count)
    return np.column_stack([length * np.cos(angle), length * np.sin(angle)])
