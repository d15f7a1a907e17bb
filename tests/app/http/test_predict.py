"""`POST /predict`: every option, both kinds of body, the media types of the answer."""

import io
import json
import zipfile
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.cli.frame_simulation import simulate_png
from app.presentation.schemas.predict import Answer
from app.services.predict import list_tilt_warnings
from index.chemistry.composition import Composition
from model.matching.next_measurement import NextMeasurement
from model.physics.kinematic import compute_kinematic_spots
from tests.app.answers import cell_of, problem_of
from tests.app.stand_in import MODEL, StandIn, make_crystal
from tests.matches import make_match

Points = list[list[float]]


def post_points(client: TestClient, points: Any, **options: Any) -> Any:
    return client.post("/predict", json={"points": points, **options})


def post_file(client: TestClient, data: bytes, name: str = "pattern.json", **fields: Any) -> Any:
    return client.post("/predict", files={"file": (name, data)}, data=fields)


def test_the_crystal_of_points_comes_first(client: TestClient, points: Points) -> None:
    response = post_points(client, points, voltage_kv=80)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert Answer.model_validate(answer)
    first = answer["candidates"][0]
    assert (first["rank"], first["id"], first["formula"]) == (1, "graphene", "C")
    assert first["layer_group"] == 80
    assert first["lattice"]["a"] == pytest.approx(2.46)
    assert first["lattice"]["gamma"] == pytest.approx(120, abs=1e-3)
    assert [each["rank"] for each in answer["candidates"]] == list(range(1, 10))
    assert answer["query"]["warnings"] == []


def test_the_answer_has_the_keys_of_the_contract(client: TestClient, points: Points) -> None:
    answer = post_points(client, points).json()
    assert answer.keys() >= {"request_id", "verdict", "candidates", "query", "provenance", "timing_ms"}
    assert answer["candidates"][0].keys() >= {
        *("rank", "id", "source", "formula", "elements", "layer_group", "lattice"),
        *("similarity", "probability", "match", "cif", "same_as"),
    }
    assert answer["query"].keys() >= {
        *("spots", "center", "pixel_size", "calibration", "lattice", "quality", "warnings")
    }
    assert answer["provenance"]["model"] == MODEL
    assert answer["provenance"].keys() == {"version", "model", "index", "crystals", "user_structures"}
    assert answer["timing_ms"].keys() >= {"read", "embed", "search", "total"}


def test_scale_sigma_is_an_option(client: TestClient, library: StandIn, points: Points) -> None:
    assert post_points(client, points).json()["query"]["scale_sigma"] == 0.013
    answer = post_points(client, points, scale_sigma=0.004).json()
    assert answer["query"]["scale_sigma"] == 0.004
    assert library.searches[-1]["spots"].scale_sigma == 0.004
    for wrong in (0, 0.2, "sure"):
        assert "scale_sigma" in problem_of(post_points(client, points, scale_sigma=wrong), 422)
    unknown = post_points(
        client, [[100 * x, 100 * y, i] for x, y, i in points], units="pixel", scale_sigma=0.004
    ).json()
    assert unknown["query"]["scale_sigma"] is None
    assert any("scale_sigma was ignored" in each for each in unknown["query"]["warnings"])


@pytest.mark.parametrize("effort", ["search", "verify", "full"])
def test_the_effort_reaches_the_search(
    client: TestClient, library: StandIn, points: Points, effort: str
) -> None:
    assert post_points(client, points, effort=effort).status_code == 200
    assert library.searches[-1]["effort"] == effort


def test_candidates_are_verified_by_default(client: TestClient, library: StandIn, points: Points) -> None:
    assert post_points(client, points).status_code == 200
    assert library.searches[-1]["effort"] == "verify"


