"""Draws docs/pattern-and-answer.png: a simulated frame, the top candidates, and the structure of the first.

python docs/figure.py INDEX [--structure docs/examples/mos2.cif] [--out docs/pattern-and-answer.png]
"""

import argparse
import io
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from PIL import Image

from app.cli.frame_simulation import simulate_png
from index.search.results import Candidate
from index.search.retriever import Retriever
from model.crystal.crystal import Crystal
from model.crystal.elements import element_symbol
from model.crystal.structure_files import read_structure
from model.pattern.options import PatternOptions
from model.pattern.read import read_pattern
from model.pattern.spots import Spots
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots
from model.towers.checkpoint import load_towers

PIXEL_SIZE_INV_ANGSTROM = 0.0055
CANDIDATES = 5
GEOMETRY = Geometry(tilt_deg=1.5, tilt_azimuth_deg=40, rotation_deg=17, q_max_inv_angstrom=1.35)
COLORS = ("#2f6db3", "#e0a526", "#b3432f", "#4f9d58", "#7a5aa6")


def main() -> None:
    options = _parse_options()
    crystal = read_structure(options.structure.read_text(), id=options.structure.stem, source="file")
    pattern = compute_kinematic_spots(crystal, GEOMETRY, ThermalMotion(0.4, 0.6))
    frame = simulate_png(pattern, pixel_size_inv_angstrom=PIXEL_SIZE_INV_ANGSTROM, size=512)
    spots = read_pattern(frame, "frame.png", PatternOptions(pixel_size_inv_angstrom=PIXEL_SIZE_INV_ANGSTROM))
    with Retriever.open(options.index, load_towers()) as retriever:
        candidates = retriever.search(spots, top_k=CANDIDATES, effort="verify").candidates
        crystals = len(retriever)
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(11, 3.9), layout="constrained")
    _draw_frame(left, frame, spots)
    _draw_candidates(middle, candidates, crystals)
    _draw_structure(right, candidates[0].entry.crystal)
    figure.savefig(options.out, dpi=110)


def _draw_frame(axes: Axes, frame: bytes, spots: Spots) -> None:
    counts = np.asarray(Image.open(io.BytesIO(frame)), dtype=float)
    axes.imshow(counts, cmap="gray", norm=LogNorm(15, 5000), interpolation="nearest")
    assert spots.pixels is not None
    axes.scatter(
        spots.pixels[:, 0], spots.pixels[:, 1], s=60, facecolors="none", edgecolors="#e0a526", linewidths=0.8
    )
    axes.set_title(f"Frame with {len(spots)} spots", fontsize=10)
    axes.set_axis_off()


def _draw_candidates(axes: Axes, candidates: tuple[Candidate, ...], crystals: int) -> None:
    rows = [
        [
            str(rank),
            candidate.entry.formula,
            _format_percent(candidate.probability or 0.0),
            candidate.entry.layer_group_symbol,
        ]
        for rank, candidate in enumerate(candidates, start=1)
    ]
    table = axes.table(
        rows, colLabels=["rank", "formula", "probability", "layer group"], loc="center", cellLoc="center"
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    table.scale(1.0, 1.6)
    axes.set_title(f"Top candidates among {crystals:,} crystals", fontsize=10)
    axes.set_axis_off()


def _format_percent(probability: float) -> str:
    return "< 0.1 %" if probability < 0.001 else f"{100 * probability:.1f} %"


def _draw_structure(axes: Axes, crystal: Crystal) -> None:
    """Draw the layer in top view with its unit cell. Heavier atoms are larger."""
    shifts = np.array([(i, j) for i in range(-3, 5) for j in range(-3, 5)]) @ crystal.lattice
    numbers = sorted(set(crystal.numbers.tolist()), reverse=True)
    for color, number in zip(COLORS, numbers, strict=False):
        atoms = crystal.positions[crystal.numbers == number, :2]
        x, y = (atoms[:, None] + shifts).reshape(-1, 2).T
        axes.scatter(x, y, s=30 + 3 * number, color=color, edgecolors="black", linewidths=0.5)
        axes.scatter([], [], s=60, color=color, label=element_symbol(number))
    a, b = crystal.lattice
    axes.plot(*np.array([[0, 0], a, a + b, b, [0, 0]]).T, color="black", linewidth=1.2)
    half_width = 1.6 * float(np.hypot(*a))
    middle = (a + b) / 2
    axes.set_xlim(middle[0] - half_width, middle[0] + half_width)
    axes.set_ylim(middle[1] - half_width, middle[1] + half_width)
    axes.set_aspect("equal")
    axes.legend(loc="upper right", fontsize=9)
    axes.set_title(f"Structure of the first candidate, {crystal.formula}", fontsize=10)
    axes.set_axis_off()


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("--structure", type=Path, default=Path("docs/examples/mos2.cif"))
    parser.add_argument("--out", type=Path, default=Path("docs/pattern-and-answer.png"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
