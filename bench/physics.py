"""Measure the speed of the physics and its deviation from an independent multislice; print them as JSON.

    python -m bench.physics [--shared ../shared] [--limit CRYSTALS]

Residuals are the standard deviations of ln I(benchmark) - ln I(this project) over the spots above 1e-3 of the
strongest, with the tilt and the displacements of the benchmark. Only the common scale is fitted.
"""

import argparse
import gzip
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.crystal.crystal import Crystal
from model.errors import CrystalError
from model.physics.kinematic import (
    Geometry,
    ThermalMotion,
    compute_structure_factors,
)
from model.physics.multislice import Conditions, compute_dynamical_intensities
from model.physics.scattering import DEBYE_WALLER_PER_SQUARED_DISPLACEMENT, SYMBOLS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

VOLTAGE_KV = 80.0
B_ISO = DEBYE_WALLER_PER_SQUARED_DISPLACEMENT * 0.06**2
"""The benchmark displaces atoms by 0.06 angstrom along each axis."""
Q_MAX = 1.6
WEAKEST = 1e-3


@dataclass(frozen=True)
class BenchmarkPattern:
    """A crystal in canonical orientation with its spots q (M, 2), intensities (M,) and tilt."""

    crystal: Crystal
    q_inv_angstrom: FloatArray
    intensity: FloatArray
    tilt_deg: float
    tilt_azimuth_deg: float
    is_bilayer: bool

    @property
    def hk(self) -> IntArray:
        """(M, 2) Miller indices of the spots."""
        return np.rint(self.q_inv_angstrom @ self.crystal.lattice.T).astype(np.int64)


def reduce_basis(lattice: FloatArray) -> FloatArray:
    """Return the shortest (2, 2) basis of the same lattice, with the same handedness and orientation."""
    a, b = lattice
    while True:
        if a @ a > b @ b + 1e-9:
            a, b = b, -a
        steps = np.rint(a @ b / (a @ a))
        if steps == 0:
            return np.array([a, b])
        b = b - steps * a


def read_pattern(entry: dict[str, Any]) -> BenchmarkPattern:
    """Read a pattern in the frame of its crystal (a along x); `Crystal.from_cell` could turn the layer over."""
    cell = np.array(entry["lattice"])
    positions = np.array(entry["frac"]) @ cell
    lattice = reduce_basis(cell[:2, :2])
    angle = np.arctan2(lattice[0, 1], lattice[0, 0])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    lattice = lattice @ turn
    lattice[0, 1] = 0.0
    height = positions[:, 2] - (positions[:, 2].min() + positions[:, 2].max()) / 2
    numbers = np.array([SYMBOLS.index(symbol) for symbol in entry["species"]])
    spots = np.array(entry["spots"])
    crystal = Crystal(
        entry["id"], "bench", lattice, numbers, np.column_stack([positions[:, :2] @ turn, height])
    )
    return BenchmarkPattern(
        crystal=crystal,
        q_inv_angstrom=spots[:, :2] @ turn,
        intensity=spots[:, 2],
        tilt_deg=entry["tilt_deg"],
        tilt_azimuth_deg=entry.get("tilt_azimuth_deg", 0.0) - np.degrees(angle),
        is_bilayer=entry["set"] == "bilayers",
    )


def compute_intensities(pattern: BenchmarkPattern, model: str) -> tuple[IntArray, FloatArray]:
    """Compute hk and intensities by the model "born", "eikonal" or "multislice"."""
    geometry = Geometry(
        voltage_kv=VOLTAGE_KV,
        q_max_inv_angstrom=Q_MAX,
        tilt_deg=pattern.tilt_deg,
        tilt_azimuth_deg=pattern.tilt_azimuth_deg,
        atom_model="eikonal" if model == "eikonal" else "born",
    )
    if model != "multislice":
        reflections = compute_structure_factors(pattern.crystal, geometry, ThermalMotion(B_ISO, B_ISO))
        return reflections.hk, reflections.intensity
    still = np.zeros((1, len(pattern.crystal.numbers), 3))
    conditions = Conditions(np.array([VOLTAGE_KV]), geometry.tilt_vector[None], still, np.array([B_ISO]))
    hk, _, intensity = compute_dynamical_intensities(pattern.crystal, conditions, Q_MAX)
    return hk, intensity[0]


