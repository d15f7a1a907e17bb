"""Identify the crystals of many patterns: `POST /predict/batch`."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.auth.access import require_role
from app.http.dependencies import (
    NO_QUERY_OPTIONS,
    VARY,
    SavedUpload,
    Service,
    ServiceDependency,
    accepted_media_type,
    name_client,
)
from app.http.openapi import ACCESS_PROBLEMS, UPLOAD_PROBLEMS
from app.http.problem_details import describe_error, label_problem
from app.http.request_bodies import BatchForm, request_body
from app.presentation.formats import NDJSON
from app.presentation.schemas.batch import BatchLine
from app.presentation.schemas.service import Problem
from app.services.options import PredictOptions
from app.workers.batch import Batch, BatchResult
from app.workers.messages import Job, ReplyT

logger = logging.getLogger(__name__)

router = APIRouter(dependencies=[require_role("read")], responses=ACCESS_PROBLEMS)


class NdjsonResponse(JSONResponse):
    """Documents the media type; the actual response is a `LineStream`."""

    media_type = NDJSON


@router.post(
    "/predict/batch",
    summary="Identify the crystals of many patterns",
    response_class=NdjsonResponse,
    response_model=BatchLine,
    response_description="One line of JSON per pattern, in order.",
    responses=UPLOAD_PROBLEMS,
    openapi_extra=request_body(PredictOptions, form=BatchForm),
    dependencies=[NO_QUERY_OPTIONS, accepted_media_type(NDJSON)],
)
async def predict_batch(request: Request, service: ServiceDependency, form: SavedUpload) -> Response:
    """Send files, zips of files, or scans. The answer to each pattern is a line, sent as soon as it is ready."""
    # The options are parsed here, once for all patterns: an invalid one is a 422, impossible after the first line.
    options = PredictOptions.from_text(form.fields)
    batch = Batch(form.files, options, request.state.request_id)
    return LineStream(_answer_lines(service, batch, name_client(request)), service.settings.stall_s)


class LineStream(StreamingResponse):
    """Sends lines as they become ready.

    Args:
        lines: the lines.
        stall_s: how long a client may take to read a line before the response is aborted.
    """

    def __init__(self, lines: AsyncGenerator[bytes, None], stall_s: float) -> None:
        super().__init__(lines, media_type=NDJSON, headers=VARY)
        self._lines = lines
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._stall_s):
                await send(message)

        async with aclosing(self._lines):  # cancels what is still being computed
            try:
                await super().__call__(scope, receive, send_in_time)
            except TimeoutError:
                logger.warning("A batch was aborted because its client read no line for %g s.", self._stall_s)


async def _answer_lines(service: Service, batch: Batch, client: str) -> AsyncGenerator[bytes, None]:
    async def run(job: Job[ReplyT]) -> ReplyT:
        reply = await service.dispatcher.run(job, client=client)
        service.record_reply(reply)
        return reply

    # One more than there are workers, so that no worker waits for the stream.
    concurrency = service.settings.workers + 1
    async with aclosing(batch.results(run, concurrency)) as results:
        async for result in results:
            problem = find_problem(result)
            if problem is not None:
                service.metrics.record_problem(label_problem(problem))
            yield write_line(result, len(batch.files), problem)


def find_problem(result: BatchResult) -> Problem | None:
    """Return the problem of a pattern that could not be answered."""
    error = result.outcome
    return None if isinstance(error, bytes) else describe_error(error, result.request_id)


def write_line(result: BatchResult, files: int, problem: Problem | None) -> bytes:
    """Return the line for one pattern, as `app.presentation.schemas.batch.BatchLine` describes it."""
    item = result.item
    head = {
        "index": result.index,
        "name": item.name,
        "image": item.image,
        "progress": {"file": item.file_number, "files": files},
        "status": 200 if problem is None else problem.status,
    }
    # The answer is JSON already; parsing and writing it again would take longer than all the rest here.
    answer = result.outcome.decode() if isinstance(result.outcome, bytes) else "null"
    problem_json = "null" if problem is None else problem.model_dump_json()
    return f'{json.dumps(head)[:-1]},"answer":{answer},"problem":{problem_json}}}\n'.encode()
