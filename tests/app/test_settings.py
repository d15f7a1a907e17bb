"""Settings are read from the environment and validated."""

import pytest
from pydantic import ValidationError

from app.settings import Settings, read_settings
from model.errors import OptionError


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


VALUES: dict[str, tuple[str, object]] = {
    "worker_memory_bytes": ("100000000", 100_000_000),
    "log_level": ("debug", "debug"),
    "log_format": ("json", "json"),
    "cors_origins": ("https://a.org, http://b.org:81", ("https://a.org", "http://b.org:81")),
    "allowed_hosts": ("*.a.org,b", ("*.a.org", "b")),
    "trusted_proxies": ("10.0.0.1,10.1.0.0/16", ("10.0.0.1", "10.1.0.0/16")),
}


@pytest.mark.parametrize("name", Settings.model_fields)
def test_each_setting_is_read_from_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    default = Settings.model_fields[name].default
    number = "3" if name in {"workers", "torch_threads"} else "4000" if isinstance(default, int) else "21"
    text, expected = VALUES.get(name, (number, None))
    monkeypatch.setenv(f"DD2D_{name.upper()}", text)
    value = getattr(read_settings(), name)
    assert value != default
    assert str(value).removesuffix(".0") == text if expected is None else value == expected


def test_an_empty_list_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD2D_CORS_ORIGINS", " , ")
    assert read_settings().cors_origins is None


def test_overrides_take_precedence_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DD2D_PORT", "9000")
    assert read_settings(port=9001).port == 9001
    assert read_settings(port=None).port == 9000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "many"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("RATE_PER_MINUTE", "0"),
        ("CORS_ORIGINS", "lab.org"),
        ("CORS_ORIGINS", "https://lab.org/"),
        ("CORS_ORIGINS", "null"),
    ],
)
def test_an_invalid_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"DD2D_{name}", value)
    with pytest.raises(OptionError, match=f"DD2D_{name}"):
        read_settings()


def test_settings_are_immutable() -> None:
    with pytest.raises(ValidationError):
        Settings().port = 1
