"""Inspect a pattern without a search: its spots, its lattice, its quality, and a picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import NotAcceptableError
from app.presentation.formats import PNG, SVG
from app.presentation.frame_overlay import FramePicture, draw_frame
from app.presentation.pattern_figure import draw_figure
from app.presentation.schemas.inspect import FrameSchema, Inspection, SpotSchema
from app.presentation.serialize import serialize_position, serialize_query
from app.services.options import InspectOptions
from app.services.search_index import get_software_version
from app.services.uploads import ParsedRequest, read_pattern
from model.errors import OptionError
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.indexing.picked_lattice import refine_picked_lattice
from model.pattern.detection.peak_detection import measure_peaks_at
from model.pattern.frame import Frame
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.stopwatch import Stopwatch

# Height of a spot above the background, in standard uncertainties, from which a requested position has one.
MIN_SIGNIFICANCE = 2.0


@dataclass(frozen=True)
class InspectionReport:
    """The answer to an inspection.

    Attributes:
        answer: the answer for JSON.
        spots: the spots of the pattern.
        lattice: the pattern's lattice.
        frame: the frame with the spots; None for points.
        marks: whether pictures show spots, center and lattice.
    """

    answer: Inspection
    spots: Spots
    lattice: PatternLattice | None
    frame: Frame | None
    marks: bool

    def write(self, media_type: str) -> bytes:
        """Return the inspection in a media type; NotAcceptableError for a PNG of points."""
        if media_type == PNG:
            return self.write_png()
        return (self.write_svg() if media_type == SVG else self.answer.model_dump_json()).encode()

    def write_svg(self) -> str:
        """Return the frame, or the points, with the results as SVG."""
        if self.frame is not None:
            return self._draw_frame(self.frame).write_svg()
        return draw_figure(self.spots, self.lattice, [])

    def write_png(self) -> bytes:
        """Return the frame with the results as PNG; NotAcceptableError if there is no frame."""
        if self.frame is None:
            raise NotAcceptableError("A list of points has no frame to draw as PNG; accept image/svg+xml.")
        return self._draw_frame(self.frame).write_png()

    def _draw_frame(self, frame: Frame) -> FramePicture:
        picture = draw_frame(frame, self.spots, self.lattice)
        return picture if self.marks else picture.with_markers(())


def inspect_upload(
    request: ParsedRequest[InspectOptions], request_id: str, calibrations: Path | None = None
) -> InspectionReport:
    """Inspect the pattern of a request.

    Raises:
        DomainError: the upload cannot be read, or contains no pattern.
    """
    watch = Stopwatch()
    options = request.options
    pattern = read_pattern(request.pattern, options, calibrations)
    spots, frame, voltage = pattern.spots, pattern.frame, pattern.voltage
    watch.lap("read")
    observation = Observation.from_spots(spots, voltage.kv)
    basis = options.to_lattice_basis(spots)
    lattice = index_pattern(observation) if basis is None else refine_picked_lattice(observation, basis)
    indexed = None if lattice is None else lattice.index_spots(spots.q_inv_angstrom)
    watch.lap("lattice")
    answer = Inspection(
        request_id=request_id,
        frame=_serialize_frame(spots),
        spots=_serialize_spots(spots, indexed),
        measured_spots=_measure_spots(options.measure, spots, frame),
        query=serialize_query(spots, voltage.kv, () if lattice is None else (lattice,), voltage.warnings),
        version=get_software_version(),
        timing_ms={**watch.milliseconds, "total": watch.total_milliseconds},
    )
    return InspectionReport(answer, spots, lattice, frame, options.marks)


def _serialize_frame(spots: Spots) -> FrameSchema | None:
    if spots.exposure is None:
        return None
    height, width = spots.exposure.shape
    return FrameSchema(width=width, height=height, format=spots.exposure.source_format)


def _serialize_spots(spots: Spots, lattice: PatternLattice | None) -> list[SpotSchema]:
    """Return the spots, the strongest first."""
    intensity, exposure = spots.intensity, spots.exposure
    order = np.arange(len(spots)) if intensity is None else np.argsort(-intensity, kind="stable")
    length = np.hypot(*spots.q_inv_angstrom.T)
    return [
        SpotSchema(
            position=serialize_position(spots.q_inv_angstrom[row].tolist(), spots),
            position_sigma=None if exposure is None else round(float(exposure.position_sigma_px[row]), 4),
            d=round(1 / float(length[row]), 4) if spots.scale_is_known and length[row] > 0 else None,
            intensity=None if intensity is None else float(f"{intensity[row]:.6g}"),
            intensity_sigma=None if exposure is None else float(f"{exposure.intensity_sigma[row]:.3g}"),
            saturated=None if exposure is None else bool(exposure.saturated[row]),
            hk=lattice.hk[row].tolist() if lattice is not None and lattice.on_lattice[row] else None,
        )
        for row in order.tolist()
    ]


def _measure_spots(
    positions: Sequence[Sequence[float]], spots: Spots, frame: Frame | None
) -> list[SpotSchema]:
    """Measure the frame at the requested positions, in their order.

    A position without a significant spot is returned unchanged and without an intensity.
    """
    if not positions:
        return []
    if frame is None or spots.exposure is None:
        raise OptionError("measure: only frames can be measured; points state their own intensities.")
    requested = np.array(positions, dtype=np.float64)
    peaks = measure_peaks_at(frame, spots, requested)
    width_px = spots.exposure.spot_sigma_px
    volume = 2 * np.pi * width_px**2
    significant = peaks.amplitude > MIN_SIGNIFICANCE * peaks.amplitude_error
    pixels = np.where(significant[:, None], peaks.pixels, requested)
    position_sigma = peaks.estimate_position_sigma(width_px)
    return [
        SpotSchema(
            position=[round(float(coordinate), 2) for coordinate in pixels[row]],
            position_sigma=round(float(position_sigma[row]), 4) if significant[row] else None,
            d=None,
            intensity=float(f"{peaks.amplitude[row] * volume:.6g}") if significant[row] else None,
            intensity_sigma=float(f"{peaks.amplitude_error[row] * volume:.3g}"),
            saturated=bool(peaks.saturated[row]),
            hk=None,
        )
        for row in range(len(requested))
    ]
