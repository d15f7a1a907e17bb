"""Draw a pattern as a figure of panels, one for each crystal compared with it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from app.presentation.schemas.match import MatchSchema
from app.presentation.svg import (
    cross_segments,
    write_circle,
    write_document,
    write_element,
    write_lines,
    write_text,
)
from model.indexing.pattern_lattice import PatternLattice
from model.matching.match import Match, ReflectionTable
from model.pattern.spots import Spots

FloatArray = NDArray[np.float64]

PANEL_SIDE, CAPTION_HEIGHT, MARGIN = 420, 40, 20
MAX_COLUMNS = 3
_BORDER, _DIRECT_BEAM_RADIUS, _CROSS_ARM = 4, 2.0, 4.0
_STYLE = """
  svg { background: #fff; font: 13px system-ui, sans-serif; fill: #222 }
  .spot { fill: #9aa0a6 } .reflection { fill: none; stroke: #1a5fb4; stroke-width: 1.2 }
  .missing { fill: none; stroke: #c01c28; stroke-width: 1.4; stroke-dasharray: 3 2 }
  .extra { stroke: #c64600; stroke-width: 1.6 } .lattice { stroke: #26a269; stroke-width: 1.6 }
  .deciding { fill: none; stroke: #e5a50a; stroke-width: 3 } .border { fill: none; stroke: #ccc }
  .small { font-size: 11px; fill: #555 }
"""


@dataclass(frozen=True)
class Panel:
    """A crystal drawn over the pattern.

    Attributes:
        title: name of the crystal.
        caption: how well it fits.
        match: gives the positions of its reflections; None draws the spots alone.
        deciding: rows of the match's reflection table to highlight.
    """

    title: str
    caption: str
    match: Match | None
    deciding: Sequence[int] = ()


def draw_figure(spots: Spots, lattice: PatternLattice | None, panels: Sequence[Panel]) -> str:
    """Draw a figure as SVG; without panels, a single one shows the pattern.

    Spots are discs, larger for stronger ones. Computed reflections are rings, missing ones dashed and red. Spots
    without a reflection have a cross. Deciding reflections have a thick yellow ring.

    Args:
        spots: the pattern.
        lattice: of the pattern; its two vectors are drawn.
        panels: the crystals.
    """
    panels = panels or [Panel("The pattern", f"{len(spots)} spots", None)]
    columns, rows = min(len(panels), MAX_COLUMNS), -(-len(panels) // MAX_COLUMNS)
    return write_document(
        columns * PANEL_SIDE,
        rows * (PANEL_SIDE + CAPTION_HEIGHT),
        f"Diffraction pattern, {len(spots)} spots",
        [
            write_element("style", _STYLE),
            *(_draw_panel(panel, spots, lattice, number) for number, panel in enumerate(panels)),
        ],
    )


def _draw_panel(panel: Panel, spots: Spots, lattice: PatternLattice | None, number: int) -> str:
    row, column = divmod(number, MAX_COLUMNS)
    inner = PANEL_SIDE - 2 * _BORDER
    border = {"x": _BORDER, "y": _BORDER, "width": inner, "height": inner}
    x, y = column * PANEL_SIDE, row * (PANEL_SIDE + CAPTION_HEIGHT)
    return write_element(
        "g",
        write_element("rect", class_="border", **border),
        write_element("clipPath", write_element("rect", **border), id=f"c{number}"),
        write_element("g", *_draw_pattern(panel, spots, lattice), clip_path=f"url(#c{number})"),
        write_text("text", panel.title, x=10, y=PANEL_SIDE + 14),
        write_text("text", panel.caption, class_="small", x=10, y=PANEL_SIDE + 31),
        transform=f"translate({x} {y})",
    )


def _draw_pattern(panel: Panel, spots: Spots, lattice: PatternLattice | None) -> Iterator[str]:
    projection = _PanelProjection.fit_to(spots)
    for q, radius in zip(spots.q_inv_angstrom, _spot_radii(spots), strict=True):
        yield write_circle(*projection.project(q), radius, class_="spot")
    origin = projection.project(np.zeros(2))
    yield write_circle(*origin, _DIRECT_BEAM_RADIUS, class_="reflection")
    if lattice is not None:
        for vector in lattice.basis:
            yield write_lines([(*origin, *projection.project(vector))], class_="lattice")
    if panel.match is not None:
        yield from _draw_reflections(panel.match.reflections, panel.deciding, projection)


def _draw_reflections(
    table: ReflectionTable, deciding: Sequence[int], projection: "_PanelProjection"
) -> Iterator[str]:
    for row, status in enumerate(table.status):
        is_extra = status == "extra"
        q = table.q_measured[row] if is_extra else table.q_computed[row]
        log_intensity = table.log_intensity_measured[row] if is_extra else table.log_intensity_computed[row]
        (x, y), radius = projection.project(q), _radius(float(log_intensity)) + 1.5
        if row in deciding:
            yield write_circle(x, y, radius + 3, class_="deciding")
        if is_extra:
            yield write_lines(cross_segments(x, y, _CROSS_ARM), class_="extra")
        else:
            yield write_circle(x, y, radius, class_="missing" if status == "missing" else "reflection")


@dataclass(frozen=True)
class _PanelProjection:
    """Maps scattering vectors to pixels of a panel: x to the right and y down, as on a camera.

    Attributes:
        pixels_per_q: pixels in 1/angstrom.
    """

    pixels_per_q: float

    @classmethod
    def fit_to(cls, spots: Spots) -> "_PanelProjection":
        """Choose the scale at which nearly all spots are visible."""
        q_max = float(np.quantile(np.hypot(*spots.q_inv_angstrom.T), 0.98)) * 1.05
        return cls((PANEL_SIDE / 2 - MARGIN) / q_max)

    def project(self, q_inv_angstrom: FloatArray) -> tuple[float, float]:
        """Return the pixel of a scattering vector (2,)."""
        x, y = (PANEL_SIDE / 2 + self.pixels_per_q * q_inv_angstrom).tolist()
        return x, y


def _spot_radii(spots: Spots) -> list[float]:
    if spots.intensity is None:
        return [4.0] * len(spots)
    return [_radius(float(level)) for level in np.log(spots.intensity / spots.intensity.max())]


def _radius(log_intensity: float) -> float:
    """Return a radius in pixels; a hundredth of the intensity has half of the radius."""
    return 4.0 if np.isnan(log_intensity) else float(max(7.0 + 0.76 * log_intensity, 1.2))


def describe_fit(likelihood: str, probability: float | None, match: MatchSchema | None) -> str:
    """Describe how well a structure fits, for the caption of a picture."""
    parts = [likelihood]
    if probability is not None:
        parts.append(f"probability {probability:.3f}")
    if match is not None:
        parts += [] if match.r_factor is None else [f"R {match.r_factor:.3f}"]
        parts.append(f"tilt {match.tilt_deg:.1f}°")
    return ", ".join(parts)
