"""API keys: the key file, the commands that change it, and the keyring that follows it."""

import hashlib
import json
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.auth.api_keys import ROLES, create_key, find_key
from app.auth.key_file import read_key_file, update_key_file
from app.auth.keyring import CHECK_INTERVAL_S, Keyring
from app.cli.main import main
from model.errors import OptionError


class Clock:
    """Advances only when a test says so."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.jsonl"


def create(path: Path, name: str, role: str = "read", *more: str) -> None:
    assert main(["key", "create", name, "--role", role, "--keys", str(path), *more]) == 0


def test_a_secret_is_printed_once_and_stored_as_its_digest(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(path, "alice", "write")
    secret = capsys.readouterr().out.strip()
    assert len(secret) == len("dd2d_") + 43
    stored = json.loads(path.read_text())
    assert stored["sha256"] == hashlib.sha256(secret.encode()).hexdigest()
    assert (stored["name"], stored["role"]) == ("alice", "write")
    assert secret not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    found = Keyring(path).find(secret)
    assert found is not None
    assert found.name == "alice"


def test_a_list_of_keys_holds_neither_secrets_nor_digests(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(path, "alice")
    create(path, "bob", "admin", "--days", "30")
    secrets = capsys.readouterr().out.split()
    assert main(["key", "list", "--keys", str(path)]) == 0
    listing = capsys.readouterr().out
    assert [line.split("\t")[:2] for line in listing.splitlines()] == [["alice", "read"], ["bob", "admin"]]
    assert "never expires" in listing
    assert "expires 2" in listing
    digests = [json.loads(line)["sha256"] for line in path.read_text().splitlines()]
    assert not any(each in listing for each in [*secrets, *digests])


def test_revoking_a_key_keeps_the_others(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    create(path, "bob")
    alice, bob = capsys.readouterr().out.split()
    assert main(["key", "revoke", "alice", "--keys", str(path)]) == 0
    ring = Keyring(path)
    assert ring.find(alice) is None
    assert ring.find(bob) is not None
    assert {each.name for each in path.parent.iterdir()} == {"keys.jsonl", ".keys.jsonl.lock"}


def test_an_update_syncs_the_file_and_then_its_folder(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced_folder: list[bool] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced_folder.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", record)
    update_key_file(path, lambda keys: keys)
    assert synced_folder == [False, True]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["create", "alice", "--role", "read"], "already"),
        (["create", "two words", "--role", "read"], "not a valid key name"),
        (["create", "a\nb", "--role", "read"], "not a valid key name"),
        (["create", "bob", "--role", "read", "--days", "0"], "--days"),
        (["revoke", "bob"], "no key named 'bob'"),
    ],
)
def test_an_invalid_command_explains_itself_and_changes_nothing(
    path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create(path, "alice")
    before = path.read_bytes()
    assert main(["key", *words, "--keys", str(path)]) == 2
    assert message in capsys.readouterr().err
    assert path.read_bytes() == before


def test_the_key_file_defaults_to_that_of_the_environment(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DD2D_KEYS", raising=False)
    assert main(["key", "create", "alice", "--role", "read"]) == 2
    assert "DD2D_KEYS" in capsys.readouterr().err
    monkeypatch.setenv("DD2D_KEYS", str(path))
    assert main(["key", "create", "alice", "--role", "read"]) == 0
    assert path.exists()


@pytest.mark.parametrize(
    ("content", "message"),
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
def test_a_damaged_file_is_refused_with_its_path_and_line(path: Path, content: bytes, message: str) -> None:
    path.write_bytes(content)
    with pytest.raises(OptionError, match=message) as raised:
        Keyring(path)
    assert str(path) in str(raised.value)
    with pytest.raises(OptionError):
        update_key_file(path, lambda keys: keys)
    assert path.read_bytes() == content


def test_the_service_does_not_start_with_a_damaged_or_missing_key_file(
    path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("app.observability.logging.configure_logging", lambda *_: None)
    monkeypatch.setenv("DD2D_KEYS", str(path))
    assert main(["serve", "--port", "0"]) == 2
    assert "dd2d key create" in capsys.readouterr().err
    path.write_text("nonsense")
    assert main(["serve", "--port", "0"]) == 2
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize(("mode", "warnings"), [(0o600, 0), (0o640, 0), (0o660, 1), (0o644, 1), (0o606, 1)])
def test_a_file_accessible_to_others_causes_a_warning(
    path: Path, mode: int, warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    create(path, "alice")
    path.chmod(mode)
    Keyring(path)
    assert sum("chmod 600" in record.getMessage() for record in caplog.records) == warnings


def test_the_keyring_reloads_a_changed_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    alice = capsys.readouterr().out.strip()
    clock = Clock()
    ring = Keyring(path, clock)
    create(path, "bob")
    bob = capsys.readouterr().out.strip()
    assert ring.find(bob) is None
    clock.now += CHECK_INTERVAL_S
    assert ring.find(bob) is not None
    main(["key", "revoke", "alice", "--keys", str(path)])
    clock.now += CHECK_INTERVAL_S
    assert ring.find(alice) is None
    assert ring.find(bob) is not None


def test_the_keyring_keeps_the_keys_on_undamaged_lines(
    path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    create(path, "alice")
    create(path, "bob")
    alice, bob = capsys.readouterr().out.split()
    clock = Clock()
    ring = Keyring(path, clock)
    lines = path.read_text().splitlines()
    path.write_text(f"{lines[0][:-5]}\n{lines[1]}\n")
    clock.now += CHECK_INTERVAL_S
    assert ring.find(alice) is None
    assert ring.find(bob) is not None
    assert "line 1" in caplog.text


def test_the_keyring_is_empty_once_the_file_is_gone(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    create(path, "alice")
    clock = Clock()
    ring = Keyring(path, clock)
    path.unlink()
    clock.now += CHECK_INTERVAL_S
    assert ring.find(capsys.readouterr().out.strip()) is None


def test_every_key_is_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def compare(first: str, second: str) -> bool:
        compared.append(first)
        return first == second

    created = [create_key(f"k{n}", "read") for n in range(5)]
    monkeypatch.setattr("hmac.compare_digest", compare)
    found = find_key([key for key, _ in created], created[0][1])
    assert found == created[0][0]
    assert compared == [key.sha256 for key, _ in created]


@pytest.mark.parametrize(
    "secret", ["", "password", "dd2d_short", "dd2d_" + "ü" * 43, "dd2d_" + "a" * 43 + "\n"]
)
def test_text_of_another_form_is_never_looked_up(monkeypatch: pytest.MonkeyPatch, secret: str) -> None:
    monkeypatch.setattr("hmac.compare_digest", lambda *_: True)
    assert find_key([create_key("a", "read")[0]], secret) is None


def test_a_role_includes_the_ones_before_it() -> None:
    included = {
        role: [other for other in ROLES if create_key("a", role)[0].has_role(other)] for role in ROLES
    }
    assert included == {"read": ["read"], "write": ["read", "write"], "admin": ["read", "write", "admin"]}


def test_a_key_expires() -> None:
    now = datetime.now(UTC)
    key, _ = create_key("a", "read", now + timedelta(hours=1))
    assert not key.is_expired(now)
    assert key.is_expired(now + timedelta(hours=1))


def test_concurrent_updates_are_all_kept(path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as threads:
        keys = [create_key(f"k{n}", "read")[0] for n in range(40)]
        list(threads.map(lambda key: update_key_file(path, lambda stored: (*stored, key)), keys))
    assert {key.name for key in read_key_file(path).keys} == {key.name for key in keys}


def test_a_change_within_one_tick_of_the_clock_is_noticed(
    path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create(path, "alice", "admin")
    alice, clock, before = capsys.readouterr().out.strip(), Clock(), path.stat()
    ring = Keyring(path, clock)
    # In place: the inode, the size and the time stay the same.
    path.write_bytes(path.read_bytes().replace(b'"admin"', b'"write"'))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_size, after.st_ino) == (
        before.st_mtime_ns,
        before.st_size,
        before.st_ino,
    )
    clock.now += CHECK_INTERVAL_S
    found = ring.find(alice)
    assert found is not None
    assert found.role == "write"


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
def test_what_is_no_regular_file_is_refused_at_once(
    path: Path, kind: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make = {"pipe": os.mkfifo, "folder": os.mkdir, "device": lambda name: os.symlink("/dev/zero", name)}
    make[kind](path)
    monkeypatch.setattr("app.observability.logging.configure_logging", lambda *_: None)
    monkeypatch.setenv("DD2D_KEYS", str(path))
    for command in (["serve", "--port", "0"], ["key", "list"], ["key", "create", "bob", "--role", "read"]):
        assert main(command) == 2
        assert "not a regular file" in capsys.readouterr().err


def test_a_pipe_in_place_of_the_file_admits_no_one(
    path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    create(path, "alice")
    clock = Clock()
    ring = Keyring(path, clock)
    path.unlink()
    os.mkfifo(path)
    clock.now += CHECK_INTERVAL_S
    assert ring.find(capsys.readouterr().out.strip()) is None
    assert "not a regular file" in caplog.text