def test_the_answer_contains_the_match(client: TestClient, library: StandIn, points: Points) -> None:
    library.match = make_match(
        rotation_deg=12.3456,
        mirrored=True,
        scale=1.00456,
        distortion=0.002,
        tilt_deg=2.34567,
        tilt_azimuth_deg=45.678,
        tilt_azimuth_sigma_deg=None,
        r_factor=0.07891,
        missing=0.05,
    )
    library.probability, library.verdict = 0.123456789, "ambiguous"
    answer = post_points(client, points).json()
    assert answer["verdict"] == "ambiguous"
    assert answer["candidates"][0]["probability"] == 0.123457
    assert answer["candidates"][0]["match"] == {
        "rotation_deg": 12.35,
        "rotation_sigma_deg": 0.04,
        "mirrored": True,
        "face_down": False,
        "scale": 1.0046,
        "scale_sigma": 0.0007,
        "pixel_size": None,
        "distortion": 0.002,
        "distortion_sigma": 0.0014,
        "tilt_deg": 2.35,
        "tilt_sigma_deg": 0.1,
        "tilt_azimuth_deg": 45.7,
        "tilt_azimuth_sigma_deg": None,
        "b_factor": 0.4,
        "b_factor_sigma": 0.1,
        "explained": 1.0,
        "missing": 0.05,
        "extra": 0.0,
        "r_factor": 0.0789,
        "refined": True,
        "reflections": None,
        "overlay": None,
    }


def test_what_is_not_computed_is_null(client: TestClient, points: Points) -> None:
    answer = post_points(client, points).json()
    assert answer["verdict"] is None
    assert answer["query"]["lattice"] is None
    assert all(each["match"] is None and each["probability"] is None for each in answer["candidates"])


def test_the_cif_has_the_lattice_of_the_answer(client: TestClient, points: Points) -> None:
    first = post_points(client, points).json()["candidates"][0]
    assert cell_of(first["cif"]) == pytest.approx(tuple(first["lattice"].values()), abs=1e-4)
    assert "vacuum" in first["cif"]


def test_a_file_of_points_gives_the_same_answer_as_json(
    client: TestClient, points: Points, point_file: bytes
) -> None:
    by_file, by_json = post_file(client, point_file).json(), post_points(client, points).json()
    assert by_file["candidates"] == by_json["candidates"]
    assert by_file["query"]["calibration"] == "file"
    assert by_json["query"]["calibration"] == "request"


def test_the_crystal_of_a_frame_comes_first(client: TestClient) -> None:
    frame = simulate_png(
        compute_kinematic_spots(make_crystal("C", 2.46, "x")), pixel_size_inv_angstrom=0.005, size=512
    )
    response = post_file(client, frame, "frame.png", pixel_size="0.005", voltage_kv="80")
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["candidates"][0]["id"] == "graphene"
    assert answer["query"]["center"] == pytest.approx([256, 256], abs=0.5)
    assert answer["query"]["pixel_size"] == 0.005


def test_inverse_nanometers_are_converted(client: TestClient, library: StandIn, points: Points) -> None:
    tenfold = [[10 * x, 10 * y, i] for x, y, i in points]
    assert post_points(client, tenfold, units="1/nm").status_code == 200
    assert post_points(client, points).status_code == 200
    nm, angstrom = (each["spots"].q_inv_angstrom for each in library.searches)
    np.testing.assert_allclose(nm, angstrom)


def test_points_in_pixels_use_pixel_size_and_center(
    client: TestClient, library: StandIn, points: Points
) -> None:
    pixels = [[x / 0.004 + 500, y / 0.004 + 480, i] for x, y, i in points]
    by_json = post_points(client, pixels, units="pixel", pixel_size=0.004, center=[500, 480])
    by_form = post_file(
        client, json.dumps(pixels).encode(), units="pixel", pixel_size="0.004", center="500, 480"
    )
    found = post_points(client, pixels, units="pixel", pixel_size=0.004)
    for response in (by_json, by_form, found):
        assert response.json()["query"]["center"] == pytest.approx([500, 480], abs=1e-3)
        assert response.json()["candidates"][0]["id"] == "graphene"
    first = library.searches[0]["spots"].q_inv_angstrom
    np.testing.assert_allclose(library.searches[1]["spots"].q_inv_angstrom, first)


def test_points_in_pixels_without_a_scale_are_searched_at_any_scale(
    client: TestClient, library: StandIn, points: Points
) -> None:
    pixels = [[x / 0.004 + 500, y / 0.004 + 480, i] for x, y, i in points]
    library.match = make_match(scale=1.25)
    answer = post_points(client, pixels, units="pixel", center=[500, 480]).json()
    spots = library.searches[-1]["spots"]
    assert not spots.scale_is_known
    query = answer["query"]
    assert (query["calibration"], query["pixel_size"]) == ("unknown", None)
    assert (query["quality"]["q_min"], query["quality"]["q_max"]) == (None, None)
    match = answer["candidates"][0]["match"]
    assert (match["scale"], match["scale_sigma"]) == (None, None)
    assert match["pixel_size"] == pytest.approx(spots.pixel_size_inv_angstrom / 1.25, rel=1e-4)


