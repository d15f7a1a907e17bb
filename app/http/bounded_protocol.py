"""HTTP/1.1 over one connection, as uvicorn speaks it, with limits that uvicorn does not have.

uvicorn closes a connection that has been idle after a response. It does not close one that never sends a request, sends
it byte by byte or does not read the response, and it limits neither the head of a request nor the framing of its body.
"""

import asyncio
import logging
import math
import uuid
from enum import Enum, auto
from functools import partial
from typing import Any, cast

import httptools
from fastapi import FastAPI
from uvicorn._types import ASGI3Application
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.server import ServerState

from app.errors import OverloadedError, QueueFullError, RequestTimeoutError
from app.http.connections import OpenConnections
from app.http.middleware import MAX_DRAIN_S, REQUEST_ID, SECURITY_HEADERS
from app.http.problem_details import describe_error, error_headers, label_problem
from app.http.read_body import MIN_PROGRESS_BYTES
from app.http.read_turns import TurnedFlow
from app.http.request_framing import RequestFraming, check_head, malformed
from app.observability.metrics import Metrics
from app.presentation.formats import PROBLEM_JSON
from model.errors import DomainError

logger = logging.getLogger(__name__)

READ_BYTES = 64 * 1024
MAX_PIPELINED = 8
LINGER_S = 2.0
_KEY_HEADERS = (b"authorization", b"x-api-key")


class Waiting(Enum):
    """What the service waits for next on a connection, whether or not it has answered what came before."""

    REQUEST = auto()
    HEAD = auto()
    BODY = auto()
    CLOSE = auto()


