"""Simulates the examples of the page in app/web/examples: two frames and a list of points.

python docs/page_examples.py [--out app/web/examples]
"""

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray

from app.cli.frame_simulation import simulate_frame
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots

ROOT = Path(__file__).resolve().parents[1]
PIXEL_SIZE_INV_ANGSTROM, FRAME_SIZE_PX = 0.0072, 448
VOLTAGE_KV = 80.0
TWIST_DEG = 21.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "app/web/examples")
    out = parser.parse_args().out
    mos2 = read_structure((ROOT / "docs/examples/mos2.cif").read_text(), id="mos2", source="file")
    tilted = simulate(
        mos2, Geometry(tilt_deg=3.0, tilt_azimuth_deg=40, rotation_deg=17, q_max_inv_angstrom=1.5)
    )
    _write_frame(out / "mos2-tilted.tif", tilted, seed=1)
    graphene = simulate(create_layer(2.46, [6, 6], 0.0), Geometry(rotation_deg=8, q_max_inv_angstrom=1.5))
    _write_points(out / "graphene.json", graphene)
    pair = [
        simulate(layer, Geometry(rotation_deg=angle, q_max_inv_angstrom=1.5))
        for layer, angle in ((create_layer(3.28, [74, 34, 34], 1.67), 5.0), (mos2, 5.0 + TWIST_DEG))
    ]
    _write_frame(out / "twisted-pair.tif", superpose(pair[0], pair[1]), seed=2)


def simulate(crystal: Crystal, geometry: Geometry) -> Spots:
    """Simulate the spots of a crystal at the voltage of all examples."""
    return compute_kinematic_spots(crystal, replace(geometry, voltage_kv=VOLTAGE_KV), ThermalMotion(0.4, 0.6))


def create_layer(a: float, numbers: list[int], height: float) -> Crystal:
    """Create a hexagonal layer: a honeycomb of two atoms, or a metal between two chalcogens in trigonal prisms.

    Args:
        a: lattice constant, angstrom.
        numbers: atomic numbers; those of a trigonal prism begin with the metal.
        height: distance of the chalcogens from the plane of the metal, angstrom.
    """
    cell = np.array([[a, 0, 0], [-a / 2, a * np.sqrt(0.75), 0], [0, 0, 20.0]])
    levels = [0.0, height, -height][: len(numbers)]
    places: list[list[float]] = [[0, 0], [1 / 3, 2 / 3], [1 / 3, 2 / 3]]
    sites = [[*place, 0.5 + level / 20] for place, level in zip(places, levels, strict=False)]
    return Crystal.from_cell(cell, numbers, sites, id="layer", source="file")


def superpose(first: Spots, second: Spots) -> Spots:
    """Superpose two patterns with equal total intensities."""
    q = np.concatenate([first.q_inv_angstrom, second.q_inv_angstrom])
    assert first.intensity is not None
    assert second.intensity is not None
    scale = first.intensity.sum() / second.intensity.sum()
    return Spots(q, np.concatenate([first.intensity, scale * second.intensity]))


def _write_frame(path: Path, spots: Spots, seed: int) -> None:
    """Write a 16-bit TIFF file that states its scale like ImageJ does."""
    counts: NDArray[np.uint16] = simulate_frame(
        spots, pixel_size_inv_angstrom=PIXEL_SIZE_INV_ANGSTROM, size=FRAME_SIZE_PX, seed=seed
    )
    per_unit = 1 / (10 * PIXEL_SIZE_INV_ANGSTROM)
    tifffile.imwrite(
        path,
        counts,
        imagej=False,
        description="ImageJ=1.54\nunit=1/nm\n",
        resolution=(per_unit, per_unit),
        compression="zlib",
        predictor=True,
        metadata=None,
        software="dd2d",
    )


def _write_points(path: Path, spots: Spots) -> None:
    assert spots.intensity is not None
    strongest = float(spots.intensity.max())
    rows = [
        [round(x, 4), round(y, 4), float(f"{i / strongest:.4g}")]
        for (x, y), i in zip(spots.q_inv_angstrom.tolist(), spots.intensity.tolist(), strict=True)
    ]
    content = {"units": "1/angstrom", "voltage_kv": VOLTAGE_KV, "points": rows}
    path.write_text(json.dumps(content) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
