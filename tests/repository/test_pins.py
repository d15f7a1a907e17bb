"""constraints.txt pins everything that an installation with all extras brings; requirements/ holds the digests."""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import ROOT

BUILD_TOOLS = ["hatchling", "editables", "setuptools"]
EXTRAS = ("test", "lint", "bench")
SERVICE = ("build", "service")


def pins() -> dict[str, Requirement]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    requirements = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(requirement.name): requirement for requirement in requirements}


def locked(*names: str) -> dict[str, str]:
    """The version of each distribution in these locks, all of whose entries are exact and have digests."""
    text = "".join((ROOT / f"requirements/{name}.lock").read_text(encoding="utf-8") for name in names)
    text = re.sub(r"^#.*\n", "", text, flags=re.MULTILINE)
    entry = r"([\w.-]+)==(\S+)((?: \\\n    --hash=sha256:[0-9a-f]{64})+)\n"
    assert re.sub(entry, "", text) == ""
    versions = [(name, version) for name, version, _ in re.findall(entry, text)]
    assert len(dict(versions)) == len(versions)
    return dict(versions)


def declared(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    entries = [entry for extra in extras for entry in project["optional-dependencies"][extra]]
    return [Requirement(entry) for entry in [*project["dependencies"], *entries, *BUILD_TOOLS]]


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


def closure(*extras: str) -> set[str]:
    found: set[str] = set()
    waiting = declared(*extras)
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        if name not in found:
            found.add(name)
            waiting += needed_by(requirement)
    return found


def test_every_dependency_is_pinned() -> None:
    assert closure(*EXTRAS) - set(pins()) == set()


def test_every_pin_is_exact() -> None:
    assert all([s.operator for s in pin.specifier] == ["=="] for pin in pins().values())


def test_the_pins_satisfy_what_is_declared() -> None:
    exact = {name: next(iter(pin.specifier)).version for name, pin in pins().items()}
    for requirement in declared(*EXTRAS):
        assert requirement.specifier.contains(exact[canonicalize_name(requirement.name)]), requirement


def test_the_locks_hold_the_pins_and_the_cuda_libraries() -> None:
    """If this fails after a change of constraints.txt or pyproject.toml: `make lock`."""
    exact = {name: next(iter(pin.specifier)).version for name, pin in pins().items()}
    cuda = set(locked("torch-cuda")) - {"torch"}
    assert not cuda & set(exact)
    everything = locked(*SERVICE, "torch-cuda", "test", "tools")
    assert {name: version for name, version in everything.items() if name not in cuda} == exact


def test_both_builds_of_torch_are_locked() -> None:
    assert locked("torch-cpu") == {"torch": f"{locked('torch-cuda')['torch']}+cpu"}
    assert "triton" in locked("torch-cuda")


def test_each_target_of_make_gets_all_that_it_needs() -> None:
    for names, extras in ((SERVICE, ()), ((*SERVICE, "test"), ("test",))):
        assert closure(*extras) - set(locked(*names, "torch-cpu")) == set()
