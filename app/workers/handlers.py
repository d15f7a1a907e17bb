"""Handle the jobs of a service: an open index, and one method for each class of job."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, assert_never

from app.observability.logging import REQUEST_ID
from app.presentation.formats import CIF, JSON
from app.presentation.schemas.service import Provenance
from app.services.compare import compare_upload
from app.services.inspect import inspect_upload
from app.services.library import (
    Library,
    ask_canary,
    changing,
    held,
    open_library,
    provenance_of,
    software_version,
)
from app.services.options import InspectOptions, PredictOptions, ReadingOptions
from app.services.predict import Embedded, Pattern, Voltage, embed_patterns, predict, read_pattern
from app.services.replay import asked_again, replayed
from app.services.structures import entry_of, structure_of
from app.services.uploads import FileUpload, FrameUpload, PointUpload, Upload
from app.services.user_structures import (
    add_structure,
    address_of,
    asked_of,
    reload,
    remove_structure,
    told,
    version_of,
    warm_up,
)
from app.settings import Settings
from app.workers.messages import (
    AddStructureJob,
    AnyJob,
    BodyReply,
    CanaryJob,
    CompareJob,
    CountImagesJob,
    DeliverOutcome,
    Failure,
    ImageCountReply,
    IndexReloadedReply,
    InspectJob,
    Outcome,
    PredictBatchItemJob,
    PredictionReply,
    PredictJob,
    ProvenanceJob,
    ProvenanceReply,
    ReloadJob,
    RemoveStructureJob,
    ReplayJob,
    SavedImage,
    StructureAddedReply,
    StructureJob,
)
from app.workers.scan import ScanReader
from model.errors import DomainError

logger = logging.getLogger(__name__)

T = TypeVar("T")
AnyPredictJob = PredictJob | PredictBatchItemJob


class JobHandler:
    """Computes the outcomes of jobs; safe to use from several threads at once.

    Args:
        library: the index with its model.
        calibrations: folder of the camera calibrations.
    """

    def __init__(self, library: Library, calibrations: Path | None = None) -> None:
        self._library = library
        self._calibrations = calibrations
        self._scan = ScanReader()

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """Open the model and the index of the settings, and make the first, slow requests.

        Raises:
            DomainError: they cannot be used.
        """
        handler = cls(open_library(settings), settings.calibrations)
        ask_canary(handler._library, "verify")
        warm_up()
        return handler

    @property
    def provenance(self) -> Provenance:
        """The provenance of the answers."""
        with held(self._library) as library:
            return provenance_of(library)

    def close(self) -> None:
        """Close the index."""
        self._library.close()

    def handle(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome) -> None:
        """Compute jobs that waited together, and deliver the outcome of each as soon as it is known.

        Patterns to identify are read first, so that one pass of the STE embeds all of them.
        """
        self._scan.release_deleted_file()
        patterns: dict[int, Pattern] = {}
        for index, job in enumerate(jobs):
            if isinstance(job, AnyPredictJob):
                pattern = _run_safely(job, partial(self._read, job))
                if isinstance(pattern, Failure):
                    deliver(index, pattern)
                else:
                    patterns[index] = pattern
        embeddings = self._embed(patterns)
        for index, job in enumerate(jobs):
            if not isinstance(job, AnyPredictJob):
                deliver(index, _run_safely(job, partial(self._handle, job)))
            elif index in patterns:
                work = partial(self._predict, job, patterns.pop(index), embeddings[index])
                deliver(index, _run_safely(job, work))

    def _handle(self, job: AnyJob) -> Outcome:
        match job:
            case InspectJob():
                return self._inspect(job)
            case CompareJob():
                return self._compare(job)
            case ReplayJob():
                return self._replay(job)
            case StructureJob():
                return self._describe_structure(job)
            case AddStructureJob():
                return self._add_structure(job)
            case RemoveStructureJob():
                remove_structure(changing(self._library), job.id)
                return ProvenanceReply(self.provenance)
            case ReloadJob():
                version = version_of(job.body)
                served = reload(changing(self._library), version)
                return IndexReloadedReply(served.model_dump_json().encode(), self.provenance)
            case CountImagesJob():
                return ImageCountReply(self._scan.count_images(job.file.path))
            case CanaryJob():
                ask_canary(self._library)
                return ProvenanceReply(self.provenance)
            case ProvenanceJob():
                return ProvenanceReply(self.provenance)
            case PredictJob() | PredictBatchItemJob():
                raise AssertionError("Patterns are read and embedded together before they are identified.")
        assert_never(job)

    def _read(self, job: AnyPredictJob) -> Pattern:
        if isinstance(job, PredictJob):
            request = job.body.parse(PredictOptions)
            return read_pattern(request.pattern, request.options, self._calibrations)
        return read_pattern(self._load(job.pattern), job.options, self._calibrations)

    def _load(self, pattern: FileUpload | SavedImage) -> Upload:
        """Return a pattern of a batch, which is on disk as long as the batch lasts, or a member of a zip."""
        if isinstance(pattern, FileUpload):
            return pattern
        if pattern.image is None:
            return FileUpload(self._scan.read_data(pattern.file.path), pattern.file.filename)
        return FrameUpload(self._scan.read_image(pattern.file.path, pattern.image))

    def _embed(self, patterns: Mapping[int, Pattern]) -> dict[int, Embedded | None]:
        """Embed patterns by one pass of the STE; if that fails, each search embeds its own and meets the error."""
        try:
            return dict(zip(patterns, embed_patterns(self._library, list(patterns.values())), strict=True))
        except Exception:
            logger.exception("The patterns could not be embedded together.")
            return dict.fromkeys(patterns)

    def _predict(self, job: AnyPredictJob, pattern: Pattern, embedding: Embedded | None) -> PredictionReply:
        with held(self._library) as library:
            prediction = predict(library, provenance_of(library), pattern, job.request_id, embedding)
        answer = prediction.answer
        return PredictionReply(
            body=prediction.write(job.media_type if isinstance(job, PredictJob) else JSON),
            timing_ms=answer.timing_ms,
            verdict=answer.verdict,
            provenance=answer.provenance,
            overlays=prediction.overlays,
        )

    def _replay(self, job: ReplayJob) -> BodyReply:
        upload, options, stored = asked_again(job.body)
        pattern = read_pattern(upload, options, self._calibrations)
        if stored.pattern is not None and isinstance(upload, PointUpload):
            pattern = replace(pattern, voltage=Voltage(stored.query.voltage_kv))
        with held(self._library) as library:
            current = predict(library, provenance_of(library), pattern, job.request_id).answer
        return BodyReply(replayed(stored, current).model_dump_json().encode())

    def _inspect(self, job: InspectJob) -> BodyReply:
        request = job.body.parse(InspectOptions)
        inspection = inspect_upload(request, job.request_id, software_version(), self._calibrations)
        return BodyReply(inspection.write(job.media_type))

    def _compare(self, job: CompareJob) -> BodyReply:
        request = job.body.parse(ReadingOptions, with_structures=True)
        comparison = compare_upload(request, job.request_id, software_version(), self._calibrations)
        return BodyReply(comparison.write(job.media_type))

    def _describe_structure(self, job: StructureJob) -> BodyReply:
        structure = structure_of(entry_of(self._library, job.id))
        return BodyReply((structure.cif if job.media_type == CIF else structure.model_dump_json()).encode())

    def _add_structure(self, job: AddStructureJob) -> StructureAddedReply:
        request = asked_of(job.body)
        added = add_structure(changing(self._library), request, job.key_name)
        return StructureAddedReply(
            body=told(added).model_dump_json().encode(),
            created=added.is_new,
            location=address_of(added.entry.id),
            provenance=self.provenance,
        )


def _run_safely(job: AnyJob, work: Callable[[], T]) -> T | Failure:
    """Run a part of a job; an exception becomes a failure, so that no upload ends a worker."""
    token = REQUEST_ID.set(job.request_id)
    try:
        return work()
    except DomainError as error:
        return Failure.from_error(error)
    except Exception:
        logger.exception("Internal error in a %s.", type(job).__name__)
        return Failure("", "Internal error.")
    finally:
        REQUEST_ID.reset(token)
