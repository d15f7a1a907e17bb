"""Clients that read the response only after their last byte."""

import json
import socket
import urllib.request
from collections.abc import Mapping
from urllib.error import HTTPError

import pytest

from app.main import create_app
from app.settings import Settings
from tests.app.conftest import run_server
from tests.app.stand_in import StandIn

# More than the socket buffers hold.
LARGE = bytes(32 * 2**20)


def post_large_body(port: int, path: str, headers: Mapping[str, str]) -> HTTPError:
    """Post with urllib, which sends everything before it reads and asks to close the connection."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", LARGE, dict(headers))
    with pytest.raises(HTTPError) as caught:
        urllib.request.urlopen(request, timeout=60)
    return caught.value


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("/predict", "application/json", 413),
        ("/predict/batch", "multipart/form-data; boundary=x", 413),
        ("/predict", "text/plain", 415),
        ("/structures", "application/json", 403),
        ("/nowhere", "application/json", 404),
    ],
)
def test_a_client_that_keeps_sending_reads_why_it_was_refused(path: str, kind: str, status: int) -> None:
    settings = Settings(max_json_bytes=2**20, max_batch_bytes=2**20)
    with (
        run_server(create_app(settings, StandIn())) as port,
        post_large_body(port, path, {"Content-Type": kind}) as error,
    ):
        assert error.code == status
        assert json.loads(error.read())["status"] == status


def test_draining_ends_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.http.middleware.MAX_DRAIN_S", 0.1)
    head = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 9\r\n\r\n"
    with (
        run_server(create_app(Settings(), StandIn())) as port,
        socket.create_connection(("127.0.0.1", port), timeout=60) as client,
    ):
        client.sendall(head)
        answer = client.makefile("rb").read()  # until it is closed
    assert b" 404 " in answer
