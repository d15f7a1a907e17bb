"""HTTP requests and responses of the regression tests, on the standard library alone."""

import http.client
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

BOUNDARY = "golden-boundary-6f1c3a"
TIMEOUT_S = 120.0

Role = Literal["read", "write", "admin", "unknown", "none"]


@dataclass(frozen=True)
class File:
    """A file of a form; its content may be computed when it is sent."""

    name: str
    content: bytes | Callable[[], bytes]

    def read(self) -> bytes:
        """The bytes of the file."""
        return self.content if isinstance(self.content, bytes) else self.content()


Field = tuple[str, str | File]


@dataclass(frozen=True)
class Request:
    """One HTTP request, in the words of the recording; `renames.translate_request` gives today's.

    Attributes:
        path: path and query string.
        method: HTTP method.
        json: body of a JSON request.
        form: fields and files of a `multipart/form-data` request.
        content: a raw body, sent as it is.
        headers: further headers.
        role: role of the API key that is sent.
        body_recorded: whether the body of the answer is part of the recording.
    """

    path: str
    method: str = "POST"
    json: Any = None
    form: tuple[Field, ...] = ()
    content: bytes | Callable[[], bytes] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    role: Role = "read"
    body_recorded: bool = True

    def encode(self) -> tuple[bytes | None, dict[str, str]]:
        """The body and the headers that describe it."""
        if self.content is not None:
            return (self.content if isinstance(self.content, bytes) else self.content()), dict(self.headers)
        if self.form:
            kind = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
            return _encode_form(self.form), {**kind, **self.headers}
        if self.json is not None:
            return json.dumps(self.json).encode(), {"Content-Type": "application/json", **self.headers}
        return None, dict(self.headers)


@dataclass(frozen=True)
class Response:
    """An answer of the service."""

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def media_type(self) -> str:
        """The content type without its parameters."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.content)


# A later step of a case is made from the answers to the earlier ones; None leaves it out.
Step = Request | Callable[[Sequence[Response]], Request | None]


@dataclass(frozen=True)
class Case:
    """Requests that belong together, mostly one.

    Attributes:
        id: stable and readable; the recording is keyed by it.
        steps: sent one after another.
    """

    id: str
    steps: tuple[Step, ...]


def send_request(url: str, request: Request, keys: Mapping[str, str]) -> Response:
    """Send a request to a running service.

    Args:
        url: base address of the service.
        request: in today's words.
        keys: API key of each role.
    """
    body, headers = request.encode()
    if request.role != "none":
        headers.setdefault("Authorization", f"Bearer {keys.get(request.role, 'dd2d_' + 43 * 'A')}")
    address = urlsplit(url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=TIMEOUT_S)
    try:
        connection.request(request.method, request.path, body, headers)
        answer = connection.getresponse()
        received = {name.lower(): value for name, value in answer.getheaders()}
        return Response(answer.status, received, answer.read())
    finally:
        connection.close()


def _encode_form(form: Sequence[Field]) -> bytes:
    parts = []
    for name, value in form:
        disposition = f'Content-Disposition: form-data; name="{name}"'
        if isinstance(value, File):
            head = f'{disposition}; filename="{value.name}"\r\nContent-Type: application/octet-stream'
            content = value.read()
        else:
            head, content = disposition, value.encode()
        parts.append(f"--{BOUNDARY}\r\n{head}\r\n\r\n".encode() + content + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()
