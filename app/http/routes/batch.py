"""`POST /predict/batch`: many patterns in, a line of JSON out for each."""

import asyncio
import json
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from app.errors import QueueFullError
from app.http.accept import choose_media_type
from app.http.dependencies import reject_query_options
from app.http.openapi import BATCH_BODY, BATCH_RESPONSES
from app.http.problem_details import describe_error, label_problem
from app.http.read_body import save_files
from app.http.state import MOST_BATCHES, Service, request_id_of, service_of
from app.presentation.formats import NDJSON
from app.presentation.schemas.service import Problem
from app.services.options import PredictOptions
from app.workers.batch import Batch, BatchResult
from app.workers.messages import Job, ReplyT

logger = logging.getLogger(__name__)

router = APIRouter()


@router.post(
    "/predict/batch",
    summary="Identify the crystals of many patterns",
    response_class=Response,
    responses=BATCH_RESPONSES,
    openapi_extra={"requestBody": BATCH_BODY},
)
async def post_batch(request: Request) -> Response:
    """Send files, zips of files, or scans; the answer to each pattern is a line, in order, sent when it is ready."""
    service = service_of(request)
    reject_query_options(request)
    choose_media_type(request.headers.get("accept"), (NDJSON,))
    if service.batches.locked():
        raise QueueFullError(
            f"{MOST_BATCHES} batches are under way, as many as may be; try again when one has ended"
        )
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(service.batches)
        form = await stack.enter_async_context(save_files(request, service.settings))
        # The options are parsed here, once for all patterns: an invalid one is a 422, impossible after the first line.
        options = PredictOptions.from_text(form.fields)
        batch = Batch(form.files, options, request_id_of(request))
        lines = await stack.enter_async_context(aclosing(_lines(service, batch)))
        return _Lines(lines, stack.pop_all(), service.settings.stall_s)


class _Lines(StreamingResponse):
    """Lines as they come.

    Args:
        lines: of the answer.
        held: until the last line is out, or the client has gone, be it before the first.
        stall_s: a client that takes nothing for so long has gone, too.
    """

    def __init__(self, lines: AsyncIterator[bytes], held: AsyncExitStack, stall_s: float) -> None:
        super().__init__(lines, media_type=NDJSON, headers={"Vary": "Accept"})
        self._held = held
        self._stall_s = stall_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection."""

        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._stall_s):
                await send(message)

        async with self._held:
            try:
                await super().__call__(scope, receive, send_in_time)
            except TimeoutError:
                logger.warning("a client took no line of its batch for %g s and is left", self._stall_s)


async def _lines(service: Service, batch: Batch) -> AsyncGenerator[bytes, None]:
    async def run(job: Job[ReplyT]) -> ReplyT:
        reply = await service.dispatcher.run(job)
        service.note(reply)
        return reply

    # One more than there are workers, so that none waits for the stream.
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
