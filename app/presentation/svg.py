"""A pattern as a picture: what was measured, what was computed, and where they part. SVG, without any script."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np
from numpy.typing import NDArray

from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match, ReflectionTable
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]

SIDE = 420
MARGIN = 20
CAPTION = 40
COLUMNS = 3
_STYLE = """
  svg { background: #fff; font: 13px system-ui, sans-serif; fill: #222 }
  .spot { fill: #9aa0a6 } .beam { fill: none; stroke: #1a5fb4; stroke-width: 1.2 }
  .missing { fill: none; stroke: #c01c28; stroke-width: 1.4; stroke-dasharray: 3 2 }
  .extra { stroke: #c64600; stroke-width: 1.6 } .lattice { stroke: #26a269; stroke-width: 1.6 }
  .decides { fill: none; stroke: #e5a50a; stroke-width: 3 } .frame { fill: none; stroke: #ccc }
  .small { font-size: 11px; fill: #555 }
"""


@dataclass(frozen=True)
class Panel:
    """One crystal over the pattern.

    Attributes:
        title: its name.
        told: how well it fits.
        match: where its beams lie; None draws the spots alone.
        marked: lines of the match that decide.
    """

    title: str
    told: str
    match: Match | None
    marked: Sequence[int] = ()


def drawn(spots: Spots, lattice: PatternLattice | None, panels: Sequence[Panel]) -> str:
    """The picture.

    Args:
        spots: the pattern: discs, larger where brighter.
        lattice: its own: the two vectors.
        panels: crystals: rings where a beam is computed, dashed red ones where a beam is missing, crosses on spots
            without a beam, thick yellow rings on what decides.
    """
    columns = min(len(panels), COLUMNS)
    rows = -(-len(panels) // COLUMNS)
    width, height = columns * SIDE, rows * (SIDE + CAPTION)
    body = [_panel(each, spots, lattice, index) for index, each in enumerate(panels)]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'width="{width}" height="{height}" role="img">',
            f"<title>Diffraction pattern, {len(spots)} spots</title>",
            f"<style>{_STYLE}</style>",
            *body,
            "</svg>",
        ]
    )


def _panel(panel: Panel, spots: Spots, lattice: PatternLattice | None, index: int) -> str:
    x, y = (index % COLUMNS) * SIDE, (index // COLUMNS) * (SIDE + CAPTION)
    view = _View(float(np.quantile(np.hypot(*spots.q_inv_angstrom.T), 0.98)) * 1.05)
    parts = [
        f'<g transform="translate({x} {y})">',
        f'<rect class="frame" x="4" y="4" width="{SIDE - 8}" height="{SIDE - 8}"/>',
        f'<clipPath id="c{index}"><rect x="4" y="4" width="{SIDE - 8}" height="{SIDE - 8}"/></clipPath>',
        f'<g clip-path="url(#c{index})">',
        *(
            view.circle("spot", q, radius)
            for q, radius in zip(spots.q_inv_angstrom, _radii(spots), strict=True)
        ),
        view.circle("beam", np.zeros(2), 2.0),
    ]
    if lattice is not None:
        parts += [view.line("lattice", vector) for vector in lattice.basis]
    if panel.match is not None:
        parts += _beams(panel.match.reflections, panel.marked, view)
    parts.append("</g>")
    parts.append(f'<text x="10" y="{SIDE + 14}">{_text(panel.title)}</text>')
    parts.append(f'<text class="small" x="10" y="{SIDE + 31}">{_text(panel.told)}</text></g>')
    return "\n".join(parts)


def _beams(beams: ReflectionTable, marked: Sequence[int], view: "_View") -> list[str]:
    parts: list[str] = []
    for row, status in enumerate(beams.status):
        place = beams.q_measured[row] if status == "extra" else beams.q_computed[row]
        level = beams.log_intensity_measured[row] if status == "extra" else beams.log_intensity_computed[row]
        radius = _radius(float(level)) + 1.5
        if row in marked:
            parts.append(view.circle("decides", place, radius + 3))
        parts.append(
            view.cross("extra", place) if status == "extra" else view.circle(_CLASS[status], place, radius)
        )
    return parts


_CLASS = {"explained": "beam", "missing": "missing"}


@dataclass(frozen=True)
class _View:
    """From reciprocal space to the panel, x to the right and y down as on a camera."""

    q_max: float

    def point(self, q: FloatArray) -> tuple[float, float]:
        x, y = q.tolist()
        scale = (SIDE / 2 - MARGIN) / self.q_max
        return SIDE / 2 + x * scale, SIDE / 2 + y * scale

    def circle(self, kind: str, q: FloatArray, radius: float) -> str:
        x, y = self.point(q)
        return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'

    def cross(self, kind: str, q: FloatArray) -> str:
        x, y = self.point(q)
        return f'<path class="{kind}" d="M{x - 4:.1f} {y - 4:.1f}l8 8m0 -8l-8 8"/>'

    def line(self, kind: str, q: FloatArray) -> str:
        x, y = self.point(q)
        return f'<path class="{kind}" d="M{SIDE / 2:.1f} {SIDE / 2:.1f}L{x:.1f} {y:.1f}"/>'


def _text(words: str) -> str:
    """Escaped; characters that XML does not know are replaced."""
    return escape(_NO_XML.sub("\N{REPLACEMENT CHARACTER}", words))


_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def _radii(spots: Spots) -> list[float]:
    if spots.intensity is None:
        return [4.0] * len(spots)
    return [_radius(float(level)) for level in np.log(spots.intensity / spots.intensity.max())]


def _radius(log_intensity: float) -> float:
    """Pixels; a hundredth of the intensity is half as wide."""
    return 4.0 if np.isnan(log_intensity) else float(max(7.0 + 0.76 * log_intensity, 1.2))
