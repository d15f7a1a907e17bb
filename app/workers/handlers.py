"""Where jobs are computed: an opened index, and what is done with it for each kind of request."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self, TypeVar

from app.observability.logging import REQUEST_ID
from app.presentation.formats import CIF, PNG, SVG
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
from app.services.predict import Embedded, Pattern, Prediction, Voltage, embed_patterns, predict, read_pattern
from app.services.replay import asked_again, replayed
from app.services.structures import entry_of, structure_of
from app.services.uploads import (
    FileUpload,
    FormBody,
    FrameUpload,
    JsonBody,
    ParsedRequest,
    PointUpload,
    unpacked,
)
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
from app.workers.messages import Answered, Failure, Job, Reply
from app.workers.scan import Scan
from model.errors import DomainError

logger = logging.getLogger(__name__)

Work = Callable[[Job], Reply]
Made = TypeVar("Made")


class Desk:
    """Computes the jobs of a service; safe to use from several threads at once.

    Args:
        library: the index with its model.
        calibrations: folder of the cameras' calibrations.
    """

    def __init__(self, library: Library, calibrations: Path | None = None) -> None:
        self._library = library
        self._calibrations = calibrations
        self._scan = Scan()
        self._works: Mapping[str, Work] = {
            "inspect": self._inspect,
            "compare": self._compare,
            "structure": self._structure,
            "replay": self._replay,
            "images": self._images,
            "add": self._add,
            "remove": self._remove,
            "reload": self._reload,
            "canary": self._canary,
            "serving": lambda _job: Reply({"serving": self.serving()}),
        }

    @classmethod
    def open(cls, settings: Settings) -> Self:
        """With the settings' model and index, after the first patterns, which are slow.

        Raises:
            DomainError: they cannot be used.
        """
        desk = cls(open_library(settings), settings.calibrations)
        ask_canary(desk._library, "verify")
        warm_up()
        return desk

    def serving(self) -> dict[str, Any]:
        """The provenance of its answers, as JSON."""
        with held(self._library) as library:
            return provenance_of(library).model_dump()

    def close(self) -> None:
        """Let go of the index."""
        self._library.close()

    def compute(self, jobs: Sequence[Job], answered: Answered) -> None:
        """Compute jobs that waited together, each answered as soon as it is done.

        Patterns to be searched are read first and pass the STE together.
        """
        self._scan.forget_gone()
        patterns: dict[int, Pattern] = {}
        for place, job in enumerate(jobs):
            if job.kind == "predict":
                read = _guarded(job, partial(self._read, job))
                if isinstance(read, Pattern):
                    patterns[place] = read
                else:
                    answered(place, read)
        vectors = self._embedded(patterns)
        for place, job in enumerate(jobs):
            if place in patterns:
                work = partial(self._predicted, job, patterns.pop(place), vectors[place])
                answered(place, _guarded(job, work))
            elif job.kind != "predict":
                answered(place, _guarded(job, partial(self._works[job.kind], job)))

    def _embedded(self, patterns: Mapping[int, Pattern]) -> dict[int, Embedded | None]:
        """By one pass of the STE; should that fail, each search makes its own, and the error is that one's."""
        try:
            return dict(zip(patterns, embed_patterns(self._library, list(patterns.values())), strict=True))
        except Exception:
            logger.exception("patterns could not be embedded together")
            return dict.fromkeys(patterns)

    def _read(self, job: Job) -> Pattern:
        asked = (
            self._of_scan(job)
            if "scan" in job.asked
            else unpacked(job.asked["body"], job.blobs).parse(PredictOptions)
        )
        return read_pattern(asked.pattern, asked.options, self._calibrations)

    def _of_scan(self, job: Job) -> ParsedRequest[PredictOptions]:
        """A file that lies on the disk as long as its batch lasts, or one image of it."""
        scan = job.asked["scan"]
        path, image = Path(scan["path"]), scan["image"]
        if image is None:
            return FormBody(FileUpload(self._scan.data(path), scan["name"]), job.asked["fields"]).parse(
                PredictOptions
            )
        options = PredictOptions.from_text(job.asked["fields"])
        return ParsedRequest(FrameUpload(self._scan.image(path, image)), options)

    def _images(self, job: Job) -> Reply:
        return Reply({"of": self._scan.count(Path(job.asked["path"]))})

    def _predicted(self, job: Job, pattern: Pattern, vector: Embedded | None) -> Reply:
        with held(self._library) as library:
            found = predict(library, provenance_of(library), pattern, job.asked["request_id"], vector)
        return _reply(found, job.asked["media_type"])

    def _replay(self, job: Job) -> Reply:
        upload, options, then = asked_again(unpacked(job.asked["body"], job.blobs))
        pattern = read_pattern(upload, options, self._calibrations)
        if then.pattern is not None and isinstance(upload, PointUpload):
            pattern = replace(pattern, voltage=Voltage(then.query.voltage_kv))
        with held(self._library) as library:
            now = predict(library, provenance_of(library), pattern, job.asked["request_id"]).answer
        return _text(replayed(then, now).model_dump_json())

    def _inspect(self, job: Job) -> Reply:
        asked = unpacked(job.asked["body"], job.blobs).parse(InspectOptions)
        found = inspect_upload(asked, job.asked["request_id"], software_version(), self._calibrations)
        media_type = job.asked["media_type"]
        if media_type == PNG:
            return Reply(blobs=(found.write_png(),))
        return _text(found.write_svg() if media_type == SVG else found.answer.model_dump_json())

    def _compare(self, job: Job) -> Reply:
        asked = unpacked(job.asked["body"], job.blobs).parse(ReadingOptions, with_structures=True)
        found = compare_upload(asked, job.asked["request_id"], software_version(), self._calibrations)
        return _text(found.draw() if job.asked["media_type"] == SVG else found.answer.model_dump_json())

    def _structure(self, job: Job) -> Reply:
        found = structure_of(entry_of(self._library, job.asked["id"]))
        return _text(found.cif if job.asked["media_type"] == CIF else found.model_dump_json())

    def _add(self, job: Job) -> Reply:
        asked = asked_of(unpacked(job.asked["body"], job.blobs))
        added = add_structure(changing(self._library), asked, job.asked["key_name"])
        said = {"status": 201 if added.is_new else 200, "address": address_of(added.entry.id)}
        return Reply({**said, "serving": self.serving()}, (told(added).model_dump_json().encode(),))

    def _remove(self, job: Job) -> Reply:
        remove_structure(changing(self._library), job.asked["id"])
        return Reply({"serving": self.serving()})

    def _reload(self, job: Job) -> Reply:
        version = version_of(JsonBody(job.blobs[0]) if job.blobs else None)
        served = reload(changing(self._library), version)
        return Reply({"serving": self.serving()}, (served.model_dump_json().encode(),))

    def _canary(self, _job: Job) -> Reply:
        ask_canary(self._library)
        return Reply({"serving": self.serving()})


def _guarded(job: Job, work: Callable[[], Made]) -> Made | Failure:
    """What a work makes of a job, or why it makes nothing."""
    token = REQUEST_ID.set(job.request_id)
    try:
        return work()
    except DomainError as error:
        return Failure.of(error)
    except Exception:
        logger.exception("a job of kind %s met an unexpected error", job.kind)
        return Failure("", "an error that nobody foresaw")
    finally:
        REQUEST_ID.reset(token)


def _reply(found: Prediction, media_type: str) -> Reply:
    told: dict[str, Any] = {
        "timing_ms": found.answer.timing_ms,
        "verdict": found.answer.verdict,
        "serving": found.answer.provenance.model_dump(),
    }
    content = found.write(media_type)
    if found.overlays is None:
        return Reply(told, (content,))
    return Reply({**told, "overlays": found.overlays.pack()}, (content, found.overlays.picture.gray))


def _text(content: str) -> Reply:
    return Reply(blobs=(content.encode(),))
