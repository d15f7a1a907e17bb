"""Prints, as JSON, how many files the answer to one `POST /predict` of a TIFF involves.

    python -m bench.trace_request [--index INDEX] [--list]

The service runs in this process, with a thread as its worker, on the starter index unless another is given. It answers
the same frame three times before the request that is traced. Only files of app, index and model are counted:

- files: files of which at least one function is called;
- files_before_frame_reader: files of which a function is called before the first one of model/pattern/read.py;
- switches: calls of a function in another file than that of the preceding call in the same thread;
- import_chain: length of the longest chain of modules that import one another, among the files that are called;
- import_chain_of_project: the same among all files. Imports for type checkers alone are not counted.
"""

import argparse
import asyncio
import json
import sys
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from itertools import pairwise, takewhile
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any

import grimp
from fastapi import FastAPI

from app.main import create_app
from app.services.search_index import open_index
from app.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("app", "index", "model")
FRAME = ROOT / "app" / "web" / "examples" / "mos2-tilted.tif"
FRAME_READER = ("model/pattern/read.py", "model/pattern/formats/")
WARM_UP_REQUESTS = 3
_BOUNDARY = "trace"
# The worker's thread finishes after the response is sent.
_SETTLE_S = 0.2


class CallTracer:
    """Records thread and file of every call of a project function, in order, while it is recording."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, str]] = []
        self._is_recording = False
        self._files: dict[str, str | None] = {}

    def install(self) -> None:
        """Trace this thread and all that start from now on."""
        threading.setprofile(self._record)
        sys.setprofile(self._record)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Record the calls within the block."""
        self._is_recording = True
        try:
            yield
        finally:
            self._is_recording = False

    def _record(self, frame: FrameType, event: str, _argument: object) -> None:
        if self._is_recording and event == "call":
            path = frame.f_code.co_filename
            if path not in self._files:
                self._files[path] = _project_file(path)
            file = self._files[path]
            if file is not None:
                self.calls.append((threading.get_ident(), file))


def _project_file(path: str) -> str | None:
    """Return the path of a file of the project, relative to its root; None for any other file."""
    if not Path(path).is_relative_to(ROOT):
        return None
    file = Path(path).relative_to(ROOT)
    return file.as_posix() if file.parts[0] in PACKAGES else None


async def trace_request(app: FastAPI, tracer: CallTracer) -> None:
    """Record the calls of one request to a warm service."""
    body = _form(FRAME)
    async with app.router.lifespan_context(app):
        for _ in range(WARM_UP_REQUESTS):
            await _post(app, body)
        await asyncio.sleep(_SETTLE_S)
        with tracer.recording():
            await _post(app, body)
            await asyncio.sleep(_SETTLE_S)


def _form(file: Path) -> bytes:
    disposition = "Content-Disposition: form-data; name="
    return b"\r\n".join(
        [
            f'--{_BOUNDARY}\r\n{disposition}"file"; filename="{file.name}"\r\n'.encode(),
            file.read_bytes(),
            f'--{_BOUNDARY}\r\n{disposition}"effort"\r\n\r\nverify\r\n--{_BOUNDARY}--\r\n'.encode(),
        ]
    )


async def _post(app: FastAPI, body: bytes) -> None:
    """Send a form to /predict as a server would; no client library, whose threads would be traced too."""
    received = [{"type": "http.request", "body": body, "more_body": False}]
    statuses: list[int] = []

    async def receive() -> dict[str, Any]:
        if not received:
            await asyncio.Event().wait()  # the client stays
        return received.pop()

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    headers = {"host": "localhost", "content-type": f"multipart/form-data; boundary={_BOUNDARY}"}
    scope = {
        "type": "http",
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/predict",
        "raw_path": b"/predict",
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    await app(scope, receive, send)
    if statuses != [200]:
        raise RuntimeError(f"The service answered {statuses}.")


def summarize(calls: Sequence[tuple[int, str]]) -> dict[str, Any]:
    """Count files, switches and imports; `calls` are threads and files."""
    threads: dict[int, list[str]] = defaultdict(list)
    for thread, file in calls:
        threads[thread].append(file)
    files = {file for _, file in calls}
    before = {file for _, file in takewhile(lambda call: not call[1].startswith(FRAME_READER), calls)}
    chain, project_chain = _find_import_chain(map(_module, files)), _find_import_chain(None)
    return {
        "files": len(files),
        "files_before_frame_reader": len(before),
        "switches": sum(first != second for called in threads.values() for first, second in pairwise(called)),
        "import_chain": len(chain),
        "import_chain_of_project": len(project_chain),
        "lists": {
            "files": sorted(files),
            "files_before_frame_reader": sorted(before),
            "import_chain": chain,
            "import_chain_of_project": project_chain,
        },
    }


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _find_import_chain(modules: Iterable[str] | None) -> list[str]:
    """Return the longest chain of imports among these modules, or among all; there are no cycles."""
    graph = grimp.build_graph(*PACKAGES, exclude_type_checking_imports=True)
    allowed = graph.modules if modules is None else set(modules) & graph.modules

    @cache
    def chain_from(module: str) -> tuple[str, ...]:
        imported = graph.find_modules_directly_imported_by(module) & allowed
        chains = [chain_from(each) for each in sorted(imported)]
        return (module, *max(chains, key=len)) if chains else (module,)

    chain = max((chain_from(module) for module in sorted(allowed)), key=len)
    return list(chain)


def main() -> None:
    """Trace one request and print the counts."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--index", type=Path, help="index to search; the starter index is built if not given")
    parser.add_argument("--list", action="store_true", help="print the files and the chains too")
    options = parser.parse_args()
    tracer = CallTracer()
    with TemporaryDirectory() as folder:
        settings = Settings(index=options.index or _build_starter(Path(folder) / "index"), workers=1)
        index = open_index(settings)
        tracer.install()  # now, so that the thread that looks for new versions of the index is not counted
        try:
            asyncio.run(trace_request(create_app(settings, index), tracer))
        finally:
            index.close()
    summary = summarize(tracer.calls)
    if not options.list:
        del summary["lists"]
    print(json.dumps(summary, indent=1))


def _build_starter(folder: Path) -> Path:
    from index.build.build import build_index
    from model.towers.checkpoint import load_towers

    build_index([Path("starter")], folder, load_towers(), workers=0)
    return folder


if __name__ == "__main__":
    main()