def compute_residual(pattern: BenchmarkPattern, hk: IntArray, intensity: FloatArray) -> float:
    """Return the standard deviation of ln I(benchmark) - ln I(computed) over the strong spots."""
    row = {tuple(index): i for i, index in enumerate(hk.tolist())}
    strong = pattern.intensity > WEAKEST * pattern.intensity.max()
    strong &= np.linalg.norm(pattern.q_inv_angstrom, axis=1) < Q_MAX - 1e-3
    # A reflection that is forbidden in the model counts as a billion times too weak, not as an infinite deviation.
    ours = np.maximum(intensity, 1e-9 * intensity.max())[
        [row[tuple(hk)] for hk in pattern.hk[strong].tolist()]
    ]
    return float(np.std(np.log(pattern.intensity[strong]) - np.log(ours)))


def compute_residuals(path: Path) -> dict[str, dict[str, float]]:
    """Return the median residuals of the monolayers and bilayers in a benchmark file, by model."""
    with gzip.open(path, "rt") as lines:
        patterns = [read_pattern(entry) for entry in json.load(lines)]
    residuals: dict[str, dict[str, list[float]]] = {}
    for model in ("born", "eikonal", "multislice"):
        residuals[model] = defaultdict(list)
        for pattern in patterns:
            kind = "bilayers" if pattern.is_bilayer else "monolayers"
            residuals[model][kind].append(compute_residual(pattern, *compute_intensities(pattern, model)))
    return {
        model: {kind: round(float(np.median(values)), 3) for kind, values in kinds.items()}
        for model, kinds in residuals.items()
    }


def read_usable_crystals(folder: Path) -> Iterator[Crystal]:
    """Yield every usable crystal in the JSON-lines files of a folder."""
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt") as lines:
            for line in lines:
                entry = json.loads(line)
                numbers = [SYMBOLS.index(symbol) for symbol in entry["species"]]
                try:
                    yield Crystal.from_cell(
                        entry["lattice"], numbers, entry["frac"], id=entry["id"], source=entry["source"]
                    )
                except CrystalError:
                    continue


def measure_kinematic_speed(crystals: list[Crystal], geometry: Geometry) -> dict[str, float]:
    """Measure the time for all crystals on one core."""
    start = time.perf_counter()
    reflections = sum(len(compute_structure_factors(crystal, geometry).hk) for crystal in crystals)
    seconds = time.perf_counter() - start
    return {
        "crystals": len(crystals),
        "seconds": round(seconds, 2),
        "crystals_per_s": round(len(crystals) / seconds, 1),
        "reflections_per_crystal": round(reflections / len(crystals), 1),
    }


def measure_multislice_speed(crystals: list[Crystal], batch: int = 16) -> dict[str, float]:
    """Measure patterns per second, with `batch` conditions of a crystal at a time."""
    start = time.perf_counter()
    for crystal in crystals:
        still = np.zeros((batch, len(crystal.numbers), 3))
        conditions = Conditions(np.full(batch, VOLTAGE_KV), np.zeros((batch, 2)), still, np.zeros(batch))
        compute_dynamical_intensities(crystal, conditions, Q_MAX)
    seconds = time.perf_counter() - start
    return {"batch": batch, "patterns_per_s": round(batch * len(crystals) / seconds, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--limit", type=int, default=18_000, help="crystals for the speed")
    options = parser.parse_args()
    crystals = list(
        itertools.islice(read_usable_crystals(options.shared / "data" / "structures"), options.limit)
    )
    figures = {
        "kinematic": measure_kinematic_speed(crystals, Geometry(q_max_inv_angstrom=Q_MAX)),
        "kinematic_tilted_eikonal": measure_kinematic_speed(
            crystals, Geometry(q_max_inv_angstrom=Q_MAX, tilt_deg=2.0, atom_model="eikonal")
        ),
        "multislice": measure_multislice_speed(crystals[:: max(1, len(crystals) // 200)]),
        "residual_of_ln_intensity": {
            path.name: compute_residuals(path)
            for path in sorted((options.shared / "bench").glob("multislice_*.json.gz"))
        },
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
