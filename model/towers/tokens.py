"""Typed batches: what the towers are given, with masks and kinds as named fields.

Axes: B samples, P Friedel pairs, N atoms, G heights on a reciprocal-lattice rod.
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
"""Where rods are sampled. A layer 12 angstrom thick needs 1 / 24; 0.12 is q = 1.4 tilted by 5 degrees."""
INTENSITY_FLOOR = 1e-5
SAME_SHELL = 1e-3


@dataclass(frozen=True)
class PatternBatch:
    """Measured patterns, a token a Friedel pair.

    Attributes:
        q: (B, P, 2) towards the member that `log_ratio` puts first, 1/angstrom; zeros where absent.
        log_intensity: (B, P) ln of the pair's mean intensity over that of the strongest; 0 where unknown.
        log_ratio: (B, P) ln I(q) / I(-q); 0 unless both were measured.
        paired: (B, P) both members were measured.
        present: (B, P) the token exists.
        has_intensity: (B,) the pattern carries intensities.
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

    def lengths(self) -> Tensor:
        """(B,) key that orders samples by length."""
        return self.present.sum(1)

    def shortened(self, pairs: int) -> "PatternBatch":
        """With the first `pairs` of each pattern alone, its strongest."""
        cut = {f.name: getattr(self, f.name) for f in fields(self)}
        return PatternBatch(**{k: v[:, :pairs] if v.dim() > 1 else v for k, v in cut.items()})

    def take(self, rows: Tensor) -> "PatternBatch":
        """The samples at these rows, cut to the longest of them."""
        width = max(int(self.present[rows].sum(1).max()), 1)
        cut = {f.name: getattr(self, f.name)[rows] for f in fields(self)}
        return PatternBatch(**{k: v[:, :width] if v.dim() > 1 else v for k, v in cut.items()})


@dataclass(frozen=True)
class CrystalBatch:
    """Crystals as the paper's sequence, and the rods of their reciprocal lattice beside it.

    Attributes:
        cell: (B, 6) a, b, c in angstrom, alpha, beta, gamma in degrees; c is the thickness of the slab.
        numbers: (B, N) atomic numbers, 0 where absent.
        positions: (B, N, 3) Cartesian, angstrom, canonical origin and axes.
        q: (B, P, 2) one of each Friedel pair, 1/angstrom.
        rods: (B, P, G) ln |F(q, q_z)|^2 over that of the strongest rod, floored.
        present: (B, P) the rod token exists.
    """

    cell: Tensor
    numbers: Tensor
    positions: Tensor
    q: Tensor
    rods: Tensor
    present: Tensor

    def __len__(self) -> int:
        return len(self.cell)

    def lengths(self) -> Tensor:
        """(B,) key that orders samples by length: pairs first, then atoms."""
        return self.present.sum(1) * 1024 + (self.numbers > 0).sum(1)

    def take(self, rows: Tensor) -> "CrystalBatch":
        """The samples at these rows, cut to the longest of them."""
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

    def shortened(self, pairs: int) -> "CrystalBatch":
        """With the first `pairs` rods of each crystal alone, its strongest."""
        cut = {name: getattr(self, name)[:, :pairs] for name in ("q", "rods", "present")}
        return replace(self, **cut)

    def drop_atoms(self) -> "CrystalBatch":
        """The same crystals with cell and rods alone."""
        return replace(self, numbers=self.numbers[:, :0], positions=self.positions[:, :0])