def test_the_answer_contains_confidence_set_and_next_measurement(
    client: TestClient, library: StandIn, points: Points
) -> None:
    answer = post_points(client, points).json()
    assert (answer["confidence_set"], answer["next_measurement"]) == (None, None)
    library.set_size, library.measurement = 12, NextMeasurement("element", "Look for W.", element="W")
    answer = post_points(client, points, coverage=0.9).json()
    assert answer["confidence_set"] == {"coverage": 0.9, "size": 12}
    expected = {
        "method": "element",
        "advice": "Look for W.",
        "element": "W",
        "tilt_deg": None,
        "log_likelihood_ratio": None,
    }
    assert answer["next_measurement"] == expected


def test_the_coverage_reaches_the_search(client: TestClient, library: StandIn, points: Points) -> None:
    post_points(client, points)
    assert library.searches[-1]["coverage"] == 0.95
    assert post_points(client, points, coverage=0.8).status_code == 200
    assert library.searches[-1]["coverage"] == 0.8
    for wrong in (0.2, 1.0, "most"):
        assert "coverage" in problem_of(post_points(client, points, coverage=wrong), 422)


def test_a_composition_reaches_the_search_from_json_and_form(
    client: TestClient, library: StandIn, points: Points
) -> None:
    assert post_points(client, points).status_code == 200
    assert library.searches[-1]["composition"] is None
    assert (
        post_points(client, points, composition={"Mo": 0.33, "S": 0.67}, composition_sigma=0.1).status_code
        == 200
    )
    assert library.searches[-1]["composition"] == Composition({"Mo": 0.33, "S": 0.67}, 0.1)
    sent = post_file(client, json.dumps(points).encode(), composition="Mo: 0.33, S:0.67")
    assert sent.status_code == 200
    assert library.searches[-1]["composition"] == Composition({"Mo": 0.33, "S": 0.67}, 0.05)
    for wrong in ("Mo", "Mo:x", "Mo:1,Mo:2", "Xx:1", "Mo:-1"):
        assert "omposition" in problem_of(
            post_file(client, json.dumps(points).encode(), composition=wrong), 422
        )
    assert "requires composition" in problem_of(post_points(client, points, composition_sigma=0.1), 422)


@pytest.mark.parametrize("elements", [{"elements_none": ["S"]}, {"elements_only": ["Mo", "Se"]}])
def test_a_composition_of_excluded_elements_is_refused(
    client: TestClient, points: Points, elements: dict[str, list[str]]
) -> None:
    options = {"composition": {"Mo": 0.33, "S": 0.67}, **elements}
    assert "composition contains S" in problem_of(post_points(client, points, **options), 422)
    assert post_points(client, points, composition={"Mo": 1.0}, elements_only=["Mo", "H"]).status_code == 200


def test_the_caveat_accompanies_match_and_ambiguous(
    client: TestClient, library: StandIn, points: Points
) -> None:
    library.verdict = "ambiguous"
    assert "bulk" in post_points(client, points).json()["caveat"]
    library.verdict = "no_match"
    assert post_points(client, points).json()["caveat"] is None


def test_no_advice_on_a_lattice_that_was_not_searched_for(client: TestClient, points: Points) -> None:
    for effort, has_advice in (("search", False), ("verify", True)):
        advice = post_points(client, points, effort=effort).json()["query"]["quality"]["advice"]
        assert any("no lattice" in each for each in advice) is has_advice


def test_the_svg_has_a_panel_for_each_candidate(client: TestClient, library: StandIn, points: Points) -> None:
    library.match, library.probability = make_match(), 0.5
    body, headers = {"points": points, "top_k": 3}, {"Accept": "image/svg+xml"}
    response = client.post("/predict", json=body, headers=headers)
    assert response.headers["content-type"].startswith("image/svg+xml")
    root = ElementTree.fromstring(response.text)
    panels = root.findall("{http://www.w3.org/2000/svg}g")
    assert len(panels) == 3
    for panel in panels:
        kinds = [element.get("class") for element in panel.iter()]
        assert kinds.count("spot") == len(points)
        assert kinds.count("missing") == kinds.count("extra") == 1
    assert "probability 0.500" in response.text
    library.match = None
    nothing = client.post("/predict", json={**body, "elements_only": ["Cf"]}, headers=headers)
    assert "The pattern" in nothing.text


