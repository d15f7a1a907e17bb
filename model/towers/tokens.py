"""Tokens of crystals and patterns, and the batches that the towers receive.

Axes: B samples, P Friedel pairs or rods, N atoms, G heights on a rod of the reciprocal lattice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from model.crystal.crystal import Crystal
from model.pattern.friedel_pairs import FriedelPairs
from model.physics.reciprocal import list_reflections, reciprocal_lattice
from model.physics.scattering import electron_form_factor

FloatArray = NDArray[np.float64]

MAX_PAIRS = 64
Q_MAX_INV_ANGSTROM = 1.6
ROD_HEIGHTS_INV_ANGSTROM = (-0.12, -0.08, -0.04, 0.0, 0.04, 0.08, 0.12)
"""Sampled heights of a rod. A layer 12 angstrom thick needs steps of 1 / 24; 0.12 is q = 1.4 tilted by 5 degrees."""
INTENSITY_FLOOR = 1e-5
SHELL_TOLERANCE = 1e-3


@dataclass(frozen=True)
class PatternBatch:
    """Measured patterns with one token for each Friedel pair.

    Attributes:
        q: (B, P, 2) scattering vector of the first member, 1/angstrom; 0 where there is no token.
        log_intensity: (B, P) ln of the pair's mean intensity relative to the strongest pair; 0 where unknown.
        log_ratio: (B, P) ln I(q) / I(-q); 0 unless both members were measured.
        paired: (B, P) whether both members were measured.
        present: (B, P) whether the token exists.
        has_intensity: (B,) whether the pattern has intensities.
        voltage_kv: (B,) accelerating voltage.
    """

    q: Tensor
    log_intensity: Tensor
    log_ratio: Tensor
    paired: Tensor
    present: Tensor
    has_intensity: Tensor
    voltage_kv: Tensor

    def __len__(self) -> int:
        return len(self.q)

    def sort_keys(self) -> Tensor:
        """Return (B,) keys that sort samples by length."""
        return self.present.sum(1)

    def truncate(self, pairs: int) -> "PatternBatch":
        """Return a batch with the first `pairs` tokens of each pattern, the strongest."""
        cut = {f.name: getattr(self, f.name) for f in fields(self)}
        return PatternBatch(**{k: v[:, :pairs] if v.dim() > 1 else v for k, v in cut.items()})

    def select(self, rows: Tensor) -> "PatternBatch":
        """Return the samples at these rows, padded to the longest of them."""
        width = max(int(self.present[rows].sum(1).max()), 1)
        cut = {f.name: getattr(self, f.name)[rows] for f in fields(self)}
        return PatternBatch(**{k: v[:, :width] if v.dim() > 1 else v for k, v in cut.items()})


@dataclass(frozen=True)
class CrystalBatch:
    """Crystals as the paper's sequence and as rods of their reciprocal lattice.

    Attributes:
        cell: (B, 6) a, b, c in angstrom, alpha, beta, gamma in degrees; c is the thickness of the slab.
        numbers: (B, N) atomic numbers; 0 where there is no token.
        positions: (B, N, 3) Cartesian, angstrom, with canonical origin and axes.
        q: (B, P, 2) one member of each Friedel pair, 1/angstrom.
        rods: (B, P, G) ln |F(q, q_z)|^2 relative to the strongest rod, with a floor.
        present: (B, P) whether the rod token exists.
    """

    cell: Tensor
    numbers: Tensor
    positions: Tensor
    q: Tensor
    rods: Tensor
    present: Tensor

    def __len__(self) -> int:
        return len(self.cell)

    def sort_keys(self) -> Tensor:
        """Return (B,) keys that sort samples by length: by rods first, then by atoms."""
        return self.present.sum(1) * 1024 + (self.numbers > 0).sum(1)

    def select(self, rows: Tensor) -> "CrystalBatch":
        """Return the samples at these rows, padded to the longest of them."""
        pairs = max(int(self.present[rows].sum(1).max()), 1)
        atoms = max(int((self.numbers[rows] > 0).sum(1).max()), 1)
        return CrystalBatch(
            self.cell[rows],
            self.numbers[rows][:, :atoms],
            self.positions[rows][:, :atoms],
            self.q[rows][:, :pairs],
            self.rods[rows][:, :pairs],
            self.present[rows][:, :pairs],
        )

    def truncate(self, pairs: int) -> "CrystalBatch":
        """Return a batch with the first `pairs` rods of each crystal, the strongest."""
        cut = {name: getattr(self, name)[:, :pairs] for name in ("q", "rods", "present")}
        return replace(self, **cut)

    def drop_atoms(self) -> "CrystalBatch":
        """Return the same crystals with only cell and rods."""
        return replace(self, numbers=self.numbers[:, :0], positions=self.positions[:, :0])


@dataclass(frozen=True)
class CrystalTokens:
    """Tokens of one crystal before padding; arrays as in `CrystalBatch` without B."""

    cell: FloatArray
    numbers: NDArray[np.int64]
    positions: FloatArray
    q: FloatArray
    rods: FloatArray

    @classmethod
    def from_crystal(cls, crystal: Crystal) -> "CrystalTokens":
        """Compute sequence and rods of a crystal; shells of equal intensity are kept whole, as symmetry demands."""
        hk = list_reflections(crystal.lattice, Q_MAX_INV_ANGSTROM)
        hk = hk[: len(hk) // 2]
        q = hk @ reciprocal_lattice(crystal.lattice)
        intensity = _compute_rods(crystal, q)
        strength = intensity[:, 2:5].mean(axis=1)
        kept = _select_strongest_shells(strength)
        strongest = max(float(strength.max(initial=0.0)), 1e-30)
        rods = np.log(intensity[kept] / strongest + INTENSITY_FLOOR)
        return cls(_compute_cell(crystal), crystal.numbers, crystal.positions, q[kept], rods)


def _compute_rods(crystal: Crystal, q: FloatArray) -> FloatArray:
    """Return (M, G) kinematic |F(q, q_z)|^2 at M scattering vectors and G heights."""
    factors = electron_form_factor(crystal.numbers, np.linalg.norm(q, axis=1))
    in_plane = factors * np.exp(2j * np.pi * (q @ crystal.positions[:, :2].T))
    along_rod = np.exp(-2j * np.pi * np.outer(crystal.positions[:, 2], ROD_HEIGHTS_INV_ANGSTROM))
    intensity: FloatArray = np.abs(in_plane @ along_rod) ** 2
    return intensity


def _select_strongest_shells(strength: FloatArray) -> NDArray[np.int64]:
    """Return the indices of at most MAX_PAIRS rods, strongest first, without splitting a shell of equal intensities."""
    order = np.argsort(-strength, kind="stable")
    if len(order) <= MAX_PAIRS:
        return order
    cut = MAX_PAIRS
    first_excluded = strength[order[MAX_PAIRS]]
    while cut > 1 and strength[order[cut - 1]] <= first_excluded * (1 + SHELL_TOLERANCE):
        cut -= 1
    return order[:cut] if cut > 1 else order[:MAX_PAIRS]


def _compute_cell(crystal: Crystal) -> FloatArray:
    (a, b), heights = np.linalg.norm(crystal.lattice, axis=1), crystal.positions[:, 2]
    gamma = np.degrees(np.arccos(np.clip(crystal.lattice[0] @ crystal.lattice[1] / (a * b), -1, 1)))
    return np.array([a, b, np.ptp(heights), 90.0, 90.0, gamma])


def batch_crystals(tokens: Sequence[CrystalTokens]) -> CrystalBatch:
    """Combine crystals into a batch, padded to the longest of them."""
    return CrystalBatch(
        cell=torch.tensor(np.array([t.cell for t in tokens]), dtype=torch.float32),
        numbers=_pad([t.numbers for t in tokens], torch.int64),
        positions=_pad([t.positions for t in tokens]),
        q=_pad([t.q for t in tokens]),
        rods=_pad([t.rods for t in tokens]),
        present=_pad([np.ones(len(t.q), dtype=bool) for t in tokens], torch.bool),
    )


def batch_patterns(patterns: Sequence[FriedelPairs], voltage_kv: Sequence[float]) -> PatternBatch:
    """Combine patterns into a batch, padded to the longest of them; each keeps its MAX_PAIRS strongest pairs."""
    cut = [pattern.select_strongest(MAX_PAIRS, Q_MAX_INV_ANGSTROM) for pattern in patterns]
    return PatternBatch(
        q=_pad([p.q_inv_angstrom for p in cut]),
        log_intensity=_pad([np.maximum(p.log_intensity, np.log(INTENSITY_FLOOR)) for p in cut]),
        log_ratio=_pad([p.log_ratio for p in cut]),
        paired=_pad([p.paired for p in cut], torch.bool),
        present=_pad([np.ones_like(p.paired) for p in cut], torch.bool),
        has_intensity=torch.tensor([p.has_intensity for p in cut]),
        voltage_kv=torch.tensor(list(voltage_kv), dtype=torch.float32),
    )


def _pad(rows: Sequence[NDArray[np.generic]], dtype: torch.dtype = torch.float32) -> Tensor:
    padded = np.zeros((len(rows), max(map(len, rows)), *rows[0].shape[1:]), dtype=rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded).to(dtype)
