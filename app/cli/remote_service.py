"""A running service, asked over HTTP with the standard library alone: nothing heavy is loaded."""

import http.client
import json
import os
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from urllib.parse import urlsplit

from model.errors import DomainError, OptionError

KEY_VARIABLE = "DD2D_KEY"
_LONGEST_S = 600.0


class RemoteError(DomainError):
    """The service refused, or cannot be reached.

    Attributes:
        status: of its answer; None where none came.
        retry_after_s: when to try again, if it says so.
    """

    def __init__(self, told: str, status: int | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(told)
        self.status = status
        self.retry_after_s = retry_after_s


class Remote:
    """A service at an address.

    Args:
        url: such as "http://microscope:8000".
        key: that it asks for, if it does; taken from DD2D_KEY if not given.

    Raises:
        OptionError: an address or a key that is none.
    """

    def __init__(self, url: str, key: str | None = None) -> None:
        try:
            parts = urlsplit(url)
            known = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:  # of brackets and ports that are none
            known = False
        if not known:
            raise OptionError(f"--url {url}: give an address such as http://127.0.0.1:8000")
        self._url = url
        self._secure = parts.scheme == "https"
        self._address = parts.netloc.rpartition("@")[2]
        self._path = parts.path.rstrip("/")
        self._key = (key or os.environ.get(KEY_VARIABLE, "")).strip()  # of a file's last line end, say
        if not (self._key.isascii() and self._key.isprintable()):
            raise OptionError(f"{KEY_VARIABLE} holds no key; it is what `dd2d key create` printed, dd2d_...")

    def predict(self, file: Path, fields: Iterable[tuple[str, str]], accept: str) -> bytes:
        """The answer to one pattern, in the form that is accepted.

        Raises:
            RemoteError: with the service's own words; also where the answer ends too soon.
        """
        with self._posted("/predict", file, fields, accept) as response, self._heard():
            return response.read()

    def predict_batch(self, file: Path, fields: Iterable[tuple[str, str]]) -> Iterator[bytes]:
        """A line of JSON for each pattern of a file, as it comes.

        Raises:
            RemoteError: with the service's own words; also where the lines end too soon.
        """
        with self._posted("/predict/batch", file, fields, "application/x-ndjson") as response, self._heard():
            yield from response

    @contextmanager
    def _heard(self) -> Iterator[None]:
        """Whatever ends an answer too soon, as ours."""
        try:
            yield
        except (OSError, http.client.HTTPException) as error:
            raise RemoteError(f"{self._url} broke off: {error or type(error).__name__}") from None

    @contextmanager
    def _posted(
        self, path: str, file: Path, fields: Iterable[tuple[str, str]], accept: str
    ) -> Iterator[http.client.HTTPResponse]:
        """The answer to a form; a busy service is asked again when it says."""
        media_type, body = _form(file, fields)
        headers = {"Content-Type": media_type, "Accept": accept}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        last = monotonic() + _LONGEST_S
        kind = http.client.HTTPSConnection if self._secure else http.client.HTTPConnection
        with closing(kind(self._address, timeout=_LONGEST_S)) as connection:
            while True:
                try:
                    connection.request("POST", self._path + path, body, headers)
                    response = connection.getresponse()
                except (OSError, http.client.HTTPException) as error:
                    told = f"{self._url} cannot be reached: {error or type(error).__name__}"
                    raise RemoteError(told) from None
                if response.status == http.client.OK:
                    break
                with self._heard():
                    refused = _refusal(response)
                if refused.retry_after_s is None or monotonic() + refused.retry_after_s > last:
                    raise refused
                connection.close()
                sleep(refused.retry_after_s)
            yield response


def _form(file: Path, fields: Iterable[tuple[str, str]]) -> tuple[str, bytes]:
    """Media type and content of a form with a file."""
    boundary = uuid.uuid4().hex
    name = file.name.replace("\\", "_").replace('"', "_").replace("\r", "_").replace("\n", "_")
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
    parts = [head.encode("utf-8", "replace"), file.read_bytes(), b"\r\n"]
    for key, value in fields:
        if value:
            field = f'--{boundary}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
            parts.append(field.encode())
    return f"multipart/form-data; boundary={boundary}", b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _refusal(response: http.client.HTTPResponse) -> RemoteError:
    try:
        told = str(json.loads(response.read())["detail"])
    except (ValueError, KeyError, TypeError):
        told = f"the service answered {response.status} {response.reason}; is this a dd2d service?"
    after = response.headers.get("Retry-After", "")
    return RemoteError(told, response.status, float(after) if after.isdecimal() else None)
