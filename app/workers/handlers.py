"""Handle the jobs of a service with an open index: one method for each class of job."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self, TypeVar, assert_never

from app.observability.logging import with_request_id
from app.presentation.formats import CIF, JSON
from app.presentation.schemas.service import Provenance
from app.services.compare import compare_upload
from app.services.inspect import inspect_upload
from app.services.options import InspectOptions, PredictOptions, ReadingOptions
from app.services.predict import PatternEmbedding, embed_patterns, predict
from app.services.replay import compare_answers, parse_replay_request
from app.services.search_index import (
    SearchIndex,
    check_canary,
    describe_provenance,
    hold_state,
    is_stale,
    open_index,
    require_editable,
)
from app.services.structures import describe_structure, find_entry
from app.services.uploads import (
    FileUpload,
    FrameUpload,
    PatternReading,
    PointUpload,
    Upload,
    Voltage,
    read_pattern,
)
from app.services.user_structures import (
    add_structure,
    describe_added,
    parse_reload_request,
    parse_structure_request,
    reload_index,
    remove_structure,
    structure_path,
)
from app.settings import Settings
from app.workers.memory import is_out_of_memory
from app.workers.messages import (
    AddStructureJob,
    AnyJob,
    BeginJob,
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
from index.live.scrub import OnDamage, Scrub
from model.crystal.uploaded_structures import start_reading
from model.errors import DomainError, TooLargeError

logger = logging.getLogger(__name__)

_OUT_OF_MEMORY = (
    "The request needs more memory than a worker may use; send fewer pixels, points or structures."
)

T = TypeVar("T")
PredictReading = PatternReading[PredictOptions]
AnyPredictJob = PredictJob | PredictBatchItemJob


class JobHandler:
    """Runs jobs and delivers their outcomes; safe to use from several threads at once.

    Args:
        index: the index with its model.
        calibrations: folder of the camera calibrations.
    """

    def __init__(self, index: SearchIndex, calibrations: Path | None = None) -> None:
        self._index = index
        self._calibrations = calibrations
        self._scan = ScanReader()
        self._scrub: Scrub | None = None

    @classmethod
    def open(cls, settings: Settings, on_damage: OnDamage) -> Self:
        """Open the model and the index, and make the first, slow requests; DomainError if they cannot be used.

        Args:
            settings: of the service.
            on_damage: called, in another thread, if model or index are damaged later.
        """
        index = open_index(settings)
        handler = cls(index, settings.calibrations)
        check_canary(index, "verify")
        start_reading()
        handler._scrub = Scrub(index, on_damage)
        return handler

    @property
    def provenance(self) -> Provenance:
        """The provenance of the answers."""
        with hold_state(self._index) as index:
            return describe_provenance(index)

    def _report_provenance(self) -> ProvenanceReply:
        provenance = self.provenance  # looks for changes
        return ProvenanceReply(provenance, is_stale(self._index))

    def close(self) -> None:
        """Close the index."""
        if self._scrub is not None:
            self._scrub.close()
        self._index.close()

    def handle(self, jobs: Sequence[AnyJob], deliver: DeliverOutcome, begin: BeginJob) -> None:
        """Run jobs that were queued together, and deliver each outcome as soon as it is known.

        Patterns to identify are read first, so that one pass of the STE embeds all of them.

        Args:
            jobs: the jobs.
            deliver: takes the outcomes.
            begin: takes the number of the job that is computed from now on.
        """
        patterns: dict[int, PredictReading] = {}
        for index, job in enumerate(jobs):
            if isinstance(job, AnyPredictJob):
                begin(index)
                pattern = _run_safely(job, partial(self._read, job))
                if isinstance(pattern, Failure):
                    deliver(index, pattern)
                else:
                    patterns[index] = pattern
        embeddings = self._embed(patterns)
        for index, job in enumerate(jobs):
            if not isinstance(job, AnyPredictJob):
                begin(index)
                deliver(index, _run_safely(job, partial(self._handle, job)))
            elif index in patterns:
                begin(index)
                work = partial(self._predict, job, patterns.pop(index), embeddings[index])
                deliver(index, _run_safely(job, work))
        self._scan.release_deleted_file()

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
                remove_structure(require_editable(self._index), job.id)
                return self._report_provenance()
            case ReloadJob():
                version = parse_reload_request(job.body)
                served = reload_index(require_editable(self._index), version)
                return IndexReloadedReply(served.model_dump_json().encode(), self.provenance)
            case CountImagesJob():
                return ImageCountReply(self._scan.count_images(job.file.path))
            case CanaryJob():
                check_canary(self._index)
                return self._report_provenance()
            case ProvenanceJob():
                return self._report_provenance()
            case PredictJob() | PredictBatchItemJob():
                raise AssertionError("Patterns are read and embedded together before they are identified.")
        assert_never(job)

    def _read(self, job: AnyPredictJob) -> PredictReading:
        if isinstance(job, PredictJob):
            request = job.body.parse(PredictOptions)
            return read_pattern(request.pattern, request.options, self._calibrations)
        return read_pattern(self._load(job.pattern), job.options, self._calibrations)

    def _load(self, pattern: FileUpload | SavedImage) -> Upload:
        """Return a pattern of a batch, which stays on disk for the duration of the batch, or a member of a zip."""
        if isinstance(pattern, FileUpload):
            return pattern
        if pattern.image is None:
            return FileUpload(self._scan.read_data(pattern.file.path), pattern.file.filename)
        return FrameUpload(self._scan.read_image(pattern.file.path, pattern.image))

    def _embed(self, patterns: Mapping[int, PredictReading]) -> dict[int, PatternEmbedding | None]:
        """Embed patterns by one pass of the STE; if that fails, each search embeds its own and meets the error."""
        try:
            return dict(zip(patterns, embed_patterns(self._index, list(patterns.values())), strict=True))
        except Exception:
            logger.exception("The patterns could not be embedded together.")
            return dict.fromkeys(patterns)

    def _predict(
        self, job: AnyPredictJob, pattern: PredictReading, embedding: PatternEmbedding | None
    ) -> PredictionReply:
        with hold_state(self._index) as index:
            prediction = predict(index, describe_provenance(index), pattern, job.request_id, embedding)
        answer = prediction.answer
        return PredictionReply(
            body=prediction.write(job.media_type if isinstance(job, PredictJob) else JSON),
            timing_ms=answer.timing_ms,
            verdict=answer.verdict,
            provenance=answer.provenance,
            overlays=prediction.overlays,
        )

    def _replay(self, job: ReplayJob) -> BodyReply:
        stored = parse_replay_request(job.body)
        pattern = read_pattern(stored.pattern, stored.options, self._calibrations)
        if stored.answer.pattern is not None and isinstance(stored.pattern, PointUpload):
            # Recorded points do not state the voltage, which the frame may have done.
            pattern = replace(pattern, voltage=Voltage(stored.answer.query.voltage_kv))
        with hold_state(self._index) as index:
            current = predict(index, describe_provenance(index), pattern, job.request_id).answer
        return BodyReply(compare_answers(stored.answer, current).model_dump_json().encode())

    def _inspect(self, job: InspectJob) -> BodyReply:
        request = job.body.parse(InspectOptions)
        report = inspect_upload(request, job.request_id, self._calibrations)
        return BodyReply(report.write(job.media_type))

    def _compare(self, job: CompareJob) -> BodyReply:
        request = job.body.parse(ReadingOptions, with_structures=True)
        report = compare_upload(request, job.request_id, self._calibrations)
        return BodyReply(report.write(job.media_type))

    def _describe_structure(self, job: StructureJob) -> BodyReply:
        structure = describe_structure(find_entry(self._index, job.id))
        return BodyReply((structure.cif if job.media_type == CIF else structure.model_dump_json()).encode())

    def _add_structure(self, job: AddStructureJob) -> StructureAddedReply:
        request = parse_structure_request(job.body)
        added = add_structure(require_editable(self._index), request, job.key_name)
        return StructureAddedReply(
            body=describe_added(added).model_dump_json().encode(),
            created=added.is_new,
            location=structure_path(added.entry.id),
            provenance=self.provenance,
        )


def _run_safely(job: AnyJob, work: Callable[[], T]) -> T | Failure:
    """Run a part of a job; an exception becomes a failure, so that no upload crashes a worker."""
    with with_request_id(job.request_id):
        try:
            return work()
        except DomainError as error:
            return Failure.from_error(error)
        except Exception as error:
            if is_out_of_memory(error):
                return Failure.from_error(TooLargeError(_OUT_OF_MEMORY))
            logger.exception("Internal error in a %s.", type(job).__name__)
            return Failure("", "Internal error.")
