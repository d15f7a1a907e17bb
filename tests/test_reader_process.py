"""Uploads are parsed in processes that the system ends at their limits, and that never outlive their owner."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from model.errors import CrystalError, UnreadableError
from model.reader_process import Buffer, ReaderProcess

MEMORY = 2**28


def echo(upload: bytearray) -> list[Buffer]:
    return [upload, b"!"]


def refuse(upload: bytearray) -> list[Buffer]:
    raise CrystalError(upload.decode())


def fail(upload: bytearray) -> list[Buffer]:
    raise KeyError(upload.decode())


def crash(_: bytearray) -> list[Buffer]:
    os.abort()


def exit_early(_: bytearray) -> list[Buffer]:
    sys.exit()


def compute_forever(_: bytearray) -> list[Buffer]:
    while True:
        pass


def hang(upload: bytearray) -> list[Buffer]:
    Path(upload.decode(), f"{os.getpid()} {os.getppid()}").touch()  # it may only write empty files
    signal.pause()
    return []


def wait(_: bytearray) -> list[Buffer]:
    signal.pause()
    return []


def allocate(upload: bytearray) -> list[Buffer]:
    return [str(len(bytes(int(upload)))).encode()]


def write_file(upload: bytearray) -> list[Buffer]:
    with open(upload.decode(), "wb") as file:
        file.write(b"x")
    return []


def name_process(_: bytearray) -> list[Buffer]:
    return [str(os.getpid()).encode()]


@pytest.fixture(autouse=True)
def _find_this_module(monkeypatch: pytest.MonkeyPatch) -> None:
    """The template imports this module by its name."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))


class _Readers:
    def __init__(self) -> None:
        self._made: list[ReaderProcess] = []

    def make(self, parser: str, cpu_s: float = 60.0) -> ReaderProcess:
        self._made.append(ReaderProcess(f"tests.test_reader_process:{parser}", "It failed.", cpu_s, MEMORY))
        return self._made[-1]

    def close(self) -> None:
        for reader in self._made:
            reader.close()


@pytest.fixture
def readers() -> Iterator[_Readers]:
    readers = _Readers()
    yield readers
    readers.close()


def test_pieces_arrive_as_one_and_large_ones_too(readers: _Readers) -> None:
    reader = readers.make("echo")
    assert reader.read([b"a", bytearray(b"b"), memoryview(b"c")]) == b"abc!"
    assert reader.read([]) == b"!"
    large = os.urandom(2**22)
    assert reader.read([large]) == large + b"!"


def test_each_upload_has_a_process_of_its_own(readers: _Readers) -> None:
    reader = readers.make("name_process")
    first, second = reader.read([]), reader.read([])
    assert len({bytes(first), bytes(second), str(os.getpid()).encode()}) == 3


def test_a_refusal_keeps_its_class_and_message(readers: _Readers) -> None:
    with pytest.raises(CrystalError, match=r"^too thick$"):
        readers.make("refuse").read([b"too thick"])


def test_an_unexpected_error_is_logged_and_not_shown(
    readers: _Readers, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(UnreadableError, match=r"^It failed\.$"):
        readers.make("fail").read([b"private"])
    assert "KeyError: 'private'" in caplog.text


@pytest.mark.parametrize("parser", ["crash", "exit_early", "compute_forever", "wait"])
def test_survives_a_parser_that_crashes_or_does_not_end(readers: _Readers, parser: str) -> None:
    reader = readers.make(parser, cpu_s=0.5)
    for _ in range(2):
        with pytest.raises(UnreadableError, match=r"^It failed\.$"):
            reader.read([b""])


def test_memory_is_limited(readers: _Readers) -> None:
    reader = readers.make("allocate")
    assert reader.read([str(MEMORY // 2).encode()]) == str(MEMORY // 2).encode()
    with pytest.raises(UnreadableError):
        reader.read([str(2 * MEMORY).encode()])


def test_no_file_can_be_written(readers: _Readers, tmp_path: Path) -> None:
    with pytest.raises(UnreadableError):
        readers.make("write_file").read([str(tmp_path / "file").encode()])
    assert (tmp_path / "file").read_bytes() == b""


def test_a_template_that_has_died_is_replaced(readers: _Readers) -> None:
    reader = readers.make("echo")
    reader.read([b""])
    assert reader._template is not None
    reader._template.kill()
    reader._template.wait()
    assert reader.read([b"a"]) == b"a!"


def test_nothing_outlives_the_process_that_reads(tmp_path: Path) -> None:
    code = (
        "from model.reader_process import ReaderProcess\n"
        f"ReaderProcess('tests.test_reader_process:hang', '', 60.0, {2**30}).read([{str(tmp_path).encode()!r}])"
    )
    owner = subprocess.Popen([sys.executable, "-c", code])
    try:
        _wait_until(lambda: bool(os.listdir(tmp_path)))
    finally:
        owner.kill()
        owner.wait()
    (name,) = os.listdir(tmp_path)
    _wait_until(lambda: all(_has_ended(int(pid)) for pid in name.split()))


def test_a_process_ends_with_its_connection_even_if_others_use_its_template(tmp_path: Path) -> None:
    """Worker processes are forked with one template, and may be killed while an upload is parsed."""
    code = (
        "import os, sys\n"
        "from model.reader_process import ReaderProcess\n"
        f"reader = ReaderProcess('tests.test_reader_process:hang', '', 60.0, {2**30})\n"
        "reader.start()\n"
        "worker = os.fork()\n"
        "if worker == 0:\n"
        f"    reader.read([{str(tmp_path).encode()!r}])\n"
        "print(worker, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as owner:
        assert owner.stdout is not None
        worker = int(owner.stdout.readline())
        try:
            _wait_until(lambda: bool(os.listdir(tmp_path)))
        finally:
            os.kill(worker, signal.SIGKILL)
        (name,) = os.listdir(tmp_path)
        process, template = map(int, name.split())
        _wait_until(lambda: _has_ended(process))
        assert not _has_ended(template)


def _has_ended(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    return True


def _wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.02)