def test_the_option_reflections_lists_every_comparison(
    client: TestClient, library: StandIn, points: Points
) -> None:
    library.match = make_match()
    assert post_points(client, points).json()["candidates"][0]["match"]["reflections"] is None
    explained, extra, missing = post_points(client, points, reflections=True).json()["candidates"][0][
        "match"
    ]["reflections"]
    assert explained == {
        "h": 1,
        "k": 0,
        "status": "explained",
        "d_observed": 2.5,
        "d_calculated": 2.5,
        "position_observed": [0.4, 0.0],
        "position_calculated": [0.401, 0.0],
        "intensity_observed": 1.0,
        "intensity_calculated": 1.105,
        "intensity_sigma": 0.28,
    }
    assert extra["status"] == "extra"
    assert [extra[key] for key in ("d_calculated", "position_calculated", "intensity_calculated")] == [
        None
    ] * 3
    assert missing["status"] == "missing"
    assert [missing[key] for key in ("d_observed", "position_observed", "intensity_observed")] == [None] * 3
    assert missing["intensity_calculated"] == pytest.approx(np.exp(-1), abs=1e-3)


def test_positions_of_reflections_are_in_pixels_for_points_in_pixels(
    client: TestClient, library: StandIn, points: Points
) -> None:
    pixels = [[x / 0.004 + 500, y / 0.004 + 480, i] for x, y, i in points]
    library.match = make_match()
    answer = post_points(
        client, pixels, units="pixel", pixel_size=0.004, center=[500, 480], reflections=True
    ).json()
    assert answer["candidates"][0]["match"]["reflections"][0]["position_observed"] == [600, 480]


@pytest.mark.parametrize("voltage", [60, 200.5, 300])
def test_the_voltage_reaches_the_search(
    client: TestClient, library: StandIn, points: Points, voltage: float
) -> None:
    answer = post_points(client, points, voltage_kv=voltage).json()
    assert library.searches[-1]["voltage_kv"] == voltage
    assert answer["query"]["voltage_kv"] == voltage


def test_an_unknown_voltage_is_assumed_to_be_80_with_a_warning(
    client: TestClient, library: StandIn, points: Points
) -> None:
    (warning,) = post_points(client, points).json()["query"]["warnings"]
    assert library.searches[-1]["voltage_kv"] == 80
    assert "80 kV" in warning
    assert "voltage_kv" in warning


@pytest.mark.parametrize(
    ("option", "symbols", "is_expected"),
    [
        ("elements_all", ["Mo", "S"], lambda formulas: formulas == [{"Mo", "S"}]),
        ("elements_only", ["Mo", "S", "Se"], lambda formulas: len(formulas) == 2),
        ("elements_any", ["C", "Te"], lambda formulas: len(formulas) == 2),
        ("elements_none", ["S", "Se", "Te"], lambda formulas: formulas == [{"C"}]),
    ],
)
@pytest.mark.parametrize("form", [False, True])
def test_elements_restrict_the_search(
    client: TestClient,
    points: Points,
    point_file: bytes,
    option: str,
    symbols: list[str],
    is_expected: Callable[[list[set[str]]], bool],
    form: bool,
) -> None:
    if form:
        response = post_file(client, point_file, **{option: ",".join(symbols)})
    else:
        response = post_points(client, points, **{option: symbols})
    assert is_expected([set(each["elements"]) for each in response.json()["candidates"]])


def test_a_repeated_form_field_extends_its_list(client: TestClient, point_file: bytes) -> None:
    response = post_file(client, point_file, elements_all=["Mo", "S"])
    assert [each["formula"] for each in response.json()["candidates"]] == ["MoS2"]


def test_unavailable_elements_give_an_empty_list(client: TestClient, points: Points) -> None:
    response = post_points(client, points, elements_all=["Au"])
    assert response.status_code == 200
    assert response.json()["candidates"] == []


