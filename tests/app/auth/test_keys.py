"""API keys: their file, the commands that change it, and a ring that follows it."""

import hashlib
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.auth.api_keys import ROLES, made_key, recognised
from app.auth.key_file import change_key_file, read_key_file
from app.auth.keyring import LOOK_AGAIN_S, Keyring
from app.cli.main import main
from model.errors import OptionError


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def create(path: Path, name: str, role: str = "read", *more: str) -> None:
    assert main(["key", "create", name, "--role", role, "--keys", str(path), *more]) == 0


def test_a_key_is_printed_once_and_kept_as_its_digest(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice", "write")
    secret = capsys.readouterr().out.strip()
    assert len(secret) == len("dd2d_") + 43
    kept = json.loads(path.read_text())
    assert kept["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (kept["name"], kept["role"]) == ("alice", "write")
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Keyring(path).find(secret)
    assert found is not None
    assert found.name == "alice"


def test_keys_are_listed_without_what_lets_anybody_in(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    create(path, "bob", "admin", "--days", "30")
    secrets = capsys.readouterr().out.split()
    assert main(["key", "list", "--keys", str(path)]) == 0
    told = capsys.readouterr().out
    assert [line.split("\t")[:2] for line in told.splitlines()] == [["alice", "read"], ["bob", "admin"]]
    assert "no end" in told
    assert "until 2" in told
    digests = [json.loads(line)["sha256"] for line in path.read_text().splitlines()]
    assert not any(each in told for each in [*secrets, *digests])


def test_a_revoked_key_is_gone_and_the_others_stay(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    create(path, "bob")
    alice, bob = capsys.readouterr().out.split()
    assert main(["key", "revoke", "alice", "--keys", str(path)]) == 0
    ring = Keyring(path)
    assert ring.find(alice) is None
    assert ring.find(bob) is not None
    assert [each.name for each in path.parent.iterdir()] == ["keys.jsonl"]


def test_a_change_is_on_the_disk_with_the_name_of_its_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[bool] = []
    fsync = os.fsync

    def told(descriptor: int) -> None:
        flushed.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", told)
    change_key_file(path, lambda keys: keys)
    assert flushed == [False, True]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["create", "alice", "--role", "read"], "already"),
        (["create", "two words", "--role", "read"], "no name"),
        (["create", "a\nb", "--role", "read"], "no name"),
        (["create", "bob", "--role", "read", "--days", "0"], "--days"),
        (["revoke", "bob"], "no key 'bob'"),
    ],
)
def test_what_cannot_be_done_is_told(
    path: Path, words: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create(path, "alice")
    before = path.read_bytes()
    assert main(["key", *words, "--keys", str(path)]) == 2
    assert told in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_file_is_that_of_the_settings(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DD2D_KEYS", raising=False)
    assert main(["key", "create", "alice", "--role", "read"]) == 2
    assert "DD2D_KEYS" in capsys.readouterr().err
    monkeypatch.setenv("DD2D_KEYS", str(path))
    assert main(["key", "create", "alice", "--role", "read"]) == 0
    assert path.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"nonsense\n", "line 1"),
        (b'{"name": "a"}\n', "line 1: role"),
        (b"\xff\xfe\n", "line 1"),
        (b'{"name":"a","role":"king","sha256":"' + b"0" * 64 + b'","created":"2026-01-01T00:00:00Z"}', "role"),
        (b'{"name":"a","role":"read","sha256":"password","created":"2026-01-01T00:00:00Z"}', "sha256"),
        (b'{"name":"a","role":"read","sha256":"' + b"0" * 64 + b'","created":"2026-01-01T00:00:00"}', "created"),
        (2 * (b'{"name":"a","role":"read","sha256":"' + b"0" * 64 + b'","created":"2026-01-01T00:00:00Z"}\n'), "once"),
    ],
)  # fmt: skip
def test_a_damaged_file_is_told_with_its_place(path: Path, content: bytes, told: str) -> None:
    path.write_bytes(content)
    with pytest.raises(OptionError, match=told) as raised:
        Keyring(path)
    assert str(path) in str(raised.value)
    with pytest.raises(OptionError):
        change_key_file(path, lambda keys: keys)
    assert path.read_bytes() == content


