"""Messages survive the way to a worker and back; damaged and unknown ones are refused."""

import asyncio
import io
from pathlib import Path

import msgspec
import pytest

from app.errors import InternalError, QueueFullError
from app.presentation.frame_overlay import FramePicture, Marker
from app.presentation.overlays import CandidateOverlays
from app.presentation.schemas.service import Provenance
from app.services.options import PredictOptions
from app.services.uploads import FileUpload, FormBody, JsonBody, SavedFile
from app.settings import Settings
from app.workers.messages import (
    AddStructureJob,
    AnyJob,
    BodyReply,
    CanaryJob,
    CompareJob,
    CountImagesJob,
    Failure,
    ImageCountReply,
    IndexReloadedReply,
    InspectJob,
    JobBatch,
    JobOutcome,
    Message,
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
    StartWorker,
    StructureAddedReply,
    StructureJob,
    WorkerReady,
)
from app.workers.wire import encode_message, read_message, read_message_async
from model.errors import OptionError

FORM = FormBody(
    FileUpload(b"frame", "a.tif"), (("top_k", "3"),), (FileUpload(b"", "b.cif"), FileUpload(b"c", "c"))
)
FILE = SavedFile(Path("/tmp/0"), "scan.npy")
OPTIONS = PredictOptions.from_json(
    {"top_k": 3, "lattice": [[1.0, 0.0], [0.0, 1.0]], "mask": [[0.0, 1.0, 2.0, 3.0]]}
)
PROVENANCE = Provenance(version="1", model="sha256:m", index="sha256:i", crystals=3, user_structures=1)
OVERLAYS = CandidateOverlays(
    "id", FramePicture(b"PNG", (8, 8), [], "A frame"), {1: [Marker("circle", (1.0, 2.0, 3.0), "#fff")]}
)
JOBS: tuple[AnyJob, ...] = (
    PredictJob(request_id="mine", body=FORM, media_type="application/json"),
    InspectJob(body=JsonBody(b"{}"), media_type="image/png"),
    CompareJob(body=FORM, media_type="image/svg+xml"),
    ReplayJob(body=JsonBody(b"{}"), media_type="application/json"),
    AddStructureJob(body=FORM, key_name="robot"),
    PredictBatchItemJob(pattern=SavedImage(FILE, 3), options=OPTIONS),
    PredictBatchItemJob(pattern=FileUpload(b"1 2 3", "x"), options=PredictOptions.from_json({})),
    CountImagesJob(file=FILE),
    StructureJob(id="user/\N{GREEK SMALL LETTER ALPHA}", media_type="chemical/x-cif"),
    RemoveStructureJob(id="user/1"),
    ReloadJob(body=None),
    CanaryJob(),
    ProvenanceJob(),
)
OUTCOMES: tuple[Outcome, ...] = (
    PredictionReply(b"{}", {"total": 1.5}, None, PROVENANCE, OVERLAYS),
    PredictionReply(b"{}", {}, "match", PROVENANCE, None),
    BodyReply(b""),
    StructureAddedReply(b"{}", True, "/structures/x", PROVENANCE),
    IndexReloadedReply(b"{}", PROVENANCE),
    ProvenanceReply(PROVENANCE),
    ImageCountReply(7),
    Failure("OptionError", "Wrong."),
)
MESSAGES: tuple[Message, ...] = (
    StartWorker(Settings(index=Path("here"), allowed_hosts=("*.lab.org",), deadline_s=3.5)),
    WorkerReady(PROVENANCE),
    JobBatch(JOBS),
    *(JobOutcome(index, outcome) for index, outcome in enumerate(OUTCOMES)),
)


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_arrives_as_it_was_sent(message: Message) -> None:
    data = b"".join(encode_message(message))
    assert read_message(io.BytesIO(data)) == message

    async def read() -> Message:
        stream = asyncio.StreamReader()
        stream.feed_data(data)
        return await read_message_async(stream)

    assert asyncio.run(read()) == message


def test_options_that_were_not_given_are_not_given_on_the_other_side() -> None:
    message = read_message(io.BytesIO(b"".join(encode_message(JobBatch((JOBS[5],))))))
    assert isinstance(message, JobBatch)
    (job,) = message.jobs
    assert isinstance(job, PredictBatchItemJob)
    assert job.options.model_fields_set == OPTIONS.model_fields_set


def test_uploads_are_sent_without_a_copy() -> None:
    pieces = encode_message(JobBatch((PredictJob(body=FORM, media_type=""),)))
    assert any(piece is FORM.file.data for piece in pieces)


@pytest.mark.parametrize("kept", [5, -1])
def test_a_message_that_is_cut_off_is_an_error(kept: int) -> None:
    data = b"".join(encode_message(JobBatch(JOBS)))
    assert read_message(io.BytesIO()) is None
    with pytest.raises(ConnectionError, match="within a message"):
        read_message(io.BytesIO(data[:kept]))


def test_an_unknown_message_is_refused() -> None:
    (header, body) = encode_message(JobBatch((CanaryJob(),)))
    unknown = body.replace(b"CanaryJob", b"OtherJobs")
    with pytest.raises(msgspec.ValidationError):
        read_message(io.BytesIO(header + unknown))


def test_a_failure_becomes_the_error_that_it_was() -> None:
    class NarrowError(OptionError):
        """A refinement that the other side does not know."""

    for error in (OptionError("a"), QueueFullError("b")):
        assert type(Failure.from_error(error).to_error()) is type(error)
        assert str(Failure.from_error(error).to_error()) == str(error)
    assert type(Failure.from_error(NarrowError("c")).to_error()) is OptionError
    assert type(Failure("", "Internal error.").to_error()) is InternalError
