"""What the image and the composition promise, as far as their files tell; bench/image.sh builds and runs them."""

import json
import re
import subprocess
import sys
from importlib.metadata import distributions, packages_distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

from app.settings import Settings
from tests.paths import ROOT

DOCKERFILE = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
INSTRUCTIONS = [line.split(maxsplit=1) for line in DOCKERFILE.replace("\\\n", " ").splitlines() if line]
FINAL_STAGE = INSTRUCTIONS[max(at for at, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]
# Behaves as if packages were not installed: importing them fails.
WITHOUT = """
import sys
from importlib import import_module
from importlib.machinery import PathFinder
from pkgutil import walk_packages

class Without:
    @staticmethod
    def find_spec(name, path=None, target=None):
        return None if name.split(".")[0] in sys.argv[1].split(",") else PathFinder.find_spec(name, path, target)

    find_distributions = PathFinder.find_distributions

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
try:
    import plotly
except ModuleNotFoundError:
    pass
else:
    sys.exit("the packages are there")

import torch
from app.cli.main import main
for package in map(import_module, ("app", "index", "model")):
    for module in walk_packages(package.__path__, package.__name__ + "."):
        import_module(module.name)
for lazy in ("ase.db", "pymatgen.core.structure", "pymatgen.io.cif", "pymatgen.io.vasp.inputs"):
    import_module(lazy)
torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))]).step()
sys.exit(main(["simulate", sys.argv[2], "--out", sys.argv[3]]))
"""


def parsed(name: str) -> Any:
    return YAML(typ="safe").load(ROOT / name)


COMPOSITION = parsed("docker-compose.yml")
SERVICES: dict[str, Any] = COMPOSITION["services"]

each_service = pytest.mark.parametrize("name", sorted(SERVICES))


def final(word: str) -> str:
    """What the final stage says last with this instruction."""
    return [rest for instruction, rest in FINAL_STAGE if instruction == word][-1]


def test_the_image_runs_as_nobody_privileged_whatever_its_files_are_named() -> None:
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", final("USER"))
    assert SERVICES["dd2d"]["user"] == final("USER")


@pytest.mark.parametrize("word", ["ENTRYPOINT", "CMD", "HEALTHCHECK"])
def test_commands_of_the_image_need_no_shell(word: str) -> None:
    assert json.loads(final(word)[final(word).index("[") :])


def test_both_stages_stand_on_one_base_with_a_version() -> None:
    bases = {rest.split()[0] for word, rest in INSTRUCTIONS if word == "FROM"}
    (base,) = [rest for word, rest in INSTRUCTIONS if word == "ARG" and rest.startswith("BASE=")]
    assert bases == {"${BASE}"}
    assert re.search(r":\d+\.\d+-", base)


def test_the_build_is_given_what_it_copies_and_no_more() -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    copies = [rest.split()[:-1] for word, rest in INSTRUCTIONS if word == "COPY" and "--from" not in rest]
    copied = {source for sources in copies for source in sources}
    assert "*" in ignored
    assert copied == {line[1:] for line in ignored if line.startswith("!")}
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_pip_checks_every_file_of_the_image() -> None:
    """The project itself is built from what was copied."""
    installs = re.findall(r"pip install ([^&]+)", DOCKERFILE.replace("\\\n", " "))
    assert len(installs) == 3
    for options in map(str.split, installs):
        assert "--no-deps" in options
        assert "--require-hashes" in options or options[-1] == "."


def test_the_base_image_is_chosen_at_release() -> None:
    (base,) = [rest for word, rest in INSTRUCTIONS if word == "ARG" and rest.startswith("BASE=")]
    assert SERVICES["dd2d"]["build"]["args"]["BASE"] == base.replace("BASE=", "${BASE:-") + "}"
    assert ["ARG", "BASE"] in FINAL_STAGE
    assert 'image.base.name="${BASE}"' in final("LABEL")


def test_variables_of_the_image_and_the_composition_are_settings() -> None:
    named = set(re.findall(r"\bDD2D_[A-Z_]+", DOCKERFILE)) | set(SERVICES["dd2d"]["environment"])
    assert {"DD2D_HOST", "DD2D_INDEX"} <= named
    assert named <= {f"DD2D_{field.upper()}" for field in Settings.model_fields}


def test_the_container_checks_host_names_and_prometheus_uses_one_of_them() -> None:
    (names,) = re.findall(
        r"\$\{DD2D_ALLOWED_HOSTS:-(.+)\}", SERVICES["dd2d"]["environment"]["DD2D_ALLOWED_HOSTS"]
    )
    (job,) = parsed("docker/prometheus.yml")["scrape_configs"]
    (target,) = job["static_configs"][0]["targets"]
    assert "*" not in names
    assert target.partition(":")[0] in names.split(",")


@each_service
def test_a_service_has_no_privileges(name: str) -> None:
    service = SERVICES[name]
    assert service["user"].split(":")[0] not in {"0", "root"}
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert not {"privileged", "cap_add", "network_mode", "pid", "devices"} & set(service)


@each_service
def test_a_service_is_reached_from_this_machine_only(name: str) -> None:
    assert SERVICES[name]["ports"]
    assert [port for port in SERVICES[name]["ports"] if not port.startswith("127.0.0.1:")] == []


@each_service
def test_a_service_has_limits(name: str) -> None:
    assert set(SERVICES[name]["deploy"]["resources"]["limits"]) == {"cpus", "memory"}


@each_service
def test_a_service_has_room_for_connections_and_not_for_an_endless_log(name: str) -> None:
    limits, log = SERVICES[name]["ulimits"]["nofile"], SERVICES[name]["logging"]
    assert limits["soft"] == limits["hard"] >= 4096
    assert log["driver"] == "json-file"
    assert set(log["options"]) == {"max-size", "max-file"}


def test_what_is_added_outlives_the_container() -> None:
    assert f"indexes:{final('VOLUME')}" in SERVICES["dd2d"]["volumes"]
    assert "indexes" in COMPOSITION["volumes"]


def test_a_request_is_answered_before_the_service_is_stopped() -> None:
    grace_s = int(SERVICES["dd2d"]["stop_grace_period"].removesuffix("s"))
    assert grace_s > Settings.model_fields["deadline_s"].default


@pytest.mark.parametrize("name", ["prometheus", "grafana"])
def test_monitoring_is_optional_and_reads_files_of_this_repository(name: str) -> None:
    service = SERVICES[name]
    assert service["profiles"] == ["metrics"]
    assert re.search(r":v?\d+\.\d+\.\d+$", service["image"])
    mounts = [each.split(":") for each in service["volumes"] if each.startswith("./")]
    assert mounts
    for source, target, mode in mounts:
        assert (ROOT / source).is_file()
        assert target.startswith("/etc/")
        assert mode == "ro"


def test_prometheus_asks_the_service_and_evaluates_the_alerts() -> None:
    settings = parsed("docker/prometheus.yml")
    (job,) = settings["scrape_configs"]
    assert job["job_name"] == "dd2d"
    assert job["static_configs"] == [{"targets": [f"dd2d:{final('EXPOSE')}"]}]
    targets = [each.split(":")[1] for each in SERVICES["prometheus"]["volumes"]]
    assert set(settings["rule_files"]) <= set(targets)


def test_grafana_asks_prometheus() -> None:
    (source,) = parsed("docker/grafana/datasource.yml")["datasources"]
    (provider,) = parsed("docker/grafana/dashboards.yml")["providers"]
    assert source["url"] == "http://prometheus:9090"
    targets = [each.split(":")[1] for each in SERVICES["grafana"]["volumes"]]
    assert f"{provider['options']['path']}/dashboard.json" in targets
    panels = json.loads((ROOT / "docker/grafana/dashboard.json").read_text(encoding="utf-8"))["panels"]
    assert {panel["datasource"]["uid"] for panel in panels} == {source["uid"]}


def test_the_commands_do_without_what_the_image_leaves_out(tmp_path: Path) -> None:
    removed = {
        canonicalize_name(name)
        for names in re.findall(r"pip uninstall --yes ([\w. -]+)", DOCKERFILE.replace("\\\n", " "))
        for name in names.split()
    }
    tops = {
        top
        for top, owners in packages_distributions().items()
        if {canonicalize_name(owner) for owner in owners} <= removed
    }
    assert {"matplotlib", "fontTools", "pandas"} <= tops
    structure, out = ROOT / "docs/examples/mos2.cif", tmp_path / "mos2.json"
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT, ",".join(sorted(tops)), structure, out],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert out.stat().st_size > 0


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("documents") / "out"
    script = ROOT / "docker/bill_of_materials.py"
    subprocess.run([sys.executable, script, folder], check=True)
    return folder


def test_the_bill_of_materials_lists_every_distribution_with_its_license(documents: Path) -> None:
    bill = json.loads((documents / "sbom.cdx.json").read_text(encoding="utf-8"))
    listed = {each["purl"]: each for each in bill["components"] if each["purl"].startswith("pkg:pypi/")}
    installed = {f"pkg:pypi/{canonicalize_name(each.name)}@{quote(each.version)}" for each in distributions()}
    project = bill["metadata"]["component"]
    assert (bill["bomFormat"], bill["specVersion"], project["name"]) == ("CycloneDX", "1.6", "dd2d-server")
    assert set(listed) | {project["purl"]} == installed
    assert len({each["bom-ref"] for each in bill["components"]}) == len(bill["components"])
    assert [purl for purl, each in listed.items() if not each.get("licenses")] == []


def test_the_notices_quote_the_licenses(documents: Path) -> None:
    notices = (documents / "THIRD_PARTY_NOTICES").read_text(encoding="utf-8")
    assert re.search(r"^torch \S+: .*BSD", notices, flags=re.MULTILINE)
    for words in ("Redistribution and use in source and binary forms", "Apache License", "MIT License"):
        assert words in notices
