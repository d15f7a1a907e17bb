"""A pattern looked at without any search: its spots, its lattice, how good it is, and a picture of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from app.errors import NotAcceptableError
from app.presentation.formats import PNG, SVG
from app.presentation.frame_overlay import FramePicture, draw_frame
from app.presentation.pattern_figure import draw_figure
from app.presentation.schemas.inspect import FrameSchema, Inspection, SpotSchema
from app.presentation.serialize import serialize_query
from app.presentation.serialize_match import serialize_position
from app.services.options import InspectOptions
from app.services.predict import choose_voltage, read_upload
from app.services.uploads import ParsedRequest
from model.errors import OptionError
from model.indexing.pattern_lattice import PatternLattice, index_pattern
from model.indexing.picked_lattice import refine_picked_lattice
from model.pattern.detection.peak_detection import measure_peaks_at
from model.pattern.frame import Frame
from model.pattern.observation import Observation
from model.pattern.spots import Spots
from model.stopwatch import Stopwatch

# A place shows a spot where its height is so many standard errors.
STANDING_OUT = 2.0


@dataclass(frozen=True)
class Inspected:
    """What came of an inspection.

    Attributes:
        answer: for JSON.
        spots: the pattern.
        lattice: its own.
        frame: that the spots were found in; None for points.
        marks: whether what was found is drawn over it.
    """

    answer: Inspection
    spots: Spots
    lattice: PatternLattice | None
    frame: Frame | None
    marks: bool

    def write(self, media_type: str) -> bytes:
        """Return the inspection in a media type.

        Raises:
            NotAcceptableError: a PNG of points is requested.
        """
        if media_type == PNG:
            return self.write_png()
        return (self.write_svg() if media_type == SVG else self.answer.model_dump_json()).encode()

    def write_svg(self) -> str:
        """The frame with what was found drawn over it; points alone where there is no frame."""
        if self.frame is not None:
            return self._picture(self.frame).write_svg()
        return draw_figure(self.spots, self.lattice, [])

    def write_png(self) -> bytes:
        """The same as PNG.

        Raises:
            NotAcceptableError: there is no frame.
        """
        if self.frame is None:
            raise NotAcceptableError("points have no frame to draw on as PNG; ask for image/svg+xml")
        return self._picture(self.frame).write_png()

    def _picture(self, frame: Frame) -> FramePicture:
        picture = draw_frame(frame, self.spots, self.lattice)
        return picture if self.marks else picture.with_markers(())


def inspect_upload(
    asked: ParsedRequest[InspectOptions], request_id: str, version: str, calibrations: Path | None = None
) -> Inspected:
    """Look at the pattern of a request.

    Raises:
        DomainError: the upload cannot be read, or holds no pattern.
    """
    watch = Stopwatch()
    spots, frame = read_upload(asked.pattern, asked.options, calibrations)
    voltage = choose_voltage(asked.options.voltage_kv, spots.voltage_kv)
    watch.lap("read")
    observed = Observation.from_spots(spots, voltage.kv)
    basis = asked.options.to_lattice_basis(spots)
    lattice = index_pattern(observed) if basis is None else refine_picked_lattice(observed, basis)
    everywhere = None if lattice is None else lattice.index_spots(spots.q_inv_angstrom)
    watch.lap("lattice")
    answer = Inspection(
        request_id=request_id,
        frame=_frame_seen(spots),
        spots=_listed(spots, everywhere),
        measured_spots=_measured(asked.options.measure, spots, frame),
        query=serialize_query(spots, voltage.kv, () if lattice is None else (lattice,), voltage.warnings),
        version=version,
        timing_ms={**watch.milliseconds, "total": watch.total_milliseconds},
    )
    return Inspected(answer, spots, lattice, frame, asked.options.marks)


def _frame_seen(spots: Spots) -> FrameSchema | None:
    if spots.exposure is None:
        return None
    height, width = spots.exposure.shape
    return FrameSchema(width=width, height=height, format=spots.exposure.source_format)


def _listed(spots: Spots, lattice: PatternLattice | None) -> list[SpotSchema]:
    """The spots, strongest first."""
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


def _measured(places: Sequence[Sequence[float]], spots: Spots, frame: Frame | None) -> list[SpotSchema]:
    """What lies at the places asked for, in their order; where nothing stands out, the place itself."""
    if not places:
        return []
    if frame is None or spots.exposure is None:
        raise OptionError("measure is for camera frames; points tell their own intensities")
    asked = np.array(places, dtype=np.float64)
    peaks = measure_peaks_at(frame, spots, asked)
    volume = 2 * np.pi * spots.exposure.spot_sigma_px**2
    seen = peaks.amplitude > STANDING_OUT * peaks.amplitude_error
    pixels, error = (
        np.where(seen[:, None], peaks.pixels, asked),
        peaks.estimate_position_sigma(spots.exposure.spot_sigma_px),
    )
    return [
        SpotSchema(
            position=[round(float(each), 2) for each in pixels[row]],
            position_sigma=round(float(error[row]), 4) if seen[row] else None,
            d=None,
            intensity=float(f"{peaks.amplitude[row] * volume:.6g}") if seen[row] else None,
            intensity_sigma=float(f"{peaks.amplitude_error[row] * volume:.3g}"),
            saturated=bool(peaks.saturated[row]),
            hk=None,
        )
        for row in range(len(asked))
    ]
