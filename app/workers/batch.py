"""Predict many patterns of one request: files, the members of zips, the images of scans; results come in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import InternalError, QueueFullError
from app.services.options import PredictOptions
from app.services.uploads import FileUpload, SavedFile
from app.workers.messages import CountImagesJob, Job, PredictBatchItemJob, ReplyT, SavedImage
from app.workers.scan import describe_open_error
from app.workers.zip_archive import Member, read_members
from model.errors import DomainError
from model.pattern.formats.npy import is_npz


class RunJob(Protocol):
    """Runs a job and returns its reply; `Dispatcher.run` does."""

    async def __call__(self, job: Job[ReplyT], /) -> ReplyT:
        """Run a job."""
        ...


_ZIP_SIGNATURE = b"PK\x03\x04"
_RETRY_S = 0.05


@dataclass(frozen=True)
class BatchItem:
    """One pattern of a batch.

    Attributes:
        file_number: number of its file in the request, from 1.
        name: name of its file.
        image: number of its image, where the file holds several.
        pattern: the pattern itself, or why there is none.
    """

    file_number: int
    name: str
    image: int | None
    pattern: FileUpload | SavedImage | DomainError | InternalError


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
        files: patterns, zips of patterns, and scans.
        options: the options for all of them.
        request_id: id of the request.
    """

    files: tuple[SavedFile, ...]
    options: PredictOptions
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
        for number, file in enumerate(self.files, start=1):
            try:
                # In a thread: a tightly packed member of a zip takes half a second.
                if await asyncio.to_thread(is_zip, file.path, file.filename):
                    members = await asyncio.to_thread(_open_zip, file.path)
                    while (member := await asyncio.to_thread(next, members, None)) is not None:
                        yield _make_zip_item(number, file, member)
                else:
                    for image in await self._list_images(file, run):
                        yield BatchItem(number, file.filename, image, SavedImage(file, image))
            except OSError as error:
                yield BatchItem(number, file.filename, None, describe_open_error(error))
            except (DomainError, InternalError) as error:
                yield BatchItem(number, file.filename, None, error)

    async def _list_images(self, file: SavedFile, run: RunJob) -> list[int] | list[None]:
        """Return the numbers of a file's images; a single None if it holds one, or one is chosen."""
        if self.options.frame is not None:
            return [None]
        job = CountImagesJob(request_id=self.request_id, file=file)
        images = (await _run_when_possible(run, job)).images
        return list(range(images)) if images > 1 else [None]

    async def _predict(self, index: int, item: BatchItem, run: RunJob) -> BatchResult:
        request_id = f"{self.request_id}-{index}"
        if isinstance(item.pattern, Exception):
            return BatchResult(index, item, request_id, item.pattern)
        job = PredictBatchItemJob(request_id=request_id, pattern=item.pattern, options=self.options)
        try:
            return BatchResult(index, item, request_id, (await _run_when_possible(run, job)).body)
        except (DomainError, InternalError) as error:
            return BatchResult(index, item, request_id, error)


def _make_zip_item(number: int, file: SavedFile, member: Member) -> BatchItem:
    content = member.content
    pattern = content if isinstance(content, DomainError) else FileUpload(content, member.name)
    return BatchItem(number, f"{file.filename}/{member.name}", None, pattern)


def _open_zip(path: Path) -> Iterator[Member]:
    return read_members(path.read_bytes())


def is_zip(path: Path, name: str) -> bool:
    """Return whether a file is a zip of files, and not an NPZ, which is a zip of arrays.

    Args:
        path: path of the file.
        name: its name; one that ends in `.zip` is a zip of files even if it looks like an NPZ.
    """
    with path.open("rb") as file:
        start = file.read(512)
    return start.startswith(_ZIP_SIGNATURE) and (name.lower().endswith(".zip") or not is_npz(start))


async def _run_when_possible(run: RunJob, job: Job[ReplyT]) -> ReplyT:
    """Run a job, again while the queue is full: a batch must not be refused for its own length."""
    while True:
        try:
            return await run(job)
        except QueueFullError:
            await asyncio.sleep(_RETRY_S)
