"""Simulated effects of an instrument on a pattern: scale, distortion, noise, lost and false spots, limited range."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from model.towers.tokens import INTENSITY_FLOOR, MAX_PAIRS, Q_MAX_INV_ANGSTROM, PatternBatch

Array = NDArray[np.float32]
Range = tuple[float, float]

MISSING = -1e9
"""ln I of a pair that does not exist. It is finite, so that differences are finite."""


@dataclass(frozen=True)
class Instrument:
    """Ranges from which the instrument of each pattern is drawn, uniformly unless stated otherwise.

    Attributes:
        scale_sigma: rms error of the scale, normal, limited to 3 %.
        wide_scale_share: share of patterns whose scale error is uniform within 3 % instead.
        strain_sigma: rms of each component of the symmetric distortion (strain, ellipticity), normal.
        position_noise: rms error of a position along each axis, 1/angstrom.
        intensity_noise: rms error of ln I.
        radial_noise: rms of b in I exp(b q^2), angstrom^2, normal.
        q_max: largest |q| of a spot, 1/angstrom.
        q_min: radius hidden by the direct beam or the beam stop, 1/angstrom.
        range_decades: decades between the strongest and the weakest visible spot.
        lost: share of spots that are lost.
        false_spots: largest number of false spots.
        saturated_share: share of patterns whose strongest spots are saturated.
        geometry_share: share of patterns without intensities.
        rotated: whether each pattern is rotated and mirrored at random.
    """

    scale_sigma: float = 0.0
    wide_scale_share: float = 0.0
    strain_sigma: float = 0.0
    position_noise: Range = (0.0, 0.0)
    intensity_noise: Range = (0.0, 0.0)
    radial_noise: float = 0.0
    q_max: Range = (Q_MAX_INV_ANGSTROM, Q_MAX_INV_ANGSTROM)
    q_min: Range = (0.0, 0.0)
    range_decades: Range = (4.0, 4.0)
    lost: Range = (0.0, 0.0)
    false_spots: int = 0
    saturated_share: float = 0.0
    geometry_share: float = 0.0
    rotated: bool = True


TRAINING = Instrument(
    scale_sigma=0.013,
    wide_scale_share=0.1,
    strain_sigma=0.003,
    position_noise=(0.001, 0.004),
    intensity_noise=(0.03, 0.5),
    radial_noise=0.25,
    q_max=(1.0, 1.65),
    q_min=(0.0, 0.22),
    range_decades=(2.3, 3.8),
    lost=(0.0, 0.12),
    false_spots=4,
    saturated_share=0.1,
    geometry_share=0.12,
)
QUIET = Instrument(
    scale_sigma=0.002,
    strain_sigma=0.0005,
    position_noise=(0.0, 0.001),
    intensity_noise=(0.0, 0.1),
    q_max=(1.2, 1.65),
    range_decades=(2.5, 4.0),
    lost=(0.0, 0.05),
)
"""A careful measurement, which distinguishes similar crystals and so teaches small differences."""
REALISTIC = Instrument(
    scale_sigma=0.015,
    strain_sigma=0.002,
    intensity_noise=(0.3, 0.3),
    q_max=(1.2, 1.6),
    range_decades=(3.0, 3.0),
    lost=(0.1, 0.1),
)
CLEAN = Instrument()
FIXED = Instrument(rotated=False)


def observe(
    q: Array,
    log_intensity: Array,
    present: NDArray[np.bool_],
    voltage_kv: Array,
    instrument: Instrument,
    rng: np.random.Generator,
) -> PatternBatch:
    """Return patterns as an instrument records them.

    Args:
        q: (B, P, 2) one member of each Friedel pair, 1/angstrom.
        log_intensity: (B, P, 2) ln I(q) and ln I(-q).
        present: (B, P) whether the pair exists.
        voltage_kv: (B,) accelerating voltages.
        instrument: the ranges.
        rng: source of the random numbers.

    Returns:
        A batch of at most 64 pairs, strongest first.
    """
    draw = _PatternRandom(rng, len(present))
    q = _distort(q, instrument, draw)
    noise = draw.uniform(instrument.intensity_noise)[..., None]
    level = log_intensity + noise * rng.standard_normal(log_intensity.shape, dtype=np.float32)
    q2 = (q**2).sum(-1, dtype=np.float32)
    level = level + (instrument.radial_noise * draw.normal() * q2)[..., None]
    level = np.where(present[..., None], level, MISSING)
    level = _saturate(level, instrument, draw)
    visible = _select_visible(level, np.sqrt(q2), instrument, draw)
    paired = np.asarray(visible.all(-1))
    q = np.where(visible[..., :1], q, -q)
    both = visible.sum(-1)
    linear = np.where(visible, np.exp(np.minimum(level, 50)), 0)
    mean = linear.sum(-1) / np.maximum(both, 1)
    ratio = np.where(paired, level[..., 0] - level[..., 1], 0)
    sigma = draw.uniform(instrument.position_noise) / np.sqrt(np.maximum(both, 1))
    q = q + sigma[..., None] * rng.standard_normal(q.shape, dtype=np.float32)
    log_mean = np.where(both > 0, np.log(np.maximum(mean, 1e-30)), -np.inf)
    log_mean = log_mean - log_mean.max(axis=1, keepdims=True)
    q, log_mean = _add_false_spots(q, log_mean, instrument, draw)
    return _build_batch(q, log_mean, ratio, paired, voltage_kv, draw.chance(instrument.geometry_share))


class _PatternRandom:
    """Random numbers, one for each pattern, (B, 1)."""

    def __init__(self, rng: np.random.Generator, count: int) -> None:
        self.rng, self.count = rng, count

    def uniform(self, bounds: Range) -> Array:
        return self.rng.uniform(*bounds, (self.count, 1)).astype(np.float32)

    def normal(self) -> Array:
        return self.rng.standard_normal((self.count, 1), dtype=np.float32)

    def chance(self, share: float) -> NDArray[np.bool_]:
        return np.asarray(self.rng.random(self.count) < share)


def _distort(q: Array, instrument: Instrument, draw: _PatternRandom) -> Array:
    """Apply scale error, strain, rotation and mirror as one linear map for each pattern."""
    scale = np.clip(instrument.scale_sigma * draw.normal(), -0.03, 0.03)
    wide = draw.chance(instrument.wide_scale_share)[:, None]
    scale = np.where(wide, draw.uniform((-0.03, 0.03)), scale)[:, 0]
    xx, yy, xy = (instrument.strain_sigma * draw.normal()[:, 0] for _ in range(3))
    map_ = np.stack([1 + scale + xx, xy, xy, 1 + scale + yy], axis=-1).reshape(-1, 2, 2)
    angle = draw.uniform((0, 2 * np.pi if instrument.rotated else 0))[:, 0]
    flip = np.where(draw.chance(0.5 if instrument.rotated else 0), -1, 1)
    turn = np.stack([np.cos(angle), np.sin(angle), -flip * np.sin(angle), flip * np.cos(angle)], axis=-1)
    distorted: Array = (q @ (map_ @ turn.reshape(-1, 2, 2))).astype(np.float32)
    return distorted


def _saturate(level: Array, instrument: Instrument, draw: _PatternRandom) -> Array:
    saturated = draw.chance(instrument.saturated_share)
    ceiling = level.max(axis=(1, 2)) - np.where(saturated, draw.uniform((0, 2))[:, 0], 0)
    clipped: Array = np.minimum(level, ceiling[:, None, None])
    return clipped


def _select_visible(
    level: Array, length: Array, instrument: Instrument, draw: _PatternRandom
) -> NDArray[np.bool_]:
    """Return (B, P, 2) whether a spot is within range and not lost; at least the three strongest pairs are kept."""
    strongest = level.max(axis=(1, 2), keepdims=True)
    bright: NDArray[np.bool_] = (
        level > strongest - np.log(10) * draw.uniform(instrument.range_decades)[..., None]
    )
    kept = draw.rng.random(level.shape) >= draw.uniform(instrument.lost)[..., None]
    inside = (length < draw.uniform(instrument.q_max)) & (length > draw.uniform(instrument.q_min))
    seen = bright & kept & inside[..., None]
    empty = np.flatnonzero(seen.sum(axis=(1, 2)) < 3)
    if len(empty):
        order = np.argsort(-level[empty].max(-1), axis=1)[:, :3]
        rescued = np.zeros((len(empty), level.shape[1]), dtype=bool)
        np.put_along_axis(rescued, order, True, axis=1)
        seen[empty] |= rescued[..., None] & (level[empty] > MISSING / 2)
    return np.asarray(seen, dtype=bool)


def _add_false_spots(
    q: Array, log_mean: Array, instrument: Instrument, draw: _PatternRandom
) -> tuple[Array, Array]:
    """Put false spots in the places of pairs that are not visible."""
    if not instrument.false_spots:
        return q, log_mean
    slots = instrument.false_spots
    order = np.argsort(log_mean, axis=1, kind="stable")[:, :slots]
    free = np.isneginf(np.take_along_axis(log_mean, order, axis=1))
    added = np.arange(slots) < draw.rng.integers(0, slots + 1, (draw.count, 1))
    strength = draw.rng.uniform(-7.0, -3.0, order.shape)
    np.put_along_axis(
        log_mean,
        order,
        np.where(free & added, strength, np.take_along_axis(log_mean, order, axis=1)),
        axis=1,
    )
    where = draw.rng.uniform(-1.15, 1.15, (*order.shape, 2))
    chosen = (free & added)[..., None]
    index = order[..., None].repeat(2, axis=2)
    np.put_along_axis(q, index, np.where(chosen, where, np.take_along_axis(q, index, axis=1)), axis=1)
    return q, log_mean


def _build_batch(
    q: Array,
    log_mean: Array,
    ratio: Array,
    paired: NDArray[np.bool_],
    voltage_kv: Array,
    bare: NDArray[np.bool_],
) -> PatternBatch:
    there = np.isfinite(log_mean) & ((q**2).sum(-1) <= Q_MAX_INV_ANGSTROM**2)
    key = np.where(bare[:, None], (q**2).sum(-1), -log_mean)
    order = np.argsort(np.where(there, key, np.inf), axis=1, kind="stable")[:, :MAX_PAIRS]
    take = {"log": log_mean, "ratio": ratio, "paired": paired, "there": there}
    taken = {name: np.take_along_axis(values, order, axis=1) for name, values in take.items()}
    there, known = taken["there"], ~bare[:, None]
    log_intensity = np.where(there & known, np.maximum(taken["log"], np.log(INTENSITY_FLOOR)), 0)
    q = np.take_along_axis(q, order[..., None], axis=1) * there[..., None]
    return PatternBatch(
        q=torch.from_numpy(q.astype(np.float32)),
        log_intensity=torch.from_numpy(log_intensity.astype(np.float32)),
        log_ratio=torch.from_numpy(np.where(there & known, taken["ratio"], 0).astype(np.float32)),
        paired=torch.from_numpy(taken["paired"] & there),
        present=torch.from_numpy(there),
        has_intensity=torch.from_numpy(~bare),
        voltage_kv=torch.from_numpy(np.asarray(voltage_kv, dtype=np.float32)),
    )
