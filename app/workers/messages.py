"""The messages between the service and its workers: one tagged union of frozen classes; `wire` encodes them."""

from collections.abc import Callable
from typing import Generic, TypeVar

from msgspec import Struct, field

from app import errors as app_errors
from app.errors import InternalError
from app.observability.logging import REQUEST_ID
from app.presentation.overlays import CandidateOverlays
from app.presentation.schemas.service import Provenance
from app.services.options import PredictOptions
from app.services.uploads import FileUpload, JsonBody, RequestBody, SavedFile
from app.settings import Settings
from model import errors as model_errors
from model.errors import DomainError


class PredictionReply(Struct, frozen=True, tag=True):
    """The answer to a prediction, and what the service records and keeps of it."""

    body: bytes
    timing_ms: dict[str, float]
    verdict: str | None
    provenance: Provenance
    overlays: CandidateOverlays | None


class BodyReply(Struct, frozen=True, tag=True):
    """The body of a response."""

    body: bytes


class StructureAddedReply(Struct, frozen=True, tag=True):
    """The body of the response to an added structure; `created` is false if it already existed."""

    body: bytes
    created: bool
    location: str
    provenance: Provenance


class IndexReloadedReply(Struct, frozen=True, tag=True):
    """The body of the response to a reload, and the provenance of subsequent answers."""

    body: bytes
    provenance: Provenance


class ProvenanceReply(Struct, frozen=True, tag=True):
    """The provenance of subsequent answers.

    Attributes:
        provenance: of the answers.
        is_stale: whether user structures were added or removed that cannot be read.
    """

    provenance: Provenance
    is_stale: bool = False


class ImageCountReply(Struct, frozen=True, tag=True):
    """The number of images in a file."""

    images: int


Reply = (
    PredictionReply | BodyReply | StructureAddedReply | IndexReloadedReply | ProvenanceReply | ImageCountReply
)
ReplyT = TypeVar("ReplyT", bound=Reply)


class Job(Struct, Generic[ReplyT], frozen=True, kw_only=True, tag=True):
    """Something for a worker to do; the type parameter is the class of its reply.

    Attributes:
        request_id: id of the request, for the answer and for what the worker logs.
    """

    request_id: str = field(default_factory=REQUEST_ID.get)

    @property
    def upload_bytes(self) -> int:
        """Size of the uploads that the job carries."""
        return 0

    @property
    def has_upload(self) -> bool:
        """Whether the job reads what a client sent, which can then be the cause of a crash."""
        return False


class BodyJob(Job[ReplyT], frozen=True, kw_only=True):
    """A job with the body of a request.

    The worker parses the body, and nobody does so before: a JSON body of 16 MiB would stop the event loop for a tenth
    of a second, and what the service refuses without parsing (size, form, media type, access) it has refused already.
    """

    body: RequestBody

    @property
    def upload_bytes(self) -> int:
        """Size of the body."""
        return self.body.size

    @property
    def has_upload(self) -> bool:
        """True."""
        return True


class PatternJob(BodyJob[ReplyT], frozen=True, kw_only=True):
    """A job with a pattern, to be answered in a media type."""

    media_type: str


class PredictJob(PatternJob[PredictionReply], frozen=True, kw_only=True):
    """Identify the crystal of a pattern."""


class InspectJob(PatternJob[BodyReply], frozen=True, kw_only=True):
    """Find the spots and the lattice of a pattern."""


class CompareJob(PatternJob[BodyReply], frozen=True, kw_only=True):
    """Compare structures with a pattern."""


class ReplayJob(PatternJob[BodyReply], frozen=True, kw_only=True):
    """Repeat the request of a stored answer."""


class AddStructureJob(BodyJob[StructureAddedReply], frozen=True, kw_only=True):
    """Add a structure to the index; `key_name` names the API key of the request."""

    key_name: str | None


class SavedImage(Struct, frozen=True, tag=True):
    """One image of a file on disk, or the whole file if `image` is None."""

    file: SavedFile
    image: int | None


class PredictBatchItemJob(Job[PredictionReply], frozen=True, kw_only=True):
    """Identify the crystal of one pattern of a batch, whose options were parsed once for all its patterns."""

    pattern: FileUpload | SavedImage
    options: PredictOptions

    @property
    def upload_bytes(self) -> int:
        """Size of the file unless it is on disk."""
        return len(self.pattern.data) if isinstance(self.pattern, FileUpload) else 0

    @property
    def has_upload(self) -> bool:
        """True."""
        return True


class CountImagesJob(Job[ImageCountReply], frozen=True, kw_only=True):
    """Count the images in a file on disk."""

    file: SavedFile

    @property
    def has_upload(self) -> bool:
        """True."""
        return True


class StructureJob(Job[BodyReply], frozen=True, kw_only=True):
    """Describe a crystal of the index."""

    id: str
    media_type: str


class RemoveStructureJob(Job[ProvenanceReply], frozen=True, kw_only=True):
    """Remove a user structure from the index."""

    id: str


class ReloadJob(Job[IndexReloadedReply], frozen=True, kw_only=True):
    """Serve another version of the index."""

    body: JsonBody | None


class CanaryJob(Job[ProvenanceReply], frozen=True, kw_only=True):
    """Search for a graphene pattern, to check that the model and the index work."""


class ProvenanceJob(Job[ProvenanceReply], frozen=True, kw_only=True):
    """Report the provenance."""


AnyJob = (
    PredictJob
    | InspectJob
    | CompareJob
    | ReplayJob
    | AddStructureJob
    | PredictBatchItemJob
    | CountImagesJob
    | StructureJob
    | RemoveStructureJob
    | ReloadJob
    | CanaryJob
    | ProvenanceJob
)

_ERRORS = {
    name: value
    for module in (model_errors, app_errors)
    for name, value in vars(module).items()
    if isinstance(value, type) and issubclass(value, DomainError)
}


class Failure(Struct, frozen=True, tag=True):
    """An error in place of a reply.

    Attributes:
        error: name of the class of a domain error; empty for an unexpected error, which the worker has logged.
        message: its message.
    """

    error: str
    message: str

    @classmethod
    def from_error(cls, error: DomainError) -> "Failure":
        """Describe an error by its most specific class that both sides know."""
        return cls(
            next(each.__name__ for each in type(error).__mro__ if each.__name__ in _ERRORS), str(error)
        )

    def to_error(self) -> DomainError | InternalError:
        """Return the exception that the caller awaiting the reply raises."""
        known = _ERRORS.get(self.error)
        return InternalError(self.message) if known is None else known(self.message)


Outcome = Reply | Failure
DeliverOutcome = Callable[[int, Outcome], None]
"""Takes the outcome of a job by the job's index among those that a worker computes together."""

BeginJob = Callable[[int], None]
"""Takes the index of the job that a worker computes from now on."""


class StartWorker(Struct, frozen=True, tag=True):
    """The first message to a worker process."""

    settings: Settings


class WorkerReady(Struct, frozen=True, tag=True):
    """The answer to `StartWorker`, unless it is a `Failure`."""

    provenance: Provenance


class JobBatch(Struct, frozen=True, tag=True):
    """Jobs to run together."""

    jobs: tuple[AnyJob, ...]


class JobBegun(Struct, frozen=True, tag=True):
    """Which job of the last `JobBatch` is computed from now on: the first, until there is such a message."""

    index: int


class JobOutcome(Struct, frozen=True, tag=True):
    """The outcome of one job of the last `JobBatch`."""

    index: int
    outcome: Outcome


Message = StartWorker | WorkerReady | JobBatch | JobBegun | JobOutcome | Failure
