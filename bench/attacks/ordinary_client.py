"""The ordinary client: asks ordinary questions at a modest, steady rate while the service is attacked."""

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from bench.attacks.requests import FORM, HOST, JSON, NO_ANSWER, build_form, build_request, parse_status
from bench.bodies import build_point_bodies
from bench.library import open_catalog
from bench.scenes import KINDS, render_frame
from model.crystal.structure_files import write_cif

PER_SECOND = 4.0
MAX_SECONDS = 2.0
TIMEOUT_S = 35.0  # longer than the deadline of the service
_RECOVERY_TIMEOUT_S = 3.0
CYCLE = ("livez", "points", "frame", "livez", "points", "compare", "livez", "points")
_WARM_UP_CYCLES = 4
_ROW = 10
# Below this, twice the idle median is within what the machine's other work does to one request.
_MIN_TOLERANCE_S = 0.3
_MAX_RECOVERY_S = 20.0


@dataclass(frozen=True)
class Answer:
    """What the ordinary client got: the status, NO_ANSWER if none came, and the time in seconds."""

    kind: str
    status: int
    seconds: float
    has_retry_after: bool = False

    @property
    def is_good(self) -> bool:
        """Whether it is a 200 in time."""
        return self.status == 200 and self.seconds <= MAX_SECONDS

    @property
    def is_tolerable(self) -> bool:
        """Whether it is a 200, or a 429 or 503 that says when to retry."""
        return self.status == 200 or (self.status in {429, 503} and self.has_retry_after)


@dataclass
class Observation:
    """What the ordinary client saw during one attack."""

    answers: list[Answer] = field(default_factory=list)

    @property
    def share_good(self) -> float:
        """Share of 200s within two seconds."""
        return sum(each.is_good for each in self.answers) / max(len(self.answers), 1)

    @property
    def others(self) -> Counter[str]:
        """Answers that are not 200s in time: status, and whether it says when to retry."""
        return Counter(_describe(each) for each in self.answers if not each.is_good)

    @property
    def intolerable(self) -> Counter[str]:
        """Answers that no client should get."""
        return Counter(_describe(each) for each in self.answers if not each.is_tolerable)

    def quantile_ms(self, share: float) -> float:
        """Return a quantile of the time until an answer, in milliseconds."""
        return round(1e3 * float(np.quantile([each.seconds for each in self.answers] or [np.nan], share)), 1)


def _describe(answer: Answer) -> str:
    if answer.status == NO_ANSWER:
        return "no answer"
    if answer.status == 200:
        return "late 200"
    return f"{answer.status}{'' if answer.has_retry_after else ' without Retry-After'}"


def build_questions(index: Path, key: str = "") -> dict[str, list[bytes]]:
    """Return the requests of each kind, with patterns of crystals in the index."""
    rng = np.random.default_rng(5)
    points = build_point_bodies(index, 8, rng)
    with open_catalog(index) as catalog:
        entries = catalog.get_entries(rng.integers(0, len(catalog), 8).tolist())
    frames = [render_frame(entry, KINDS["plain"], 7) for entry in entries[:4]]
    structures = [write_cif(entry.crystal) for entry in entries]
    comparisons = [
        {key: body[key] for key in ("points", "voltage_kv")} | {"structures": [first, second]}
        for body, first, second in zip(points, structures, structures[1:], strict=False)
    ]
    forms = [build_form(frame.data, {"pixel_size": f"{frame.pixel_size:.6g}"}) for frame in frames]
    return {
        "livez": [build_request("GET", "/livez", b"", JSON, key, {})],
        "points": [_post("/predict", _dump(body), JSON, key) for body in points],
        "frame": [_post("/predict", form, FORM, key) for form in forms],
        "compare": [_post("/compare", _dump(body), JSON, key) for body in comparisons],
    }


def _dump(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()


def _post(path: str, body: bytes, media_type: str, key: str) -> bytes:
    return build_request("POST", path, body, media_type, key, {})


async def ask(port: int, kind: str, request: bytes, timeout_s: float = TIMEOUT_S) -> Answer:
    """Send a request on a connection of its own and read the answer."""
    started = time.perf_counter()
    answer = b""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(HOST, port)
            try:
                writer.write(request)
                answer = await reader.read()
                if not answer:
                    raise ConnectionError
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return Answer(kind, NO_ANSWER, time.perf_counter() - started)
    head = answer.partition(b"\r\n\r\n")[0].lower()
    return Answer(kind, parse_status(answer), time.perf_counter() - started, b"\r\nretry-after:" in head)


class OrdinaryClient:
    """Asks the questions of a cycle in turn.

    Args:
        port: port of the service.
        questions: the requests of each kind, from `build_questions`.
    """

    def __init__(self, port: int, questions: Mapping[str, Sequence[bytes]]) -> None:
        self._port = port
        self._requests = {kind: itertools.cycle(requests) for kind, requests in questions.items()}
        self._kinds = itertools.cycle(CYCLE)
        self._tolerance_s: dict[str, float] = {}

    async def measure_idle(self) -> Observation:
        """Ask one question after the other, and keep the median time of each kind."""
        for _ in range(2 * len(CYCLE)):  # what is loaded and allocated once
            await self._ask_next()
        observation = Observation([await self._ask_next() for _ in range(_WARM_UP_CYCLES * len(CYCLE))])
        for kind in self._requests:
            idle_s = median(each.seconds for each in observation.answers if each.kind == kind)
            self._tolerance_s[kind] = max(2 * idle_s, _MIN_TOLERANCE_S)
        return observation

    async def observe(self, over: asyncio.Event) -> Observation:
        """Ask at a steady rate until the event, without waiting for answers; return when all have come."""
        tasks: list[asyncio.Task[Answer]] = []
        begun = time.perf_counter()
        while not over.is_set():
            tasks.append(asyncio.create_task(self._ask_next()))
            due = begun + len(tasks) / PER_SECOND
            await asyncio.sleep(max(due - time.perf_counter(), 0))
        return Observation(list(await asyncio.gather(*tasks)))

    async def measure_recovery(self) -> float:
        """Return the seconds until ten answers in a row are as fast as before, counted to the first of them.

        Infinite if that takes more than 20 s.
        """
        begun = since = time.perf_counter()
        row = 0
        while row < _ROW:
            if since - begun > _MAX_RECOVERY_S:
                return float("inf")
            answer = await self._ask_next(_RECOVERY_TIMEOUT_S)
            if answer.status == 200 and answer.seconds <= self._tolerance_s[answer.kind]:
                row += 1
            else:
                row, since = 0, time.perf_counter()
        return round(since - begun, 1)

    async def _ask_next(self, timeout_s: float = TIMEOUT_S) -> Answer:
        kind = next(self._kinds)
        return await ask(self._port, kind, next(self._requests[kind]), timeout_s)
