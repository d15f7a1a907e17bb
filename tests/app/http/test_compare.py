"""`POST /compare` over HTTP."""

import json
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.services import compare as compare_service
from model.crystal.crystal import Crystal
from model.crystal.structure_files import write_cif
from tests.app.answers import problem_of
from tests.matching.patterns import LAYERS, FlakePose, simulate_pattern
from tests.paths import ROOT

MOS2 = (ROOT / "docs" / "examples" / "mos2.cif").read_text()
SVG = "{http://www.w3.org/2000/svg}"


def cif(crystal: Crystal) -> str:
    return write_cif(crystal)


@pytest.fixture(scope="module")
def points() -> list[list[float]]:
    spots = simulate_pattern(
        LAYERS["MoS2"], FlakePose(tilt_deg=1.0, rotation_deg=20.0), np.random.default_rng(0)
    )
    assert spots.intensity is not None
    rows: list[list[float]] = np.column_stack([spots.q_inv_angstrom, spots.intensity]).tolist()
    return rows


def compare(client: TestClient, points: list[list[float]], structures: list[str], **options: Any) -> Any:
    return client.post("/compare", json={"points": points, "structures": structures, **options})


def test_the_most_likely_structure_comes_first_with_deciding_reflections(
    client: TestClient, points: list[list[float]]
) -> None:
    answer = compare(client, points, [cif(LAYERS["WS2"]), MOS2], voltage_kv=80).json()
    first, second = answer["candidates"]
    assert (first["name"], first["formula"], first["rank"]) == ("structure 2", "MoS2", 1)
    assert first["log_likelihood"] == 0
    assert second["log_likelihood"] < 0
    assert first["probability"] > second["probability"]
    assert first["deciding_reflections"] == []
    assert second["deciding_reflections"]
    for line in second["deciding_reflections"]:
        assert len(line["position"]) == 2
        assert line["in_first"] or line["in_this"]
    assert answer["query"]["lattice"]["bravais"] == "hexagonal"
    assert answer["verdict"] in {"match", "ambiguous"}


def test_a_form_names_its_structures_and_accepts_pixels(
    client: TestClient, points: list[list[float]]
) -> None:
    pixels = [[x / 0.004 + 500, y / 0.004 + 480, i] for x, y, i in points]
    files = [
        ("file", ("spots.json", json.dumps(pixels).encode())),
        ("structures", ("ours.cif", MOS2.encode())),
        ("structures", ("theirs.cif", cif(LAYERS["WS2"]).encode())),
    ]
    form = {"units": "pixel", "pixel_size": "0.004", "center": "500,480"}
    answer = client.post("/compare", files=files, data=form).json()
    assert [each["name"] for each in answer["candidates"]] == ["ours.cif", "theirs.cif"]
    x, y = answer["candidates"][1]["deciding_reflections"][0]["position"]
    assert abs(x - 500) + abs(y - 480) > 20


def test_the_svg_has_a_panel_for_each_structure(client: TestClient, points: list[list[float]]) -> None:
    structures = [MOS2, cif(LAYERS["WS2"]), cif(LAYERS["oblique"])]
    response = client.post(
        "/compare", json={"points": points, "structures": structures}, headers={"Accept": "image/svg+xml"}
    )
    assert response.headers["content-type"].startswith("image/svg+xml")
    root = ElementTree.fromstring(response.text)
    assert len(root.findall(f"{SVG}g")) == 3
    shown = " ".join(element.text or "" for element in root.iter(f"{SVG}text"))
    assert "structure 1 (MoS2)" in shown
    assert "does not fit" in shown
    kinds = {element.get("class") for element in root.iter() if element.get("class")}
    assert {"spot", "reflection", "deciding", "lattice"} <= kinds
    assert sum(element.get("class") == "spot" for element in root.iter()) == 3 * len(points)


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        ([], "0 structures; send 2 to 20"),
        ([MOS2], "has 1 structures"),
        ([MOS2] * 21, "21 structures"),
        ([MOS2, 3], "a list of strings"),
        ("data_x", "a list of strings"),
        (None, "a list of strings"),
    ],
)
def test_invalid_structures_are_refused(
    client: TestClient, points: list[list[float]], structures: Any, message: str
) -> None:
    assert message in problem_of(
        client.post("/compare", json={"points": points, "structures": structures}), 422
    )


