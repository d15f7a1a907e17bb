"""The training pool: every crystal's patterns under many conditions, computed once.

Physics is the slow part of a training pair, noise the fast one. So a pool holds, for each crystal, its Friedel
pairs and their intensities under S draws of voltage, tilt and displacements, some kinematic, most by multislice;
augmentation then adds the instrument, anew each time.
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
"""Patterns as instruments give them, or as DD2D trained on: straight, kinematic, in one orientation, without noise."""

POOL_PAIRS = 112
POOL_Q_MAX = 1.7
LOG_FLOOR = -16.0
MAX_TILT_DEG = 5.0
PERFECT_DRAW = 0
POOL_FORM = 2
"""Counts the ways in which pools were drawn, so that no cache of an older one is read."""


@dataclass(frozen=True)
class Draws:
    """S conditions of one crystal.

    Attributes:
        voltage_kv: (S,).
        tilt_deg: (S,).
        azimuth_deg: (S,).
        displacement_angstrom: (S,) rms of the atoms' shifts along each axis.
        b_iso: (S,) Debye-Waller B, angstrom^2.
        dynamical: (S,) by multislice rather than kinematic.
        face_down: (S,) the beam meets the other face. Multiple scattering makes that more than a mirror image.
    """

    voltage_kv: FloatArray
    tilt_deg: FloatArray
    azimuth_deg: FloatArray
    displacement_angstrom: FloatArray
    b_iso: FloatArray
    dynamical: NDArray[np.bool_]
    face_down: NDArray[np.bool_]

    @classmethod
    def random(cls, count: int, rng: np.random.Generator) -> "Draws":
        """Half of the voltages 80 kV, the rest 60 to 300; a quarter straight, the rest tilted up to 5 degrees.

        The first draw is the perfect pattern: straight, still, kinematic, 80 kV.
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
    def paper(cls, count: int, rng: np.random.Generator) -> "Draws":
        """What DD2D trained on: straight, kinematic, 80 kV; half of the draws displaced by 0.1 angstrom."""
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
    """Patterns of C crystals, S draws each, the P strongest pairs of any draw.

    Attributes:
        q: (C, P, 2) float32, 1/angstrom, zeros where absent.
        log_intensity: (C, S, P, 2) float16, ln of I(q) and I(-q) over the strongest of the draw.
        voltage_kv: (C, S) float32.
        present: (C, P) the pair exists.
    """

    q: NDArray[np.float32]
    log_intensity: Half
    voltage_kv: NDArray[np.float32]
    present: NDArray[np.bool_]

    def save(self, path: Path) -> None:
        """Write as an uncompressed NPZ, by rename."""
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
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{name: arrays[name] for name in ("q", "log_intensity", "voltage_kv", "present")})

    @classmethod
    def joined(cls, pools: "Sequence[PatternPool]") -> "PatternPool":
        """The pools of consecutive crystals as one."""
        names = ("q", "log_intensity", "voltage_kv", "present")
        return cls(*(np.concatenate([getattr(pool, name) for pool in pools]) for name in names))


def compute_pool(
    crystals: Sequence[Crystal], draws: int, seed: int, regime: Regime = "library", workers: int = 2
) -> PatternPool:
    """Compute a pool; the draws depend on the seed and on the crystal's place alone."""
    size = 64
    jobs = [(crystals[i : i + size], draws, seed, i, regime) for i in range(0, len(crystals), size)]
    with _one_thread_a_process(), ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as executor:
        parts = list(tqdm(executor.map(_pool_of_chunk, jobs), total=len(jobs), desc="patterns", unit="chunk"))
    return PatternPool.joined(parts)


@contextmanager
def _one_thread_a_process() -> Iterator[None]:
    """Processes that begin meanwhile read this before their numpy starts threads of its own."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _pool_of_chunk(job: tuple[Sequence[Crystal], int, int, int, Regime]) -> PatternPool:
    crystals, count, seed, start, regime = job
    drawn = Draws.paper if regime == "paper" else Draws.random
    rows = [
        simulate_patterns(crystal, drawn(count, rng), rng)
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
    """Strongest pairs of one crystal under its draws.

    Returns:
        q (P, 2), 1/angstrom; ln intensities (S, P, 2) of each pair's members over the draw's strongest; voltages (S,).
    """
    count, atoms = len(draws.voltage_kv), len(crystal.numbers)
    displacements = rng.normal(size=(count, atoms, 3)) * draws.displacement_angstrom[:, None, None]
    hk = list_reflections(crystal.lattice, POOL_Q_MAX)
    intensity = np.empty((count, len(hk)))
    for face_down in (False, True):
        chosen = np.flatnonzero(draws.dynamical & (draws.face_down == face_down))
        if len(chosen):
            seen = _turned_over(crystal) if face_down else crystal
            conditions = Conditions(
                draws.voltage_kv[chosen], _tilts(draws)[chosen], displacements[chosen], draws.b_iso[chosen]
            )
            intensity[chosen] = compute_dynamical_intensities(seen, conditions, POOL_Q_MAX)[2]
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


def _turned_over(crystal: Crystal) -> Crystal:
    """Its other face towards the beam, with the mirror that this makes in the plane taken back."""
    return replace(crystal, positions=crystal.positions * np.array([1.0, 1.0, -1.0]))


def _tilts(draws: Draws) -> FloatArray:
    azimuth = np.radians(draws.azimuth_deg)
    tangents = np.array([tan(radians(tilt)) for tilt in draws.tilt_deg])
    return np.column_stack([tangents * np.cos(azimuth), tangents * np.sin(azimuth)])
