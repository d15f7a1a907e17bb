"""The service conforms to its OpenAPI document: schemathesis generates requests from that document."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import CheckFunction
from schemathesis.core.result import Ok
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from app.auth.api_keys import create_key
from app.auth.key_file import update_key_file
from app.main import create_app
from app.settings import Settings
from tests.app.stand_in import StandIn

# A busy or broken service answers 503. The stand-in is neither, but the document lists that status.
ALLOWED_FAILURES = {503}
CHECKS: list[CheckFunction] = [
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
EXAMPLES = 12


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TestClient, dict[str, str]]]:
    """Return a client of a service with keys, and the header with the key."""
    path = tmp_path_factory.mktemp("keys") / "keys.jsonl"
    key, secret = create_key("schemathesis", "admin")
    update_key_file(path, lambda _: (key,))
    with TestClient(create_app(Settings(keys=path), StandIn()), raise_server_exceptions=False) as client:
        yield client, {"Authorization": f"Bearer {secret}"}


SCHEMA = schemathesis.openapi.from_dict(create_app(Settings()).openapi())
OPERATIONS = {each.ok().label: each.ok() for each in SCHEMA.get_all_operations() if isinstance(each, Ok)}


# A request without parameters and without a body cannot be invalid.
REQUESTS = [
    pytest.param(name, mode, id=f"{name} {mode.value}")
    for name, each in OPERATIONS.items()
    for mode in GenerationMode
    if mode == GenerationMode.POSITIVE or each.path_parameters or each.body
]


@pytest.mark.parametrize(("name", "mode"), REQUESTS)
@pytest.mark.parametrize("keyed", [True, False], ids=["keyed", "keyless"])
def test_every_response_conforms_to_the_document(
    service: tuple[TestClient, dict[str, str]], name: str, mode: GenerationMode, keyed: bool
) -> None:
    client, key = service

    @given(case=OPERATIONS[name].as_strategy(generation_mode=mode))
    @settings(
        max_examples=EXAMPLES if keyed else 1,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    def check(case: Any) -> None:
        arguments = case.as_transport_kwargs(base_url=str(client.base_url), headers=key if keyed else {})
        sent = requests.Request(**arguments).prepare()
        response = client.request(case.method, str(sent.url), content=sent.body, headers=dict(sent.headers))  # type: ignore[arg-type]
        assert response.status_code < 500 or response.status_code in ALLOWED_FAILURES
        assert not keyed or response.status_code != 401
        case.validate_response(Response.from_httpx2(response, verify=True), checks=CHECKS)

    check()


def test_successful_responses_conform_to_the_document(
    service: tuple[TestClient, dict[str, str]], points: list[list[float]]
) -> None:
    client, key = service
    cif = client.get("/structures/graphene/cif", headers=key).text
    requests_by_operation = {
        "POST /predict": ("/predict", {"points": points}),
        "POST /inspect": ("/inspect", {"points": points}),
        "POST /compare": ("/compare", {"points": points, "structures": [cif, cif]}),
        "GET /structures/{id}": ("/structures/graphene", None),
        "GET /structures/{id}/cif": ("/structures/graphene/cif", None),
    }
    for name, (path, body) in requests_by_operation.items():
        response = client.request(name.split()[0], path, json=body, headers=key)
        assert response.status_code == 200, response.text
        OPERATIONS[name].validate_response(Response.from_httpx2(response, verify=True))
