"""Write `requirements/*.lock`: every file that pip may install, by its SHA-256 digest. Run it as `make lock`.

The versions are those of constraints.txt; uv resolves them and asks the index for the digests. For another version of
PyTorch, PIP_EXTRA_INDEX_URL must name the index of its CPU builds. Each lock omits what the locks before it contain:

- `build.lock`: the build tools, which must be there first: some distributions come as source only
- `service.lock`: what the service needs, for either build of PyTorch
- `torch-cpu.lock`, `torch-cuda.lock`: one build of PyTorch, the latter with its CUDA libraries
- `test.lock`, `tools.lock`: what `make test` needs in addition, and `make tools`
"""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
BUILD_TOOLS = ("hatchling", "editables", "setuptools")
COMPILE = (
    *("uv", "pip", "compile", "-", "--constraints", "constraints.txt"),
    *("--generate-hashes", "--no-annotate", "--no-header", "--quiet"),
    *("--python-version", "3.11", "--python-platform", "linux"),
)
HEAD = "# Written by `make lock` from pyproject.toml and constraints.txt.\n"

Lock = dict[str, str]


def main() -> None:
    """Write all locks.

    Raises:
        SystemExit: a pinned version does not exist, or PyTorch's was changed without the index of its CPU builds.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    build = resolve(*BUILD_TOOLS)
    service = resolve(*list_pins(build), *project["dependencies"])
    test = resolve(*list_pins(service), *extras["test"])
    tools = resolve(*list_pins(test), *extras["lint"], *extras["bench"])
    cpu, cuda = lock_torch(service["torch"].split()[0])
    write_lock("build", build)
    write_lock("service", subtract(subtract(service, cuda), build))
    write_lock("torch-cpu", cpu)
    write_lock("torch-cuda", cuda)
    write_lock("test", subtract(test, service))
    write_lock("tools", subtract(tools, test))


def lock_torch(pin: str) -> tuple[Lock, Lock]:
    """Return the locks of the CPU build and of the CUDA build; without the index of the CPU builds, the present ones.

    Args:
        pin: name and version of PyTorch.
    """
    index = os.environ.get("PIP_EXTRA_INDEX_URL")
    if index:
        cpu = resolve(f"{pin}+cpu", index=index)
        cuda = resolve(pin)
        return {"torch": cpu["torch"]}, {"torch": cuda["torch"]} | subtract(cuda, cpu)
    cpu, cuda = read_lock("torch-cpu"), read_lock("torch-cuda")
    if list_pins(cpu) != [f"{pin}+cpu"]:
        sys.exit(f"To lock {pin}, set PIP_EXTRA_INDEX_URL to the index of PyTorch's CPU builds.")
    return cpu, cuda


def list_pins(lock: Lock) -> list[str]:
    """Return the pins of a lock without their digests."""
    return [entry.split()[0] for entry in lock.values()]


def resolve(*requirements: str, index: str = "") -> Lock:
    """Return the pin of each distribution that these requirements need, with the digests of its files.

    Args:
        requirements: as in pyproject.toml.
        index: further index to search.
    """
    options = ("--extra-index-url", index) if index else ()
    result = subprocess.run(
        (*COMPILE, *options),
        cwd=ROOT,
        input="\n".join(requirements),
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        sys.exit(result.stderr)
    return parse_lock(result.stdout)


def read_lock(name: str) -> Lock:
    """Return the pins of a lock file."""
    return parse_lock((LOCKS / f"{name}.lock").read_text(encoding="utf-8"))


def parse_lock(text: str) -> Lock:
    """Return each pin with its digests, by name."""
    entries = re.findall(r"^\w.*\n(?: +--hash.*\n)*", text, flags=re.MULTILINE)
    return {entry.split("==")[0]: entry for entry in entries}


def subtract(lock: Lock, other: Lock) -> Lock:
    """Return the pins of the distributions that another lock lacks."""
    return {name: entry for name, entry in lock.items() if name not in other}


def write_lock(name: str, lock: Lock) -> None:
    """Write one lock file, in the order of the names."""
    LOCKS.mkdir(exist_ok=True)
    (LOCKS / f"{name}.lock").write_text(HEAD + "".join(lock[each] for each in sorted(lock)), encoding="utf-8")


if __name__ == "__main__":
    main()
