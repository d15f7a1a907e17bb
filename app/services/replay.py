"""Repeat the request of a stored answer, and report what changes with the current model and index."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import FailFast, Field, ValidationError

from app.presentation.schemas.predict import Answer, CandidateSchema, RecordedPattern, Verdict
from app.presentation.schemas.replay import CandidateChange, Replay
from app.presentation.schemas.schema import Schema
from app.presentation.schemas.service import Provenance
from app.services.options import PredictOptions
from app.services.uploads import FormBody, PointUpload, RequestBody, Upload, parse_json_object
from model.errors import OptionError, TooLargeError
from model.pattern.points.point_table import MAX_POINTS

# Smaller differences between probabilities are rounding errors of another processor.
MIN_PROBABILITY_CHANGE = 0.005
# A hundred candidates with their reflections take 250 lists and 25 kB for each spot.
_MAX_BYTES, _MAX_LISTS = 32 * 2**20, 5 * MAX_POINTS
_MAX_CANDIDATES, _MAX_OPTIONS = 100, 64
_EXPECTED = "send the answer as /predict gave it, as the JSON key or the file `answer`"


class StoredCandidate(Schema):
    """What is compared of a candidate."""

    id: str
    formula: str
    rank: int
    probability: float | None = None


class StoredQuery(Schema):
    """What is repeated of a query."""

    voltage_kv: float
    options: Annotated[dict[str, Any] | None, Field(max_length=_MAX_OPTIONS)] = None


class StoredPattern(RecordedPattern):
    """Recorded spots, which are checked when they are read."""

    points: Annotated[list[Any], Field(max_length=MAX_POINTS)]


class StoredAnswer(Schema):
    """The keys of an answer of `/predict` that a repetition needs.

    The others are not validated: in a hostile answer, millions of them could be invalid.
    """

    verdict: Verdict | None = None
    candidates: Annotated[list[StoredCandidate], FailFast(), Field(max_length=_MAX_CANDIDATES)]
    query: StoredQuery
    pattern: StoredPattern | None = None
    provenance: Provenance


@dataclass(frozen=True)
class StoredRequest:
    """A stored answer and the request that produced it.

    Attributes:
        pattern: the pattern, not read yet.
        options: the options.
        answer: the answer.
    """

    pattern: Upload
    options: PredictOptions
    answer: StoredAnswer


def parse_replay_request(body: RequestBody) -> StoredRequest:
    """Parse a request to repeat a stored answer.

    Args:
        body: a form with the pattern as `file` and the answer as `answer`, or JSON with `answer` and `points`; an
            answer that was recorded (`record=true`) contains the points.

    Raises:
        DomainError: as `parse_json_object`.
        OptionError: the answer or the pattern is missing, or this version does not have one of the options.
    """
    if isinstance(body, FormBody):
        if body.fields:
            raise OptionError("The options are those of the stored answer; send only `file` and `answer`.")
        if not body.attachments:
            raise OptionError(f"The stored answer is missing; {_EXPECTED}.")
        answer = _validate_answer(_parse(body.attachments[0].data))
        return StoredRequest(body.file, _restore_options(answer), answer)
    content = _parse(body.data)
    answer, points = _validate_answer(content.pop("answer", None)), content.pop("points", None)
    if content:
        raise OptionError(
            f"Unknown key {next(iter(content))!r:.60}; the options are those of the stored answer, send `answer` and "
            "`points` alone."
        )
    if points is None and answer.pattern is not None:
        recorded = answer.pattern.model_dump()
        points = PointUpload(recorded.pop("points"))
        # The recorded points are those of the chosen image, with the calibration applied.
        replaced = {**recorded, "calibration": None, "frame": None}
        return StoredRequest(points, _restore_options(answer, replaced), answer)
    if not isinstance(points, list):
        raise OptionError(
            "The answer was not recorded (record=true); send its pattern too, as `points` or as a form's `file`."
        )
    return StoredRequest(PointUpload(points), _restore_options(answer), answer)


def _parse(data: bytes) -> dict[str, Any]:
    if len(data) > _MAX_BYTES:
        raise TooLargeError(f"The stored answer has {len(data)} bytes; at most {_MAX_BYTES} are read.")
    return parse_json_object(data, _EXPECTED, _MAX_LISTS)


def _validate_answer(content: object) -> StoredAnswer:
    if not isinstance(content, dict):
        raise OptionError(f"The stored answer is missing; {_EXPECTED}.")
    try:
        # Another version of the service may have written further keys.
        return StoredAnswer.model_validate(content, strict=False, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise OptionError(f"answer: {key}: {first['msg']}; {_EXPECTED}.") from None


def _restore_options(answer: StoredAnswer, replaced: Mapping[str, object] | None = None) -> PredictOptions:
    options = dict(answer.query.options or {})
    return PredictOptions.from_json({**options, "overlay": None, **(replaced or {})})


def compare_answers(stored: StoredAnswer, current: Answer) -> Replay:
    """Return the differences between a stored answer and the current one."""
    before = {each.id: each for each in stored.candidates}
    after = {each.id: each for each in current.candidates}
    ids = [*after, *(id for id in before if id not in after)]
    changes = [_compare_candidates(before.get(id), after.get(id)) for id in ids]
    candidate_changes = [each for each in changes if each is not None]
    return Replay(
        request_id=current.request_id,
        changed=bool(candidate_changes) or stored.verdict != current.verdict,
        verdict_stored=stored.verdict,
        verdict_current=current.verdict,
        candidate_changes=candidate_changes,
        provenance_changes={
            name: [getattr(stored.provenance, name), getattr(current.provenance, name)]
            for name in type(current.provenance).model_fields
            if getattr(stored.provenance, name) != getattr(current.provenance, name)
        },
        answer=current,
    )


def _compare_candidates(
    stored: StoredCandidate | None, current: CandidateSchema | None
) -> CandidateChange | None:
    """Return how the rank or the probability of a candidate changes; None if neither does."""
    candidate = current or stored
    assert candidate is not None
    rank_stored, rank_current = (None if each is None else each.rank for each in (stored, current))
    p_stored, p_current = (None if each is None else each.probability for each in (stored, current))
    if rank_stored == rank_current and not _probabilities_differ(p_stored, p_current):
        return None
    return CandidateChange(
        id=candidate.id,
        formula=candidate.formula,
        rank_stored=rank_stored,
        rank_current=rank_current,
        probability_stored=p_stored,
        probability_current=p_current,
    )


def _probabilities_differ(stored: float | None, current: float | None) -> bool:
    if stored is None or current is None:
        return stored is not current
    return abs(stored - current) > MIN_PROBABILITY_CHANGE
