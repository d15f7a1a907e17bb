"""Limits on the parts of a request that are not its content: the URL, the headers, and the framing of the body."""

import re

from app.errors import HeadTooLargeError, MalformedRequestError, UrlTooLongError

MAX_URL_BYTES = 8 * 1024
MAX_HEAD_BYTES = 64 * 1024
MAX_HEADERS = 128
# A chunk takes a microsecond, whatever its size. Chunks beyond the first thousand must be larger than this on average.
MIN_CHUNK_BYTES = 32
MAX_SMALL_CHUNKS = 1000
LARGE_BODY_BYTES = 2**20

_HOST = re.compile(rb"([\w.~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(:\d*)?", re.ASCII)


class RequestFraming:
    """Counts what arrives of one request.

    Attributes:
        body_bytes: content of the body.
    """

    def __init__(self) -> None:
        self._url_bytes = self._header_bytes = self._headers = 0
        self._chunks = self.body_bytes = 0
        self._received_head_bytes = self._received_body_bytes = 0

    def add_url(self, size: int) -> None:
        """Count a piece of the URL.

        Raises:
            UrlTooLongError: the URL is too long.
        """
        self._url_bytes += size
        if self._url_bytes > MAX_URL_BYTES:
            raise UrlTooLongError(f"The URL is longer than {MAX_URL_BYTES} bytes; shorten it.")

    def add_header(self, size: int) -> None:
        """Count a header or a trailer.

        Raises:
            HeadTooLargeError: they are too many or too large.
        """
        self._headers += 1
        self._header_bytes += size
        if self._headers > MAX_HEADERS or self._header_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()

    def add_chunk(self) -> None:
        """Count a chunk of the body.

        Raises:
            MalformedRequestError: the chunks are too small.
        """
        self._chunks += 1
        if self._chunks > MAX_SMALL_CHUNKS + self.body_bytes // MIN_CHUNK_BYTES:
            raise malformed(
                f"its body comes in chunks of less than {MIN_CHUNK_BYTES} bytes; send larger ones"
            )

    def add_body(self, size: int) -> None:
        """Count a piece of the body's content."""
        self.body_bytes += size

    @property
    def is_large(self) -> bool:
        """Whether so much of the body has arrived that it is read by turns."""
        return self.body_bytes > LARGE_BODY_BYTES

    def add_head_bytes(self, size: int) -> None:
        """Count bytes of the head as they arrive: the parser keeps the start of a header to itself.

        Raises:
            HeadTooLargeError: the head is too large.
        """
        self._received_head_bytes += size
        if self._received_head_bytes > MAX_HEAD_BYTES:
            raise _head_too_large()

    def add_body_bytes(self, size: int) -> None:
        """Count bytes of the body as they arrive: the parser drops the extensions of chunks, and keeps trailers.

        Raises:
            MalformedRequestError: the body has more framing than content.
        """
        self._received_body_bytes += size
        if self._received_body_bytes > MAX_HEAD_BYTES + 2 * self.body_bytes:
            raise malformed("its body has more framing than content; send larger chunks")


def check_head(http_version: str, headers: list[tuple[bytes, bytes]]) -> None:
    """Refuse what a proxy could read differently (RFC 9112, 3.2 and 6.1); the parser refuses the rest.

    Raises:
        MalformedRequestError: Host is missing, repeated or not a host, or the transfer encoding is not `chunked`.
    """
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and http_version == "1.1"):
        raise malformed(f"it has {len(hosts)} Host headers; send one")
    if hosts and not _HOST.fullmatch(hosts[0]):
        raise malformed("its Host header is not a host name or an address")
    encodings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
    if encodings and (encodings != [b"chunked"] or http_version != "1.1"):
        raise malformed("its transfer encoding is not chunked")


def malformed(reason: str) -> MalformedRequestError:
    """Return the error that refuses a request for a reason."""
    return MalformedRequestError(f"The request was refused because {reason}.")


def _head_too_large() -> HeadTooLargeError:
    return HeadTooLargeError(
        f"The head of the request has more than {MAX_HEAD_BYTES} bytes or {MAX_HEADERS} headers; send less."
    )
