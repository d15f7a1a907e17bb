"""A stored answer, asked again: whether it would be the same under the model and the index of today, and how not."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from app.presentation.schemas.predict import Answer, CandidateSchema
from app.presentation.schemas.replay import CandidateChange, Replay
from app.services.options import PredictOptions
from app.services.uploads import FormBody, JsonBody, PointUpload, Upload, parse_json_object
from model.errors import OptionError, TooLargeError
from model.pattern.points.point_table import MAX_POINTS

# Probabilities that differ by less are the same: other processors round otherwise.
SAME_PROBABILITY = 0.005
# A hundred candidates with each spot listed take 250 lists and 25 kB a spot.
MOST_BYTES, MOST_LISTS = 32 * 2**20, 5 * MAX_POINTS
_SEND = "send the answer as /predict gave it, as the JSON key or the file `answer`"


def asked_again(body: JsonBody | FormBody) -> tuple[Upload, PredictOptions, Answer]:
    """The pattern and the options of a stored answer, and the answer.

    Args:
        body: a form with the pattern as `file` and the answer as `answer`, or JSON with `answer`, and `points` unless
            the answer was recorded (`record=true`) and has them itself.

    Raises:
        DomainError: see `parse_json_object`.
        OptionError: no answer, no pattern, or options that this version does not know.
    """
    if isinstance(body, FormBody):
        if body.fields:
            raise OptionError("the options of the stored answer are taken; send `file` and `answer` alone")
        if not body.attachments:
            raise OptionError(f"no stored answer came; {_SEND}")
        answer = _answer(_read(body.attachments[0].data))
        return body.file, _options(answer), answer
    content = _read(body.data)
    answer, points = _answer(content.pop("answer", None)), content.pop("points", None)
    if content:
        raise OptionError(
            f"unknown key {next(iter(content))!r:.60}; the options of the stored answer are taken, send `answer` and "
            "`points` alone"
        )
    if points is None and answer.pattern is not None:
        recorded = answer.pattern.model_dump()
        # What concerns a frame alone has been done with it.
        instead = {**recorded, "calibration": None, "frame": None}
        return PointUpload(instead.pop("points")), _options(answer, instead), answer
    if not isinstance(points, list):
        raise OptionError(
            "the answer was not recorded (record=true); send its pattern too, as `points` or a form's `file`"
        )
    return PointUpload(points), _options(answer), answer


def _read(data: bytes) -> dict[str, Any]:
    if len(data) > MOST_BYTES:
        raise TooLargeError(f"the stored answer has {len(data)} bytes; {MOST_BYTES} at most are read")
    return parse_json_object(data, _SEND, MOST_LISTS)


def _answer(content: object) -> Answer:
    if not isinstance(content, dict):
        raise OptionError(f"no stored answer came; {_SEND}")
    try:
        # What another version of the service told besides is of no concern here.
        return Answer.model_validate(content, strict=False, extra="ignore")
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise OptionError(f"answer: {where}: {first['msg']}; {_SEND}") from None


def _options(answer: Answer, instead: Mapping[str, object] | None = None) -> PredictOptions:
    given = dict(answer.query.options or {})
    return PredictOptions.from_json({**given, "overlay": None, **(instead or {})})


def replayed(then: Answer, now: Answer) -> Replay:
    """What differs between a stored answer and that of today."""
    before = {each.id: each for each in then.candidates}
    after = {each.id: each for each in now.candidates}
    ids = [*after, *(id for id in before if id not in after)]
    changes = [
        each for each in (_describe_change(before.get(id), after.get(id)) for id in ids) if each is not None
    ]
    origins = {
        name: [getattr(then.provenance, name), getattr(now.provenance, name)]
        for name in type(now.provenance).model_fields
        if getattr(then.provenance, name) != getattr(now.provenance, name)
    }
    return Replay(
        request_id=now.request_id,
        changed=bool(changes) or then.verdict != now.verdict,
        verdict_stored=then.verdict,
        verdict_current=now.verdict,
        candidate_changes=changes,
        provenance_changes=origins,
        answer=now,
    )


def _describe_change(then: CandidateSchema | None, now: CandidateSchema | None) -> CandidateChange | None:
    """A candidate that stands elsewhere, or is as likely no more; None for one as it was."""
    either = now or then
    assert either is not None
    ranks = [None if each is None else each.rank for each in (then, now)]
    probabilities = [None if each is None else each.probability for each in (then, now)]
    if ranks[0] == ranks[1] and not _differ(*probabilities):
        return None
    return CandidateChange(
        id=either.id,
        formula=either.formula,
        rank_stored=ranks[0],
        rank_current=ranks[1],
        probability_stored=probabilities[0],
        probability_current=probabilities[1],
    )


def _differ(then: float | None, now: float | None) -> bool:
    if then is None or now is None:
        return then is not now
    return abs(then - now) > SAME_PROBABILITY
