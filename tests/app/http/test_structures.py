"""`GET /structures/{id}` and `/structures/{id}/cif`: ids may contain any character."""

from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from app.presentation.schemas.structures import Structure
from tests.app.answers import cell_of, problem_of
from tests.app.stand_in import AWKWARD_IDS, StandIn


def path_of(id: str) -> str:
    return f"/structures/{quote(id, safe='').replace('.', '%2E')}"


@pytest.mark.parametrize("id", ["graphene", "mos2", *AWKWARD_IDS])
def test_every_id_is_found(client: TestClient, library: StandIn, id: str) -> None:
    response = client.get(path_of(id))
    assert response.status_code == 200, response.text
    structure = Structure.model_validate(response.json())
    assert structure.id == id
    assert structure.cif == library.get_entry(id).cif
    as_cif = client.get(path_of(id) + "/cif")
    assert as_cif.headers["content-type"].split(";")[0] == "chemical/x-cif"
    assert as_cif.text == structure.cif


def test_slashes_of_an_id_need_not_be_encoded(client: TestClient) -> None:
    id = "bilayers/MoS2 50%/AB"
    assert client.get("/structures/" + quote(id)).json()["id"] == id
    assert client.get("/structures/" + quote(id) + "/cif").status_code == 200


def test_the_answer_describes_the_crystal(client: TestClient) -> None:
    structure = client.get("/structures/mos2").json()
    assert (structure["formula"], structure["license"], structure["source"]) == ("MoS2", "MIT", "stand-in")
    assert structure["reference"] is None
    assert (structure["layer_group"], structure["space_group"]) == (78, 187)
    assert cell_of(structure["cif"])[0] == pytest.approx(structure["lattice"]["a"], abs=1e-4)


def test_the_accept_header_selects_the_cif(client: TestClient) -> None:
    response = client.get("/structures/mos2", headers={"Accept": "chemical/x-cif"})
    assert response.text == client.get("/structures/mos2/cif").text
    problem_of(client.get("/structures/mos2", headers={"Accept": "image/png"}), 406)


@pytest.mark.parametrize("id", ["unknown", "MOS2", "", "a/b", "a%2Fb%2F", "%FF%FE", "%00"])
def test_an_unknown_id_is_a_404(client: TestClient, id: str) -> None:
    assert "crystal" in problem_of(client.get(f"/structures/{id}"), 404)
