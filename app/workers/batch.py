"""Many patterns in one request: files, zips of files, scans of many images; answers in order, each when it is ready."""

import asyncio
import json
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from app.errors import BusyError, problem_name, problem_of
from app.http.accept import JSON
from app.http.saved_files import SavedFile
from app.services.uploads import FileUpload, FormBody
from app.workers.messages import Job, Reply, UnforeseenError
from app.workers.scan import unopened
from app.workers.zip_archive import Member, limited_zip
from model.errors import DomainError
from model.pattern.formats.npy import is_npz

Run = Callable[[Job], Awaitable[Reply]]

_ZIP = b"PK\x03\x04"
_PAUSE_S = 0.05


@dataclass(frozen=True)
class Item:
    """One pattern of a batch.

    Attributes:
        name: of its file.
        image: number of its image, where the file holds several.
        asked: the job's own arguments, or why there is no job.
        blobs: the job's.
        file: number of its file in the request, from 1.
    """

    name: str
    image: int | None
    asked: dict[str, Any] | DomainError | UnforeseenError
    blobs: tuple[bytes, ...] = ()
    file: int = 0


@dataclass(frozen=True)
class Batch:
    """What a request asks.

    Attributes:
        files: patterns, zips of patterns, scans.
        fields: the options, the same for all.
        one_image: whether the options choose one image of each file.
        request_id: of the request; that of a pattern is made of it.
    """

    files: tuple[SavedFile, ...]
    fields: tuple[tuple[str, str], ...]
    one_image: bool
    request_id: str

    async def lines(
        self, run: Run, together: int, refused: Callable[[str], None] | None = None
    ) -> AsyncGenerator[bytes, None]:
        """A line of JSON for each pattern, see `app.presentation.schemas.BatchLine`.

        Args:
            run: computes a job.
            together: how many are under way at a time.
            refused: is told the name of each problem.
        """
        waiting: deque[asyncio.Task[bytes]] = deque()
        index = 0
        try:
            async for item in self._items(run):
                waiting.append(asyncio.create_task(self._line(index, item, run, refused)))
                index += 1
                if len(waiting) >= together:
                    yield await waiting.popleft()
            while waiting:
                yield await waiting.popleft()
        finally:
            for task in waiting:
                task.cancel()

    async def _items(self, run: Run) -> AsyncIterator[Item]:
        for number, file in enumerate(self.files, start=1):
            async for item in self._of_file(file, run):
                yield replace(item, file=number)

    async def _of_file(self, file: SavedFile, run: Run) -> AsyncIterator[Item]:
        try:
            # Off the event loop: a zip that is packed tight takes half a second a member.
            if await asyncio.to_thread(is_zip, file.path, file.name):
                members = await asyncio.to_thread(_opened_zip, file.path)
                while (member := await asyncio.to_thread(next, members, None)) is not None:
                    yield self._of_zip(file, member)
            else:
                for number in await self._images(file, run):
                    asked = {"path": str(file.path), "name": file.name, "image": number}
                    yield Item(file.name, number, {"scan": asked, "fields": self.fields})
        except OSError as error:
            yield Item(file.name, None, unopened(error))
        except (DomainError, UnforeseenError) as error:
            yield Item(file.name, None, error)

    async def _images(self, file: SavedFile, run: Run) -> Sequence[int | None]:
        """Numbers of the images of a file; a single None where it holds one, or one is chosen."""
        if self.one_image:
            return [None]
        of = (await _patiently(run, Job("images", {"path": str(file.path)}))).told["of"]
        return range(of) if of > 1 else [None]

    def _of_zip(self, file: SavedFile, member: Member) -> Item:
        name = f"{file.name}/{member.name}"
        if isinstance(member.content, DomainError):
            return Item(name, None, member.content)
        body, blobs = FormBody(FileUpload(member.content, member.name), self.fields).packed()
        return Item(name, None, {"body": body}, blobs)

    async def _line(self, index: int, item: Item, run: Run, refused: Callable[[str], None] | None) -> bytes:
        request_id = f"{self.request_id}-{index}"
        progress = {"file": item.file, "of": len(self.files)}
        told = {"index": index, "name": item.name, "image": item.image, "progress": progress}
        try:
            if isinstance(item.asked, Exception):
                raise item.asked
            job = Job("predict", {**item.asked, "media_type": JSON, "request_id": request_id}, item.blobs)
            answer = (await _patiently(run, job)).blobs[0].decode()
            status, problem = 200, "null"
        except (DomainError, UnforeseenError) as error:
            found = problem_of(error, request_id)
            status, problem, answer = found.status, found.model_dump_json(), "null"
            if refused is not None:
                refused(problem_name(found))
        head = json.dumps({**told, "status": status})
        return f'{head[:-1]},"answer":{answer},"problem":{problem}}}\n'.encode()


def _opened_zip(path: Path) -> Iterator[Member]:
    return limited_zip(path.read_bytes())


def is_zip(path: Path, name: str) -> bool:
    """Whether a file is a zip of files, and not NumPy's, which looks the same as a zip of its arrays packed by hand.

    Args:
        path: of the file.
        name: that it goes by; one in `.zip` was packed by hand.
    """
    with path.open("rb") as file:
        beginning = file.read(512)
    return beginning.startswith(_ZIP) and (name.lower().endswith(".zip") or not is_npz(beginning))


async def _patiently(run: Run, job: Job) -> Reply:
    """What comes of a job; where the queue is full it waits, so that a batch is not refused for its own length."""
    while True:
        try:
            return await run(job)
        except BusyError:
            await asyncio.sleep(_PAUSE_S)
