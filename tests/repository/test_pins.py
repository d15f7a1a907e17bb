"""constraints.txt pins everything that an installation with all extras brings, and no more."""

import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

BUILD_TOOLS = ["hatchling", "editables", "setuptools"]


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def declared() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = [entry for extra in project["optional-dependencies"].values() for entry in extra]
    return [Requirement(entry) for entry in [*project["dependencies"], *extras, *BUILD_TOOLS]]


def needed_by(requirement: Requirement) -> list[Requirement]:
    """What an installed distribution asks for here, by its own metadata; of one not installed, nothing."""
    try:
        entries = distribution(requirement.name).requires or []
    except PackageNotFoundError:
        return []
    extras = requirement.extras or {""}
    required = [Requirement(entry) for entry in entries]
    return [
        r
        for r in required
        if r.marker is None or any(r.marker.evaluate({"extra": extra}) for extra in extras)
    ]


def closure() -> set[str]:
    found: set[str] = set()
    waiting = declared()
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += needed_by(requirement)
    return found


def test_every_dependency_is_pinned() -> None:
    assert closure() - set(pins()) == set()


def test_every_pin_is_exact() -> None:
    assert all([s.operator for s in pin.specifier] == ["=="] for pin in pins().values())


def test_the_pins_satisfy_what_is_declared() -> None:
    exact = {name: next(iter(pin.specifier)).version for name, pin in pins().items()}
    for requirement in declared():
        assert requirement.specifier.contains(exact[canonicalize_name(requirement.name)]), requirement