@dataclass(frozen=True)
class CrystalTokens:
    """The tokens of one crystal before padding; arrays as in `CrystalBatch` without B."""

    cell: FloatArray
    numbers: NDArray[np.int64]
    positions: FloatArray
    q: FloatArray
    rods: FloatArray

    @classmethod
    def from_crystal(cls, crystal: Crystal) -> "CrystalTokens":
        """Sequence and rods of a crystal; rods are cut at whole shells of equal intensity, so symmetry holds."""
        hk = list_reflections(crystal.lattice, Q_MAX_INV_ANGSTROM)
        hk = hk[: len(hk) // 2]
        q = hk @ reciprocal_lattice(crystal.lattice)
        intensity = _rod_intensities(crystal, q)
        strength = intensity[:, 2:5].mean(axis=1)
        kept = _strongest_shells(strength)
        strongest = max(float(strength.max(initial=0.0)), 1e-30)
        rods = np.log(intensity[kept] / strongest + INTENSITY_FLOOR)
        return cls(_cell_parameters(crystal), crystal.numbers, crystal.positions, q[kept], rods)


def _rod_intensities(crystal: Crystal, q: FloatArray) -> FloatArray:
    """(M, G) kinematic |F(q, q_z)|^2: one product of an (M, N) with an (N, G) matrix."""
    factors = electron_form_factor(crystal.numbers, np.linalg.norm(q, axis=1))
    in_plane = factors * np.exp(2j * np.pi * (q @ crystal.positions[:, :2].T))
    along_rod = np.exp(-2j * np.pi * np.outer(crystal.positions[:, 2], ROD_HEIGHTS_INV_ANGSTROM))
    intensity: FloatArray = np.abs(in_plane @ along_rod) ** 2
    return intensity


def _strongest_shells(strength: FloatArray) -> NDArray[np.int64]:
    """Indices of at most MAX_PAIRS strongest, strongest first; a shell of equal intensities is kept or left whole."""
    order = np.argsort(-strength, kind="stable")
    if len(order) <= MAX_PAIRS:
        return order
    cut = MAX_PAIRS
    first_out = strength[order[MAX_PAIRS]]
    while cut > 1 and strength[order[cut - 1]] <= first_out * (1 + SAME_SHELL):
        cut -= 1
    return order[:cut] if cut > 1 else order[:MAX_PAIRS]


def _cell_parameters(crystal: Crystal) -> FloatArray:
    (a, b), heights = np.linalg.norm(crystal.lattice, axis=1), crystal.positions[:, 2]
    gamma = np.degrees(np.arccos(np.clip(crystal.lattice[0] @ crystal.lattice[1] / (a * b), -1, 1)))
    return np.array([a, b, np.ptp(heights), 90.0, 90.0, gamma])


def batch_crystals(tokens: Sequence[CrystalTokens]) -> CrystalBatch:
    """Pad crystals to the longest of them."""
    pairs, atoms = max(len(t.q) for t in tokens), max(len(t.numbers) for t in tokens)
    return CrystalBatch(
        cell=torch.tensor(np.array([t.cell for t in tokens]), dtype=torch.float32),
        numbers=_padded([t.numbers for t in tokens], atoms, torch.int64),
        positions=_padded([t.positions for t in tokens], atoms),
        q=_padded([t.q for t in tokens], pairs),
        rods=_padded([t.rods for t in tokens], pairs),
        present=_padded([np.ones(len(t.q), dtype=bool) for t in tokens], pairs, torch.bool),
    )


def batch_patterns(patterns: Sequence[FriedelPairs], voltage_kv: Sequence[float]) -> PatternBatch:
    """Pad patterns to the longest of them, each cut to its MAX_PAIRS most telling pairs."""
    cut = [pattern.select_strongest(MAX_PAIRS, Q_MAX_INV_ANGSTROM) for pattern in patterns]
    width = max(len(pattern) for pattern in cut)
    return PatternBatch(
        q=_padded([p.q_inv_angstrom for p in cut], width),
        log_intensity=_padded([np.maximum(p.log_intensity, np.log(INTENSITY_FLOOR)) for p in cut], width),
        log_ratio=_padded([p.log_ratio for p in cut], width),
        paired=_padded([p.paired for p in cut], width, torch.bool),
        present=_padded([np.ones(len(p), dtype=bool) for p in cut], width, torch.bool),
        has_intensity=torch.tensor([p.has_intensity for p in cut]),
        voltage_kv=torch.tensor(list(voltage_kv), dtype=torch.float32),
    )


def _padded(rows: Sequence[NDArray[np.generic]], width: int, dtype: torch.dtype = torch.float32) -> Tensor:
    padded = np.zeros((len(rows), width, *rows[0].shape[1:]), dtype=rows[0].dtype)
    for target, row in zip(padded, rows, strict=True):
        target[: len(row)] = row
    return torch.from_numpy(padded).to(dtype)
