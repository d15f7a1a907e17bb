"""The service identifies the crystals of simulated and recorded patterns."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.cli.main import main
from app.main import create_app
from app.settings import Settings
from index.build.build import build_index
from index.starter.library import read_starter_entries
from model.crystal.crystal import Crystal
from model.crystal.structure_files import read_structure
from model.physics.kinematic import Geometry, ThermalMotion, compute_kinematic_spots
from model.towers.checkpoint import load_towers
from tests.paths import ROOT

GRAPHENE = ROOT.parent / "shared" / "data" / "patterns" / "graphene"
PIXEL_SIZES = {"1_SAED_points.csv": 0.0020271, "Camera_Ceta_1359_410_mm___Raw_points.csv": 0.0035174}

needs_recorded_patterns = pytest.mark.skipif(
    not GRAPHENE.is_dir(), reason="the recorded patterns are not available"
)


def list_formulas(answer: dict[str, Any]) -> list[str]:
    return [candidate["formula"] for candidate in answer["candidates"]]


def predict(client: TestClient, crystal: Crystal, seed: int, **options: Any) -> dict[str, Any]:
    """Predict a simulated pattern with random orientation, noise, a scale error and missing spots."""
    rng = np.random.default_rng(seed)
    geometry = Geometry(
        tilt_deg=float(rng.uniform(0, 3)),
        tilt_azimuth_deg=float(rng.uniform(0, 360)),
        rotation_deg=float(rng.uniform(0, 360)),
        mirrored=bool(rng.random() < 0.5),
        q_max_inv_angstrom=1.4,
    )
    spots = compute_kinematic_spots(crystal, geometry, ThermalMotion(0.4, 0.6), relative_threshold=1e-3)
    assert spots.intensity is not None
    kept = rng.random(len(spots)) > 0.05
    noisy = spots.intensity * np.exp(rng.normal(0, 0.15, len(spots)))
    q = spots.q_inv_angstrom * (1 + rng.normal(0, 0.01))
    points = np.column_stack([q, noisy])[kept]
    response = client.post("/predict", json={"points": points.tolist(), "voltage_kv": 80, **options})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    return answer


def test_most_starter_crystals_are_found_with_and_without_chemistry(client: TestClient) -> None:
    crystals = [entry.crystal for entry in read_starter_entries()][::4]
    no_chemistry = elements_known = 0
    for seed, crystal in enumerate(crystals):
        candidates = predict(client, crystal, seed)["candidates"]
        no_chemistry += any(crystal.id in (each["id"], *each["same_as"]) for each in candidates)
        first, *_ = predict(client, crystal, seed, elements_only=list(crystal.elements))["candidates"]
        elements_known += crystal.id in (first["id"], *first["same_as"])
    assert no_chemistry >= 0.85 * len(crystals)
    assert elements_known >= 0.85 * len(crystals)


def test_every_candidate_whose_lattice_fits_has_a_match(client: TestClient) -> None:
    """Crystals similar to MoS2 that are clearly excluded have a rough match and no probability."""
    mos2 = next(entry.crystal for entry in read_starter_entries() if entry.name == "MoS2-1H")
    candidates = predict(client, mos2, 0)["candidates"]
    matches = [each["match"] for each in candidates]
    assert len(matches) == 10
    assert matches[0]["refined"]
    assert sum(match is not None and not match["refined"] for match in matches) > 2
    for each, match in zip(candidates, matches, strict=True):
        assert (each["probability"] is not None) == (match is not None and match["refined"])
        if match is not None:
            assert match["r_factor"] >= matches[0]["r_factor"] - 0.02
            assert match["tilt_sigma_deg"] > 0


def test_the_cif_of_the_first_candidate_is_the_crystal(client: TestClient) -> None:
    mos2 = next(entry.crystal for entry in read_starter_entries() if entry.name == "MoS2-1H")
    first = predict(client, mos2, 0, elements_only=["Mo", "S"])["candidates"][0]
    crystal = read_structure(first["cif"], id="first", source="test")
    assert crystal.formula == "MoS2"
    assert float(np.linalg.norm(crystal.lattice[0])) == pytest.approx(3.16, rel=0.01)


@needs_recorded_patterns
@pytest.mark.parametrize("name", PIXEL_SIZES)
def test_recorded_graphene_is_identified(client: TestClient, name: str) -> None:
    with (GRAPHENE / name).open() as handle:
        assert len(list(csv.reader(handle))) > 10
    file = {"file": (name, (GRAPHENE / name).read_bytes())}
    form = {"units": "pixel", "pixel_size": str(PIXEL_SIZES[name])}
    elements_known = client.post("/predict", files=file, data={**form, "elements_only": "C"}).json()
    assert list_formulas(elements_known)[0] == "C"
    assert elements_known["candidates"][0]["lattice"]["a"] == pytest.approx(2.46, rel=0.02)
    no_chemistry = client.post("/predict", files=file, data={**form, "top_k": "5"}).json()
    assert "C" in list_formulas(no_chemistry)


@needs_recorded_patterns
@pytest.mark.parametrize("name", PIXEL_SIZES)
def test_the_match_of_recorded_graphene_implies_the_pixel_size(client: TestClient, name: str) -> None:
    file = {"file": (name, (GRAPHENE / name).read_bytes())}
    answer = client.post("/predict", files=file, data={"units": "pixel", "elements_only": "C"}).json()
    assert answer["query"]["lattice"]["bravais"] == "hexagonal"
    first = next(
        each for each in answer["candidates"] if each["lattice"]["a"] == pytest.approx(2.46, rel=0.02)
    )
    assert first["rank"] <= 2
    assert first["match"]["pixel_size"] == pytest.approx(PIXEL_SIZES[name], rel=0.03)


@needs_recorded_patterns
def test_a_scale_that_is_ten_percent_too_large_is_reported(client: TestClient) -> None:
    name, size = next(iter(PIXEL_SIZES.items()))
    file = {"file": (name, (GRAPHENE / name).read_bytes())}
    form = {"units": "pixel", "pixel_size": str(1.1 * size), "elements_only": "C"}
    answer = client.post("/predict", files=file, data=form).json()
    assert answer["candidates"][0]["match"]["scale"] == pytest.approx(1.1, rel=0.03)
    assert any("% larger (match.scale" in warning for warning in answer["query"]["warnings"])


def test_a_candidate_that_needs_another_scale_has_a_warning_and_a_low_probability(client: TestClient) -> None:
    """Graphene explains the spots of MoS2 only with a scale 20 % smaller; that it is not carbon is far more likely."""
    mos2 = next(entry.crystal for entry in read_starter_entries() if entry.name == "MoS2-1H")
    answer = predict(client, mos2, 0, elements_only=["C"])
    assert answer["verdict"] == "ambiguous"
    assert answer["candidates"][0]["probability"] < 0.5
    assert any(re.search(r"scale 2\d?\.\d % smaller", warning) for warning in answer["query"]["warnings"])


def test_full_effort_reports_a_wrong_scale_although_another_crystal_fits(client: TestClient) -> None:
    mos2 = next(entry.crystal for entry in read_starter_entries() if entry.name == "MoS2-1H")
    spots = compute_kinematic_spots(mos2, Geometry(tilt_deg=2.0, rotation_deg=17.0), relative_threshold=1e-3)
    assert spots.intensity is not None
    points = np.column_stack([1.1 * spots.q_inv_angstrom, spots.intensity])
    body = {"points": points.tolist(), "voltage_kv": 80, "effort": "full"}
    answer = client.post("/predict", json=body).json()
    assert any(re.search(r"scale 1\d?\.\d % larger", warning) for warning in answer["query"]["warnings"])
    assert answer["verdict"] == "ambiguous"


@needs_recorded_patterns
def test_a_zone_axis_of_gallium_arsenide_has_no_match(client: TestClient) -> None:
    name = "GaAs_110_nm-1_512.tif"
    frame = GRAPHENE.parent / "gaas" / name
    form = {"pixel_size": "0.00180074", "voltage_kv": "200"}
    answer = client.post("/predict", files={"file": (name, frame.read_bytes())}, data=form).json()
    assert answer["verdict"] == "no_match"
    # d of {111} is 3.26 angstrom and of {002} 2.83: the zone's primitive cell is a rhombus.
    lattice = answer["query"]["lattice"]
    assert lattice["bravais"] == "centred rectangular"
    assert lattice["a"] == pytest.approx(3.46, rel=0.03)


def test_the_request_of_the_readme_finds_graphene(client: TestClient) -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    body = text[text.index("-d '") + 4 :]
    request = json.loads(body[: body.index("}'") + 1])
    assert "C" in list_formulas(client.post("/predict", json=request).json())


def test_identifies_a_simulated_frame_on_the_command_line(
    starter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = tmp_path / "mos2.png"
    structure = ROOT / "docs" / "examples" / "mos2.cif"
    assert main(["simulate", str(structure), "--out", str(frame), "--pixel-size", "0.005"]) == 0
    arguments = ["predict", str(frame), "--index", str(starter), "--pixel-size", "0.005", "--format", "json"]
    capsys.readouterr()
    assert main([*arguments, "--elements-only", "Mo,S", "--voltage-kv", "80"]) == 0
    assert list_formulas(json.loads(capsys.readouterr().out))[0] == "MoS2"


def test_the_service_is_ready_and_states_its_version(client: TestClient) -> None:
    assert client.get("/readyz").status_code == 200
    version = client.get("/version").json()
    assert version["crystals"] >= 250


@needs_recorded_patterns
def test_the_published_pattern_of_prse3_is_identified(tmp_path: Path) -> None:
    """Its intensities are not physical, so its geometry alone identifies it."""
    published = GRAPHENE.parent / "dd2d"
    build_index([Path("starter"), published], tmp_path / "index", load_towers(), workers=0)
    file = {"file": ("prse3.json", (published / "prse3_figure4.json").read_bytes())}
    with TestClient(create_app(Settings(index=tmp_path / "index"))) as client:
        elements_known = client.post("/predict", files=file, data={"elements_only": "Pr,Se"}).json()
        no_chemistry = client.post("/predict", files=file, data={"top_k": "20"}).json()
    assert list_formulas(elements_known)[0] == "PrSe3"
    assert any("only the geometry" in warning for warning in elements_known["query"]["warnings"])
    assert "PrSe3" in list_formulas(no_chemistry)


PATTERNS = GRAPHENE.parent


@needs_recorded_patterns
@pytest.mark.parametrize(
    ("name", "options", "formula"),
    [
        ("graphene/1_SAED_panel_with_circles.png", {"elements_only": "C"}, "C"),
        ("graphene/5_SAED_figure.png", {"elements_only": "C"}, "C"),
        ("graphene/Camera_Ceta_1359_410_mm___Raw_panel_with_circles.png", {"elements_only": "C"}, "C"),
        ("mos2/ab_initio_monolayer_mos2.tif", {"elements_only": "Mo,S"}, "MoS2"),
    ],
)
def test_published_pictures_are_identified(
    client: TestClient, name: str, options: dict[str, str], formula: str
) -> None:
    response = client.post("/predict", files={"file": (PATTERNS / name).read_bytes()}, data=options)
    assert response.status_code == 200, response.text
    first = response.json()["candidates"][0]
    assert first["formula"] == formula
    assert first["id"] in {"starter/graphene", "starter/MoS2-1H"}


@needs_recorded_patterns
@pytest.mark.parametrize("suffix", ["tif", "png"])
def test_a_bulk_crystal_has_no_match_and_its_scale_is_read(client: TestClient, suffix: str) -> None:
    data = (PATTERNS / "gaas" / f"GaAs_110_nm-1_512.{suffix}").read_bytes()
    answer = client.post("/predict", files={"file": data}).json()
    assert answer["verdict"] == "no_match"
    assert answer["query"]["calibration"] == "file"
    assert answer["query"]["pixel_size"] == pytest.approx(0.00180074, rel=2e-3)


@needs_recorded_patterns
def test_no_microscope_file_causes_a_server_error(client: TestClient) -> None:
    for path in sorted((PATTERNS / "formats").iterdir()):
        response = client.post("/predict", files={"file": (path.name, path.read_bytes())})
        assert response.status_code in {200, 422}, (path.name, response.text)
        if response.status_code == 422:
            assert len(response.json()["detail"]) > 20
