"""Write what an image contains: `sbom.cdx.json` (CycloneDX) and `THIRD_PARTY_NOTICES`, the licenses in full.

    python docker/bill_of_materials.py OUT

It runs while the image is built, by the interpreter whose distributions it lists. The packages of the base image are
listed too where dpkg knows them; their licenses are in /usr/share/doc of the image.
"""

import json
import re
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

PROJECT = "dd2d-server"
DPKG_STATUS = Path("/var/lib/dpkg/status")
LICENSE_FILE = re.compile(r"(?:licen[cs]e|copying|notice|authors)", re.IGNORECASE)
RULE = "=" * 100


def main(arguments: Sequence[str]) -> int:
    """Write both files to the folder that is named."""
    (folder,) = map(Path, arguments)
    installed = sorted(distributions(), key=normalize_name)
    folder.mkdir(parents=True, exist_ok=True)
    bill = make_bill(installed, DPKG_STATUS.read_text(encoding="utf-8") if DPKG_STATUS.exists() else "")
    (folder / "sbom.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    (folder / "THIRD_PARTY_NOTICES").write_text(make_notices(installed), encoding="utf-8")
    return 0


def normalize_name(distribution: Distribution) -> str:
    """Return the name of a distribution as its index writes it."""
    return re.sub(r"[-_.]+", "-", distribution.name).lower()


def make_bill(installed: Sequence[Distribution], dpkg_status: str) -> dict[str, Any]:
    """Return a CycloneDX document; the same content has the same serial number."""
    components = [describe_distribution(each) for each in installed if normalize_name(each) != PROJECT]
    components += list(describe_debian_packages(dpkg_status))
    (project,) = [each for each in installed if normalize_name(each) == PROJECT]
    content = uuid5(NAMESPACE_URL, " ".join([project.version, *(each["bom-ref"] for each in components)]))
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{content}",
        "version": 1,
        "metadata": {"component": describe_distribution(project) | {"type": "application"}},
        "components": components,
    }


def describe_distribution(distribution: Distribution) -> dict[str, Any]:
    """Return the component of a Python distribution, with the license that it declares."""
    name, version = normalize_name(distribution), distribution.version
    component = describe_component(f"pkg:pypi/{name}@{quote(version)}", name, version)
    declared = declare_license(distribution)
    if read_field(distribution, "License-Expression"):
        component["licenses"] = [{"expression": declared}]
    elif declared:
        component["licenses"] = [{"license": {"name": declared}}]
    return component


def declare_license(distribution: Distribution) -> str:
    """Return the license that a distribution declares; empty if it does not."""
    classifiers = [
        text.rpartition(" :: ")[2]
        for text in distribution.metadata.get_all("Classifier", [])
        if text.startswith("License :: ")
    ]
    # The old field may hold the whole text of the license.
    declared = read_field(distribution, "License").strip()
    short = declared if "\n" not in declared and len(declared) <= 100 else ""
    return read_field(distribution, "License-Expression") or ", ".join(classifiers) or short


def read_field(distribution: Distribution, name: str) -> str:
    """Return a field of a distribution's metadata; empty if it is missing."""
    return next(iter(distribution.metadata.get_all(name, [])), "")


def describe_debian_packages(dpkg_status: str) -> Iterator[dict[str, Any]]:
    """Yield the component of each package that the status file of dpkg lists as installed."""
    for paragraph in dpkg_status.split("\n\n"):
        fields = dict(re.findall(r"^([A-Z][\w-]*): (.*)$", paragraph, flags=re.MULTILINE))
        if fields.get("Status", "").endswith(" installed"):
            name, version = fields["Package"], fields["Version"]
            purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?arch={fields['Architecture']}"
            yield describe_component(purl, name, version)


def describe_component(purl: str, name: str, version: str) -> dict[str, Any]:
    """Return a component with the keys that all of them have."""
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def make_notices(installed: Sequence[Distribution]) -> str:
    """Return the license files of all distributions, each under the name of its distribution."""
    parts = [
        f"{RULE}\n{each.name} {each.version}: {declare_license(each) or 'see below'}\n{RULE}\n\n"
        + ("\n\n".join(read_licenses(each)) or "The distribution contains no license file.")
        for each in installed
        if normalize_name(each) != PROJECT
    ]
    return "\n\n\n".join(parts) + "\n"


def read_licenses(distribution: Distribution) -> Iterator[str]:
    """Yield the text of each license file in the metadata folder of a distribution."""
    for path in distribution.files or ():
        is_metadata = any(part.endswith(".dist-info") for part in path.parts[:-1])
        if is_metadata and (LICENSE_FILE.match(path.name) or "licenses" in path.parts):
            yield f"--- {path.name}\n\n{Path(str(path.locate())).read_text(encoding='utf-8', errors='replace').strip()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