class BoundedProtocol(HttpToolsProtocol):
    """One connection.

    Args:
        config: the configuration of the server.
        server_state: what the connections of the server share.
        app_state: the state of the lifespan.
        _loop: the event loop.
        connections: the open connections, of which this becomes one.
        metrics: counts the refused requests.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        connections: OpenConnections,
        metrics: Metrics,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._open_connections = connections
        self._metrics = metrics
        self._waiting, self._since = Waiting.REQUEST, self.loop.time()
        self._unanswered = 0  # requests whose head has arrived
        self._running: RequestResponseCycle | None = None
        self._ignores_data = False
        self._stage = 0
        self._answered_at = self._since
        self._framing = RequestFraming()
        self._progress_bytes = 0
        self._unread_bytes, self._unread_since = 0, self._since

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start."""
        super().connection_made(transport)
        # asyncio's own transports read 256 KiB at a time, for which many uploads keep everyone else waiting.
        transport.max_size = READ_BYTES  # type: ignore[attr-defined]
        self.flow: TurnedFlow = TurnedFlow(transport, self._open_connections.turns)
        self._open_connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Finish."""
        self._open_connections.discard(self)
        super().connection_lost(exc)

    # What the parser reports. An exception raised here reaches `data_received` as the context of the parser's own.

    def data_received(self, data: bytes) -> None:
        """Parse what has arrived."""
        if self._ignores_data:
            return
        self._unset_keepalive_if_required()
        stage = self._stage
        try:
            self.parser.feed_data(data)
            if stage == self._stage:
                self._count_received(len(data))
        except httptools.HttpParserUpgrade:
            self._close_after_response()
        except httptools.HttpParserError as error:
            cause = error.__context__
            self._refuse(cause if isinstance(cause, DomainError) else malformed("it is not valid HTTP"))
        except DomainError as error:
            self._refuse(error)

    def _count_received(self, size: int) -> None:
        if self._waiting is Waiting.HEAD:
            self._framing.add_head_bytes(size)
        elif self._waiting is Waiting.BODY:
            self._framing.add_body_bytes(size)

    def on_message_begin(self) -> None:
        """Start a request."""
        super().on_message_begin()
        self._framing = RequestFraming()
        self._wait_for(Waiting.HEAD)

    def on_url(self, url: bytes) -> None:
        """Add a piece of the URL."""
        self._framing.add_url(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Add a header. Trailers, which follow the body, are dropped: they could replace headers already checked."""
        self._framing.add_header(len(name) + len(value))
        if self._waiting is Waiting.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Start to answer the request."""
        check_head(self.parser.get_http_version(), self.headers)
        if len(self.pipeline) >= MAX_PIPELINED:
            raise OverloadedError("Too many requests at once over one connection; await the answers.")
        if self._open_connections.are_all_busy():
            raise OverloadedError("All connections of the service are in use; retry.")
        if self._would_be_refused():
            raise QueueFullError(
                "The request queue is full of requests from your address; retry in a moment."
            )
        super().on_headers_complete()
        self._unanswered += 1
        self._wait_for(Waiting.BODY)

    def _would_be_refused(self) -> bool:
        """Whether the application would refuse the job of this request; who sends a key is not known by the address."""
        return (
            self.parser.get_method() == b"POST"
            and self.client is not None
            and self._open_connections.fills_queue(self.client[0])
            and not any(name in _KEY_HEADERS for name, _ in self.headers)
        )

    def on_chunk_header(self) -> None:
        """Count a chunk."""
        self._framing.add_chunk()

    def on_body(self, body: bytes) -> None:
        """Pass on a piece of the body."""
        self._framing.add_body(len(body))
        self._progress_bytes += len(body)
        if self._progress_bytes >= MIN_PROGRESS_BYTES:
            self._progress_bytes, self._since = 0, self.loop.time()
        super().on_body(body)
        if self._framing.is_large:
            self.flow.take_turns(self._framing.body_bytes, has_reader=not self.cycle.response_complete)

    def on_message_complete(self) -> None:
        """End a request."""
        super().on_message_complete()
        self.flow.read_freely()
        self._wait_for(Waiting.REQUEST)

    def on_response_complete(self) -> None:
        """End a response."""
        self._unanswered -= 1
        self._since = self._answered_at = self.loop.time()
        super().on_response_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # Limits

    def _wait_for(self, waiting: Waiting) -> None:
        self._waiting, self._since = waiting, self.loop.time()
        self._progress_bytes = 0
        self._stage += 1

    def _is_computing(self) -> bool:
        """Whether a request that has arrived in full is unanswered."""
        return self._unanswered > (1 if self._waiting is Waiting.BODY else 0)

    def waited_s(self, now: float) -> float | None:
        """Return how long the service has waited for the client; None while the client waits for the service."""
        if self.unread_bytes():
            return now - self._unread_since
        return None if self._is_computing() else now - self._since

    def unread_bytes(self) -> int:
        """Return the size of what the client has not read yet."""
        return self.transport.get_write_buffer_size()

    def enforce_limits(self, now: float) -> None:
        """Close the connection if the client has exceeded a time limit."""
        limits, waited_s = self._open_connections.limits, self.waited_s(now)
        if self._stops_reading(now, limits.stall_s):
            self.transport.abort()
        elif waited_s is None or self.transport.is_closing():
            return
        elif self._waiting is Waiting.HEAD and waited_s > limits.idle_s:
            self._refuse(
                RequestTimeoutError(f"The head of the request did not arrive in {limits.idle_s:g} s.")
            )
        elif self._waiting is Waiting.REQUEST and waited_s > limits.idle_s:
            self.transport.close()
        elif waited_s > LINGER_S if self._waiting is Waiting.CLOSE else self._drains_too_long(now):
            self.transport.abort()

    def _drains_too_long(self, now: float) -> bool:
        """Whether the body of a request that has been answered still arrives."""
        is_draining = self._waiting is Waiting.BODY and not self._unanswered
        return is_draining and now > self._answered_at + MAX_DRAIN_S

    def _stops_reading(self, now: float, stall_s: float) -> bool:
        size = self.unread_bytes()
        if size == 0 or size <= self._unread_bytes - MIN_PROGRESS_BYTES:
            self._unread_bytes, self._unread_since = size, now
        self._unread_bytes = max(size, self._unread_bytes)
        return now > self._unread_since + stall_s

    def close_for_others(self) -> None:
        """Close the connection at once, with a 503 if a request has begun to arrive."""
        if self._waiting in {Waiting.HEAD, Waiting.BODY}:
            self._refuse(
                OverloadedError("The service needs the connection for others; send the request again.")
            )
        self.transport.abort()

    def _refuse(self, error: DomainError) -> None:
        """Answer with a problem, unless the request has an answer, and read no more requests.

        The connection stays open for a moment, because the client reads no answer if it is reset while it sends.
        """
        if self._is_computing() or self._is_answering():
            self._close_after_response()
            return
        if self._waiting is not Waiting.BODY or self._unanswered:
            self.transport.write(self._describe(error))
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._ignores_data = True
        self.flow.resume_reading()
        self._unanswered = 0
        self._wait_for(Waiting.CLOSE)

    def _is_answering(self) -> bool:
        return self._unanswered > 0 and self.cycle.response_started

    def _close_after_response(self) -> None:
        """Answer the current request, but nothing that came after it, and close the connection."""
        assert self._running is not None
        self._running.keep_alive = False
        self.pipeline.clear()
        self._unanswered, self._ignores_data = 1, True
        self._wait_for(Waiting.REQUEST)

    def _describe(self, error: DomainError) -> bytes:
        """Return the response to a request that the application does not see; count it and log it."""
        problem = describe_error(error, uuid.uuid4().hex)
        client = self.client[0] if self.client else "unknown"
        self._metrics.record_problem(label_problem(problem))
        logger.info("Refused a request from %s: %d, %s", client, problem.status, problem.detail)
        body = problem.model_dump_json().encode()
        headers = {
            "Content-Type": PROBLEM_JSON,
            "Content-Length": str(len(body)),
            "Connection": "close",
            "Cache-Control": "no-store",
            REQUEST_ID: problem.request_id,
            **SECURITY_HEADERS,
            **error_headers(problem),
        }
        lines = b"".join(f"{name}: {value}\r\n".encode("ascii") for name, value in headers.items())
        return STATUS_LINE[problem.status] + lines + b"\r\n" + body


def server_options(app: FastAPI) -> dict[str, Any]:
    """Return the options of `uvicorn.Config` that bound the connections of an application."""
    connections: OpenConnections = app.state.connections
    protocol = partial(BoundedProtocol, connections=connections, metrics=app.state.metrics)
    return {
        "http": cast("type[asyncio.Protocol]", protocol),
        "ws": "none",
        "backlog": connections.limits.backlog,
        "timeout_keep_alive": math.ceil(connections.limits.idle_s),
    }
