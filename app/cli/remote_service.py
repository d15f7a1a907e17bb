"""A client of a running service. It imports none of the heavy numerical packages."""

import json
import os
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from time import monotonic, sleep

import httpx2

from model.errors import DomainError, OptionError

KEY_VARIABLE = "DD2D_KEY"
TIMEOUT_S = 600.0
_UNSAFE_IN_NAME = str.maketrans(dict.fromkeys('\\"\r\n', "_"))

Fields = Iterable[tuple[str, str]]
"""Names and texts of the request options."""


class RemoteServiceError(DomainError):
    """The service refused the request, or is unreachable.

    Attributes:
        status: of the response; None without one.
        retry_after_s: when to try again, if the service states it.
    """

    def __init__(self, message: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_s = retry_after_s


class RemoteService:
    """A running service.

    Args:
        url: such as "http://microscope:8000".
        key: the API key; taken from DD2D_KEY if None.

    Raises:
        OptionError: an invalid address or key.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        self._url = _parse_url(url)
        # The variable may end in a line break, as a file does.
        self._key = (key or os.environ.get(KEY_VARIABLE, "")).strip()
        if not (self._key.isascii() and self._key.isprintable()):
            raise OptionError(
                f"{KEY_VARIABLE} is not an API key; set it to the output of `dd2d key create`, dd2d_..."
            )

    def predict(self, file: Path, options: Fields, accept: str) -> bytes:
        """Return the answer to one pattern in a media type; RemoteServiceError if the service does not give it."""
        with self._post("/predict", file, options, accept) as response:
            return b"".join(self._read(response))

    def predict_batch(self, file: Path, options: Fields) -> Iterator[bytes]:
        """Yield a line of JSON for each pattern of a file as it arrives.

        Raises:
            RemoteServiceError: the service refused, is unreachable, or broke off.
        """
        with self._post("/predict/batch", file, options, "application/x-ndjson") as response:
            incomplete = b""
            for chunk in self._read(response):
                *lines, incomplete = (incomplete + chunk).split(b"\n")
                yield from lines

    @contextmanager
    def _post(self, path: str, file: Path, options: Fields, accept: str) -> Iterator[httpx2.Response]:
        """Send a form until a busy service accepts it."""
        name = file.name.encode("utf-8", "replace").decode().translate(_UNSAFE_IN_NAME)
        headers = {"Accept": accept} | ({"Authorization": f"Bearer {self._key}"} if self._key else {})
        deadline = monotonic() + TIMEOUT_S
        # Certificates are checked against those of the system, and proxies of the environment are not used.
        tls = ssl.create_default_context() if self._url.scheme == "https" else False
        with httpx2.Client(timeout=TIMEOUT_S, verify=tls, trust_env=False) as client:
            request = client.build_request(
                "POST",
                self._url.copy_with(path=self._url.path.rstrip("/") + path),
                headers=headers,
                data={key: value for key, value in options if value},
                files={"file": (name, file.read_bytes())},
            )
            while True:
                response = self._send(client, request)
                if response.status_code == HTTPStatus.OK:
                    break
                refusal = _read_refusal(response, b"".join(self._read(response)))
                response.close()
                if refusal.retry_after_s is None or monotonic() + refusal.retry_after_s > deadline:
                    raise refusal
                sleep(refusal.retry_after_s)
            try:
                yield response
            finally:
                response.close()

    def _send(self, client: httpx2.Client, request: httpx2.Request) -> httpx2.Response:
        try:
            return client.send(request, stream=True)
        except httpx2.TransportError as error:
            raise RemoteServiceError(f"{self._url} is unreachable: {_describe(error)}.") from None

    def _read(self, response: httpx2.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_bytes()
        except httpx2.TransportError as error:
            raise RemoteServiceError(
                f"{self._url} closed the connection before the response was complete: {_describe(error)}."
            ) from None


def _parse_url(text: str) -> httpx2.URL:
    try:
        url = httpx2.URL(text)
    except httpx2.InvalidURL:
        url = httpx2.URL()
    if (
        url.scheme not in {"http", "https"}
        or not url.host
        or not 0 < (80 if url.port is None else url.port) < 2**16
    ):
        raise OptionError(f"--url {text} is not a URL; give one such as http://127.0.0.1:8000.")
    return url.copy_with(userinfo=b"", query=None, fragment=None)


def _read_refusal(response: httpx2.Response, content: bytes) -> RemoteServiceError:
    try:
        message = str(json.loads(content)["detail"])
    except (ValueError, KeyError, TypeError):
        message = (
            f"The server at this URL answered with status {response.status_code} "
            f"{response.reason_phrase}; check that it is a "
            "dd2d service."
        )
    after = response.headers.get("Retry-After", "")
    return RemoteServiceError(message, response.status_code, float(after) if after.isdecimal() else None)


def _describe(error: Exception) -> str:
    return str(error) or type(error).__name__