def test_an_unreadable_structure_is_named(client: TestClient, points: list[list[float]]) -> None:
    assert "structure 2: " in problem_of(
        compare(client, points, [MOS2, "data_broken\n_cell_length_a ?"]), 400
    )
    assert "structure 2: " in problem_of(compare(client, points, [MOS2, "nothing of the kind"]), 415)


def test_options_of_a_search_are_refused(client: TestClient, points: list[list[float]]) -> None:
    detail = problem_of(compare(client, points, [MOS2, MOS2], effort="full"), 422)
    assert "Unknown option 'effort'" in detail


def test_predict_accepts_no_structures(client: TestClient, points: list[list[float]]) -> None:
    detail = problem_of(client.post("/predict", json={"points": points, "structures": [MOS2, MOS2]}), 422)
    assert "structures" in detail


@pytest.mark.parametrize("length", ["1e200", "1e308", "1e5"])
def test_a_cell_of_absurd_size_is_refused(client: TestClient, points: list[list[float]], length: str) -> None:
    absurd = MOS2.replace(
        next(line for line in MOS2.splitlines() if "_cell_length_a" in line), f"_cell_length_a {length}"
    )
    assert compare(client, points, [MOS2, absurd]).status_code in {400, 422}


def test_the_size_of_structures_is_limited(client: TestClient, points: list[list[float]]) -> None:
    assert "structure 2: " in problem_of(compare(client, points, [MOS2, MOS2 + "#" * 70_000]), 413)
    poscar = "many\n1.0\n3 0 0\n0 3 0\n0 0 30\nC\n99999999999\nDirect\n0 0 0\n"
    assert "declares 99999999999 atoms" in problem_of(compare(client, points, [MOS2, poscar]), 400)


def layer_of(width: int, thickness: float, a: float = 10.0) -> str:
    """Return a POSCAR of atoms in rows 10 angstrom apart, on both faces; one gold atom makes the cell primitive."""
    rows = "\n".join(f"0 {n / width} {z / (thickness + 20)}" for n in range(width) for z in (0, thickness))
    cell = f"{a} 0 0\n0 {10.0 * width} 0\n0 0 {thickness + 20}"
    return f"x\n1\n{cell}\nAu C\n1 {2 * width - 1}\ndirect\n{rows}\n"


@pytest.mark.parametrize(
    ("structures", "message"),
    [
        (
            [MOS2, layer_of(76, 2.0, a=3.0)],
            "structure 2: The primitive cell has 152 atoms; the limit is 150.",
        ),
        ([MOS2, layer_of(12, 9.0)], "structure 2: The primitive cell has 10800 cubic angstrom"),
        ([layer_of(10, 9.0)] * 5, "together have 45000 cubic angstrom between the faces of the layers"),
        ([MOS2, "x\n" * 100 + "x" * 3000], "structure 2: A line has more than 2048 characters"),
    ],
)
def test_the_work_of_a_comparison_is_limited(
    client: TestClient,
    points: list[list[float]],
    structures: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delattr(compare_service, "compare")
    assert message in problem_of(compare(client, points, structures), 413)


def test_a_name_that_xml_cannot_hold_is_drawn(client: TestClient, points: list[list[float]]) -> None:
    files = [
        ("file", ("spots.json", json.dumps(points).encode())),
        ("structures", ("a\x01\x1b<b>.cif", MOS2.encode())),
        ("structures", ("theirs.cif", cif(LAYERS["WS2"]).encode())),
    ]
    response = client.post("/compare", files=files, headers={"Accept": "image/svg+xml"})
    assert response.status_code == 200
    assert ElementTree.fromstring(response.text) is not None


@pytest.mark.parametrize("field", ["file", "structure"])
def test_a_surplus_file_is_refused(client: TestClient, points: list[list[float]], field: str) -> None:
    pattern = ("spots.json", json.dumps(points).encode())
    files = [("file", pattern), *[("structures", ("a.cif", MOS2.encode()))] * 2, (field, pattern)]
    assert field in problem_of(client.post("/compare", files=files), 422)