def test_top_k_limits_the_candidates(client: TestClient, points: Points, point_file: bytes) -> None:
    assert len(post_points(client, points, top_k=3).json()["candidates"]) == 3
    assert len(post_file(client, point_file, top_k="1").json()["candidates"]) == 1


def test_null_and_empty_text_mean_an_absent_option(
    client: TestClient, points: Points, point_file: bytes
) -> None:
    assert (
        post_points(client, points, voltage_kv=None, center=None, units=None, top_k=None).status_code == 200
    )
    assert post_file(client, point_file, voltage_kv="", elements_only=" ", center="").status_code == 200


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"radiation": "xray"}, "X-rays"),
        ({"radiation": "neutron"}, "radiation"),
        ({"effort": "most"}, "effort"),
        ({"units": "furlong"}, "units"),
        ({"units": 1}, "units"),
        ({"pixel_size": 0}, "pixel_size"),
        ({"pixel_size": -0.1}, "pixel_size"),
        ({"pixel_size": "0.1"}, "pixel_size"),
        ({"center": [1]}, "center"),
        ({"center": [1, 2, 3]}, "center"),
        ({"center": "1,2"}, "center"),
        ({"center": ["a", 2]}, "center"),
        ({"voltage_kv": 59.9}, "voltage_kv"),
        ({"voltage_kv": 301}, "voltage_kv"),
        ({"voltage_kv": True}, "voltage_kv"),
        ({"top_k": 0}, "top_k"),
        ({"top_k": 101}, "top_k"),
        ({"top_k": 2.5}, "top_k"),
        ({"top_k": "10"}, "top_k"),
        ({"elements_only": "Mo"}, "elements_only"),
        ({"elements_only": ["Xx"]}, "Xx"),
        ({"elements_all": ["mo"]}, "write Mo"),
        ({"elements_all": [42]}, "elements_all"),
        ({"elements_all": ["Mo"], "elements_none": ["Mo"]}, "Mo"),
        ({"elements_any": ["Mo"], "elements_only": ["S"]}, "Mo"),
        ({"color": "red"}, "color"),
        ({"file": "x"}, "file"),
    ],
)
def test_an_invalid_option_is_named(
    client: TestClient, library: StandIn, points: Points, options: dict[str, Any], named: str
) -> None:
    assert named in problem_of(post_points(client, points, **options), 422)
    assert library.searches == []


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"top_k": "ten"}, "top_k"),
        ({"voltage_kv": "nan"}, "voltage_kv"),
        ({"pixel_size": "inf"}, "pixel_size"),
        ({"center": "1;2"}, "center"),
        ({"elements_all": "Mo S"}, "Mo S"),
        ({"units": "1/A"}, "units"),
        ({"top_n": "5"}, "top_n"),
        ({"points": "[]"}, "points"),
        ({"top_k": ["3", "4"]}, "more than once"),
        ({"effort": "most"}, "effort"),
    ],
)
def test_an_invalid_form_field_is_named(
    client: TestClient, point_file: bytes, fields: dict[str, Any], named: str
) -> None:
    assert named in problem_of(post_file(client, point_file, **fields), 422)


def test_options_in_the_query_string_are_refused(client: TestClient, points: Points) -> None:
    response = client.post("/predict?top_k=3&units=pixel", json={"points": points})
    assert "found top_k, units" in problem_of(response, 422)


def test_unknown_options_are_named_together(client: TestClient, points: Points) -> None:
    detail = problem_of(post_points(client, points, color=1, shade=2, top_k=0), 422)
    assert "'color', 'shade'" in detail
    assert "Option top_k is invalid: " in detail
    assert detail.count("the options are units, pixel_size") == 1


