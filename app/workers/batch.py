"""Predict many patterns of one request: files, the members of zips, the images of scans; results come in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import InternalError, QueueFullError
from app.presentation.formats import JSON
from app.services.uploads import FileUpload, FormBody, SavedFile, SavedForm
from app.workers.messages import Job, Reply
from app.workers.scan import unopened
from app.workers.zip_archive import Member, limited_zip
from model.errors import DomainError
from model.pattern.formats.npy import is_npz

RunJob = Callable[[Job], Awaitable[Reply]]

_ZIP_SIGNATURE = b"PK\x03\x04"
_RETRY_S = 0.05


@dataclass(frozen=True)
class BatchItem:
    """One pattern of a batch.

    Attributes:
        file_number: number of its file in the request, from 1.
        name: name of its file.
        image: number of its image, where the file holds several.
        payload: arguments of its job, or the error that leaves it without one.
        blobs: byte strings of its job.
    """

    file_number: int
    name: str
    image: int | None
    payload: dict[str, Any] | DomainError | InternalError
    blobs: tuple[bytes, ...] = ()


@dataclass(frozen=True)
class BatchResult:
    """The result for one pattern of a batch.

    Attributes:
        index: number of the pattern in the batch, from 0.
        item: the pattern.
        request_id: id of the pattern, made from that of the batch.
        outcome: the answer as JSON, or the error.
    """

    index: int
    item: BatchItem
    request_id: str
    outcome: bytes | DomainError | InternalError


@dataclass(frozen=True)
class Batch:
    """The patterns of a request.

    Attributes:
        form: files (patterns, zips of patterns, scans) and the options for all of them.
        one_image: whether the options choose one image of each file.
        request_id: id of the request.
    """

    form: SavedForm
    one_image: bool
    request_id: str

    async def results(self, run: RunJob, concurrency: int) -> AsyncGenerator[BatchResult, None]:
        """Yield the result for each pattern, in order.

        Args:
            run: runs a job.
            concurrency: how many patterns are computed at a time.
        """
        tasks: deque[asyncio.Task[BatchResult]] = deque()
        index = 0
        try:
            async for item in self._list_items(run):
                tasks.append(asyncio.create_task(self._predict(index, item, run)))
                index += 1
                if len(tasks) >= concurrency:
                    yield await tasks.popleft()
            while tasks:
                yield await tasks.popleft()
        finally:
            for task in tasks:
                task.cancel()

    async def _list_items(self, run: RunJob) -> AsyncIterator[BatchItem]:
        for number, file in enumerate(self.form.files, start=1):
            try:
                # In a thread: a tightly packed member of a zip takes half a second.
                if await asyncio.to_thread(is_zip, file.path, file.filename):
                    members = await asyncio.to_thread(_open_zip, file.path)
                    while (member := await asyncio.to_thread(next, members, None)) is not None:
                        yield self._zip_item(number, file, member)
                else:
                    for image in await self._list_images(file, run):
                        scan = {"path": str(file.path), "name": file.filename, "image": image}
                        payload = {"scan": scan, "fields": self.form.fields}
                        yield BatchItem(number, file.filename, image, payload)
            except OSError as error:
                yield BatchItem(number, file.filename, None, unopened(error))
            except (DomainError, InternalError) as error:
                yield BatchItem(number, file.filename, None, error)

    async def _list_images(self, file: SavedFile, run: RunJob) -> list[int] | list[None]:
        """Return the numbers of a file's images; a single None if it holds one, or one is chosen."""
        if self.one_image:
            return [None]
        images = (await _run_when_possible(run, Job("images", {"path": str(file.path)}))).told["of"]
        return list(range(images)) if images > 1 else [None]

    def _zip_item(self, number: int, file: SavedFile, member: Member) -> BatchItem:
        name = f"{file.filename}/{member.name}"
        if isinstance(member.content, DomainError):
            return BatchItem(number, name, None, member.content)
        body, blobs = FormBody(FileUpload(member.content, member.name), self.form.fields).packed()
        return BatchItem(number, name, None, {"body": body}, blobs)

    async def _predict(self, index: int, item: BatchItem, run: RunJob) -> BatchResult:
        request_id = f"{self.request_id}-{index}"
        if isinstance(item.payload, Exception):
            return BatchResult(index, item, request_id, item.payload)
        payload = {**item.payload, "media_type": JSON, "request_id": request_id}
        try:
            reply = await _run_when_possible(run, Job("predict", payload, item.blobs))
        except (DomainError, InternalError) as error:
            return BatchResult(index, item, request_id, error)
        return BatchResult(index, item, request_id, reply.blobs[0])


def _open_zip(path: Path) -> Iterator[Member]:
    return limited_zip(path.read_bytes())


def is_zip(path: Path, name: str) -> bool:
    """Return whether a file is a zip of files, and not an NPZ, which is a zip of arrays.

    Args:
        path: path of the file.
        name: its name; one that ends in `.zip` is a zip of files even if it looks like an NPZ.
    """
    with path.open("rb") as file:
        start = file.read(512)
    return start.startswith(_ZIP_SIGNATURE) and (name.lower().endswith(".zip") or not is_npz(start))


async def _run_when_possible(run: RunJob, job: Job) -> Reply:
    """Run a job, again while the queue is full: a batch must not be refused for its own length."""
    while True:
        try:
            return await run(job)
        except QueueFullError:
            await asyncio.sleep(_RETRY_S)
