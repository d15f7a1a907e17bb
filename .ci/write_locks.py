"""Write `requirements/*.lock`: every file that pip may install, by its SHA-256 digest. Run it as `make lock`.

The versions are those of constraints.txt; uv resolves them and asks the index for the digests. PIP_EXTRA_INDEX_URL must
name the index of PyTorch's CPU builds. Each lock omits what the locks before it contain:

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
        SystemExit: a pinned version does not exist, or the index of PyTorch's CPU builds was not named.
    """
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    build = resolve(*BUILD_TOOLS)
    service = resolve(*list_pins(build), *project["dependencies"])
    test = resolve(*list_pins(service), *extras["test"])
    tools = resolve(*list_pins(test), *extras["lint"], *extras["bench"])
    (torch,) = [line for line in list_pins(service) if line.startswith("torch==")]
    cpu = resolve(f"{torch}+cpu", index=os.environ.get("PIP_EXTRA_INDEX_URL", ""))
    if "--hash" not in cpu["torch"]:
        sys.exit(
            "Set PIP_EXTRA_INDEX_URL to the index of PyTorch's CPU builds, so that these are locked too."
        )
    cuda = {"torch": service["torch"]} | subtract(resolve(torch), cpu)
    write_lock("build", build)
    write_lock("service", subtract(subtract(service, cuda), build))
    write_lock("torch-cpu", {"torch": cpu["torch"]})
    write_lock("torch-cuda", cuda)
    write_lock("test", subtract(test, service))
    write_lock("tools", subtract(tools, test))


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
    entries = re.findall(r"^\w.*\n(?:\s+--hash.*\n?)*", result.stdout, flags=re.MULTILINE)
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
