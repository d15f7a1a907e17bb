"""`GET /structures/{id}[/cif]`: ids hold any character."""

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
    found = Structure.model_validate(response.json())
    assert found.id == id
    assert found.cif == library.get_entry(id).to_cif()
    as_cif = client.get(path_of(id) + "/cif")
    assert as_cif.headers["content-type"].split(";")[0] == "chemical/x-cif"
    assert as_cif.text == found.cif


def test_a_slash_may_stay_as_it_is(client: TestClient) -> None:
    id = "bilayers/MoS2 50%/AB"
    assert client.get("/structures/" + quote(id)).json()["id"] == id
    assert client.get("/structures/" + quote(id) + "/cif").status_code == 200


def test_a_structure_says_all_that_is_known(client: TestClient) -> None:
    found = client.get("/structures/mos2").json()
    assert (found["formula"], found["license"], found["source"]) == ("MoS2", "MIT", "stand-in")
    assert found["reference"] is None
    assert (found["layer_group"], found["space_group"]) == (78, 187)
    assert cell_of(found["cif"])[0] == pytest.approx(found["lattice"]["a"], abs=1e-4)


def test_accept_gives_the_cif_too(client: TestClient) -> None:
    response = client.get("/structures/mos2", headers={"Accept": "chemical/x-cif"})
    assert response.text == client.get("/structures/mos2/cif").text
    problem_of(client.get("/structures/mos2", headers={"Accept": "image/png"}), 406)


@pytest.mark.parametrize("id", ["absent", "MOS2", "", "a/b", "a%2Fb%2F", "%FF%FE", "%00"])
def test_an_unknown_id_is_404(client: TestClient, id: str) -> None:
    assert "crystal" in problem_of(client.get(f"/structures/{id}"), 404)