def test_json_may_start_with_a_byte_order_mark(client: TestClient, points: Points) -> None:
    body = b"\xef\xbb\xbf" + json.dumps({"points": points}).encode()
    assert (
        client.post("/predict", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    )


def test_a_file_may_state_its_voltage(client: TestClient, points: Points) -> None:
    data = json.dumps({"points": points, "voltage_kv": 200}).encode()
    assert post_file(client, data).json()["query"]["voltage_kv"] == 200
    assert post_file(client, data, voltage_kv="120").json()["query"]["voltage_kv"] == 120
    low = post_file(client, json.dumps({"points": points, "voltage_kv": 30}).encode()).json()["query"]
    assert low["voltage_kv"] == 60
    assert "30 kV" in low["warnings"][0]


def test_the_cif_is_that_of_the_first_candidate(client: TestClient, points: Points) -> None:
    first = post_points(client, points).json()["candidates"][0]["cif"]
    response = client.post("/predict", json={"points": points}, headers={"Accept": "chemical/x-cif"})
    assert response.headers["content-type"].split(";")[0] == "chemical/x-cif"
    assert response.text == first


def test_the_zip_contains_the_answer_and_every_cif(client: TestClient, points: Points) -> None:
    response = client.post("/predict", json={"points": points}, headers={"Accept": "application/zip"})
    assert response.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        answer = json.loads(archive.read("answer.json"))
        cifs = [archive.read(name).decode() for name in sorted(archive.namelist()) if name.endswith(".cif")]
        assert all("/" not in name for name in archive.namelist())
    assert cifs == [each["cif"] for each in answer["candidates"]]


@pytest.mark.parametrize(
    ("accept", "media_type"),
    [
        ("*/*", "application/json"),
        ("", "application/json"),
        ("application/*", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
        ("chemical/*", "chemical/x-cif"),
        ("application/json;q=0.2, chemical/x-cif;q=0.9", "chemical/x-cif"),
        ("application/json;q=0, */*", "chemical/x-cif"),
        ("Application/ZIP", "application/zip"),
    ],
)
def test_the_accept_header_chooses_the_media_type(
    client: TestClient, points: Points, accept: str, media_type: str
) -> None:
    response = client.post("/predict", json={"points": points}, headers={"Accept": accept})
    assert response.headers["content-type"].split(";")[0] == media_type
    assert response.headers["vary"] == "Accept"


@pytest.mark.parametrize("accept", ["text/csv", "application/json;q=0", "nonsense", "application/json;q=x"])
def test_an_unavailable_media_type_is_a_406(client: TestClient, points: Points, accept: str) -> None:
    response = client.post("/predict", json={"points": points}, headers={"Accept": accept})
    assert "application/json" in problem_of(response, 406)


def test_a_cif_without_candidates_is_a_406(client: TestClient, points: Points) -> None:
    response = client.post(
        "/predict", json={"points": points, "elements_all": ["Au"]}, headers={"Accept": "chemical/x-cif"}
    )
    problem_of(response, 406)


def test_a_given_lattice_reaches_the_search_in_reciprocal_angstrom(
    client: TestClient, library: StandIn, points: list[list[float]]
) -> None:
    lattice = [[0.47, 0.0], [0.235, 0.407]]
    assert client.post("/predict", json={"points": points, "lattice": lattice}).status_code == 200
    assert library.searches[-1]["lattice"].tolist() == lattice
    pixels = [[100 * x + 300, 100 * y + 300, i] for x, y, i in points]
    request = {
        "points": pixels,
        "center": [300.0, 300.0],
        "pixel_size": 0.01,
        "lattice": [[47, 0], [23.5, 40.7]],
    }
    assert client.post("/predict", json=request).status_code == 200
    np.testing.assert_allclose(library.searches[-1]["lattice"], lattice)
    assert client.post("/predict", json={"points": points}).status_code == 200
    assert library.searches[-1]["lattice"] is None


def test_a_lattice_with_effort_search_is_refused(client: TestClient, points: list[list[float]]) -> None:
    request = {"points": points, "lattice": [[0.47, 0.0], [0.235, 0.407]], "effort": "search"}
    response = client.post("/predict", json=request)
    assert response.status_code == 422
    assert "effort=search" in response.json()["detail"]


@pytest.mark.parametrize(
    "lattice", [[[0.47, 0.0]], [[0.47], [0.2, 0.4]], "0.47,0;0.2,0.4", [[1, 2], [3, None]]]
)
def test_a_lattice_of_another_shape_is_refused(
    client: TestClient, points: list[list[float]], lattice: object
) -> None:
    response = client.post("/predict", json={"points": points, "lattice": lattice})
    assert response.status_code == 422
    assert "lattice" in response.json()["detail"]


def test_a_tilt_at_the_limit_of_its_range_causes_a_warning() -> None:
    assert list_tilt_warnings(None) == ()
    assert list_tilt_warnings(make_match(tilt_deg=3.0)) == ()
    (warning,) = list_tilt_warnings(make_match(tilt_deg=5.7))
    assert "5.7 degrees" in warning