def test_a_service_does_not_start_with_a_damaged_or_absent_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.observability.logging.set_up_log", lambda *_: None)
    monkeypatch.setenv("DD2D_KEYS", str(path))
    assert main(["serve", "--port", "0"]) == 2
    assert "dd2d key create" in capsys.readouterr().err
    path.write_text("nonsense")
    assert main(["serve", "--port", "0"]) == 2
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "warned"), [(0o600, 0), (0o640, 0), (0o660, 1), (0o644, 1), (0o606, 1)])
def test_a_file_open_to_others_is_warned_of(
    path: Path, mode: int, warned: int, caplog: pytest.LogCaptureFixture
) -> None:
    create(path, "alice")
    path.chmod(mode)
    Keyring(path)
    assert sum("chmod 600" in record.getMessage() for record in caplog.records) == warned


def test_a_running_service_follows_the_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    alice = capsys.readouterr().out.strip()
    clock = Clock()
    ring = Keyring(path, clock)
    create(path, "bob")
    bob = capsys.readouterr().out.strip()
    assert ring.find(bob) is None
    clock.now += LOOK_AGAIN_S
    assert ring.find(bob) is not None
    main(["key", "revoke", "alice", "--keys", str(path)])
    clock.now += LOOK_AGAIN_S
    assert ring.find(alice) is None
    assert ring.find(bob) is not None


def test_a_file_broken_by_hand_lets_in_those_who_can_be_read(
    path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    create(path, "alice")
    create(path, "bob")
    alice, bob = capsys.readouterr().out.split()
    clock = Clock()
    ring = Keyring(path, clock)
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0][:-5]}\n{lines[1]}\n")
    clock.now += LOOK_AGAIN_S
    assert ring.find(alice) is None
    assert ring.find(bob) is not None
    assert "line 1" in caplog.text


def test_a_file_that_is_gone_lets_nobody_in(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    clock = Clock()
    ring = Keyring(path, clock)
    path.unlink()
    clock.now += LOOK_AGAIN_S
    assert ring.find(capsys.readouterr().out.strip()) is None


def test_every_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(one: str, other: str) -> bool:
        compared.append(one)
        return one == other

    made = [made_key(f"k{n}", "read") for n in range(5)]
    monkeypatch.setattr("hmac.compare_digest", compare)
    found = recognised([key for key, _ in made], made[0][1])
    assert found == made[0][0]
    assert compared == [key.sha256 for key, _ in made]


@pytest.mark.parametrize(
    "secret", ["", "password", "dd2d_short", "dd2d_" + "ü" * 43, "dd2d_" + "a" * 43 + "\n"]
)
def test_what_is_no_key_is_never_looked_up(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setattr("hmac.compare_digest", lambda *_: True)
    assert recognised([made_key("a", "read")[0]], secret) is None


def test_a_role_holds_those_before_it() -> None:
    may = {role: [other for other in ROLES if made_key("a", role)[0].may(other)] for role in ROLES}
    assert may == {"read": ["read"], "write": ["read", "write"], "admin": ["read", "write", "admin"]}


def test_a_key_expires() -> None:
    now = datetime.now(UTC)
    key, _ = made_key("a", "read", now + timedelta(hours=1))
    assert not key.has_expired(now)
    assert key.has_expired(now + timedelta(hours=1))


def test_changes_at_once_are_all_kept(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        keys = [made_key(f"k{n}", "read")[0] for n in range(40)]
        list(threads.map(lambda key: change_key_file(path, lambda there: (*there, key)), keys))
    assert {key.name for key in read_key_file(path).keys} == {key.name for key in keys}
