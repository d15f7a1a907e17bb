"""The training pool: patterns of every crystal under many conditions, computed once.

Diffraction is slow to simulate, noise is fast. So a pool holds the Friedel pairs of each crystal and their intensities
under S draws of voltage, tilt and displacements, some kinematic, most by multislice. Augmentation adds a new instrument
each time a pattern is used.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from math import radians, tan
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from model.atomic_files import replace_file
from model.crystal.crystal import Crystal
from model.physics.kinematic import Geometry, ThermalMotion, compute_structure_factors
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.reciprocal import list_reflections, reciprocal_lattice

FloatArray = NDArray[np.float64]
Half = NDArray[np.float16]
Regime = Literal["library", "paper"]
"""Patterns as instruments record them, or as in DD2D: no tilt, kinematic, one orientation, no noise."""

POOL_PAIRS = 112
POOL_Q_MAX = 1.7
LOG_FLOOR = -16.0
MAX_TILT_DEG = 5.0
PERFECT_DRAW = 0
POOL_VERSION = 2
"""Version of the simulation, which keeps caches of older ones from being read."""


@dataclass(frozen=True)
class Draws:
    """S simulated conditions of one crystal.

    Attributes:
        voltage_kv: (S,) accelerating voltage.
        tilt_deg: (S,) tilt.
        azimuth_deg: (S,) azimuth of the tilt.
        displacement_angstrom: (S,) rms displacement of the atoms along each axis.
        b_iso: (S,) Debye-Waller B, angstrom^2.
        dynamical: (S,) whether the pattern is computed by multislice.
        face_down: (S,) whether the flake is turned over; with multiple scattering this is not just a mirror image.
    """

    voltage_kv: FloatArray
    tilt_deg: FloatArray
    azimuth_deg: FloatArray
    displacement_angstrom: FloatArray
    b_iso: FloatArray
    dynamical: NDArray[np.bool_]
    face_down: NDArray[np.bool_]

    @classmethod
    def draw_random(cls, count: int, rng: np.random.Generator) -> "Draws":
        """Draw conditions: half at 80 kV, the rest at 60 to 300; a quarter nearly untilted, the rest up to 5 degrees.

        The first draw is the ideal pattern: no tilt, no displacements, kinematic, 80 kV.
        """
        common = rng.random(count) < 0.5
        straight = rng.random(count) < 0.25
        draws = cls(
            voltage_kv=np.where(common, 80.0, np.exp(rng.uniform(np.log(60), np.log(300), count))),
            tilt_deg=np.where(straight, rng.uniform(0, 0.3, count), rng.uniform(0, MAX_TILT_DEG, count)),
            azimuth_deg=rng.uniform(0, 360, count),
            displacement_angstrom=rng.choice([0.0, 0.03, 0.06, 0.1], count, p=[0.2, 0.3, 0.35, 0.15]),
            b_iso=rng.uniform(0, 1.0, count),
            dynamical=rng.random(count) < 0.65,
            face_down=rng.random(count) < 0.5,
        )
        draws.voltage_kv[PERFECT_DRAW] = 80.0
        draws.dynamical[PERFECT_DRAW] = draws.face_down[PERFECT_DRAW] = False
        for still in (draws.tilt_deg, draws.displacement_angstrom, draws.b_iso):
            still[PERFECT_DRAW] = 0.0
        return draws

    @classmethod
    def draw_paper(cls, count: int, rng: np.random.Generator) -> "Draws":
        """Draw the conditions of DD2D: no tilt, kinematic, 80 kV, half with displacements of 0.1 angstrom."""
        still = np.zeros(count)
        return cls(
            voltage_kv=np.full(count, 80.0),
            tilt_deg=still,
            azimuth_deg=still,
            displacement_angstrom=np.where(rng.random(count) < 0.5, 0.1, 0.0),
            b_iso=still,
            dynamical=np.zeros(count, dtype=bool),
            face_down=np.zeros(count, dtype=bool),
        )


@dataclass(frozen=True)
class PatternPool:
    """Patterns of C crystals under S draws, with the P pairs that are strongest in any draw.

    Attributes:
        q: (C, P, 2) float32, 1/angstrom; 0 where there is no pair.
        log_intensity: (C, S, P, 2) float16, ln I(q) and ln I(-q) relative to the strongest of the draw.
        voltage_kv: (C, S) float32.
        present: (C, P) whether the pair exists.
    """

    q: NDArray[np.float32]
    log_intensity: Half
    voltage_kv: NDArray[np.float32]
    present: NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """Write the pool as an uncompressed NPZ; an existing file is replaced atomically."""
        with replace_file(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                q=self.q,
                log_intensity=self.log_intensity,
                voltage_kv=self.voltage_kv,
                present=self.present,
            )

    @classmethod
    def load(cls, path: Path) -> "PatternPool":
        """Read a file that `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in ("q", "log_intensity", "voltage_kv", "present")})

    @classmethod
    def concatenate(cls, pools: "Sequence[PatternPool]") -> "PatternPool":
        """Concatenate pools of consecutive crystals."""
        names = ("q", "log_intensity", "voltage_kv", "present")
        return cls(*(np.concatenate([getattr(pool, name) for pool in pools]) for name in names))


def compute_pool(
    crystals: Sequence[Crystal], draws: int, seed: int, regime: Regime = "library", workers: int = 2
) -> PatternPool:
    """Compute a pool; the draws depend only on the seed and on the position of the crystal."""
    size = 64
    jobs = [(crystals[i : i + size], draws, seed, i, regime) for i in range(0, len(crystals), size)]
    with _limit_process_threads(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        parts = list(tqdm(executor.map(_compute_chunk, jobs), total=len(jobs), desc="patterns", unit="chunk"))
    return PatternPool.concatenate(parts)


@contextmanager
def _limit_process_threads() -> Iterator[None]:
    """Give each process that starts inside the block one thread; NumPy reads the setting when it is imported."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _compute_chunk(job: tuple[Sequence[Crystal], int, int, int, Regime]) -> PatternPool:
    crystals, count, seed, start, regime = job
    draw = Draws.draw_paper if regime == "paper" else Draws.draw_random
    rows = [
        simulate_patterns(crystal, draw(count, rng), rng)
        for crystal, rng in ((c, np.random.default_rng([seed, start + i])) for i, c in enumerate(crystals))
    ]
    pool = PatternPool(
        q=np.zeros((len(rows), POOL_PAIRS, 2), dtype=np.float32),
        log_intensity=np.full((len(rows), count, POOL_PAIRS, 2), LOG_FLOOR, dtype=np.float16),
        voltage_kv=np.array([voltage for _, _, voltage in rows], dtype=np.float32),
        present=np.zeros((len(rows), POOL_PAIRS), dtype=bool),
    )
    for row, (q, log_intensity, _) in enumerate(rows):
        pool.q[row, : len(q)] = q
        pool.log_intensity[row, :, : len(q)] = log_intensity
        pool.present[row, : len(q)] = True
    return pool


def simulate_patterns(
    crystal: Crystal, draws: Draws, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Simulate the strongest pairs of one crystal under its draws.

    Returns:
        q (P, 2), 1/angstrom; ln intensities (S, P, 2) of both members relative to the strongest of the draw; voltages
        (S,).
    """
    count, atoms = len(draws.voltage_kv), len(crystal.numbers)
    displacements = rng.normal(size=(count, atoms, 3)) * draws.displacement_angstrom[:, None, None]
    hk = list_reflections(crystal.lattice, POOL_Q_MAX)
    intensity = np.empty((count, len(hk)))
    for face_down in (False, True):
        chosen = np.flatnonzero(draws.dynamical & (draws.face_down == face_down))
        if len(chosen):
            facing = _reflect(crystal) if face_down else crystal
            conditions = Conditions(
                draws.voltage_kv[chosen],
                _compute_tilts(draws)[chosen],
                displacements[chosen],
                draws.b_iso[chosen],
            )
            intensity[chosen] = compute_dynamical_intensities(facing, conditions, POOL_Q_MAX)[2]
    for s in np.flatnonzero(~draws.dynamical):
        geometry = Geometry(
            voltage_kv=float(draws.voltage_kv[s]),
            q_max_inv_angstrom=POOL_Q_MAX,
            tilt_deg=float(draws.tilt_deg[s]),
            tilt_azimuth_deg=float(draws.azimuth_deg[s]),
        )
        thermal = ThermalMotion(float(draws.b_iso[s]), float(draws.b_iso[s]))
        intensity[s] = compute_structure_factors(crystal, geometry, thermal, displacements[s]).intensity
    intensity /= intensity.max(axis=1, keepdims=True)
    pairs = intensity.reshape(count, 2, -1).transpose(0, 2, 1)
    kept = np.argsort(-pairs.max(axis=(0, 2)), kind="stable")[:POOL_PAIRS]
    log_intensity = np.maximum(np.log(pairs[:, kept] + 1e-30), LOG_FLOOR)
    return (hk[kept] @ reciprocal_lattice(crystal.lattice)), log_intensity, draws.voltage_kv


def _reflect(crystal: Crystal) -> Crystal:
    """Return the crystal reflected in its plane: turned over, with the in-plane mirror undone."""
    return replace(crystal, positions=crystal.positions * np.array([1.0, 1.0, -1.0]))


def _compute_tilts(draws: Draws) -> FloatArray:
    azimuth = np.radians(draws.azimuth_deg)
    tangents = np.array([tan(radians(tilt)) for tilt in draws.tilt_deg])
    return np.column_stack([tangents * np.cos(azimuth), tangents * np.sin(azimuth)])
