import pytest

from model.crystal.crystal import Crystal
from tests.matching.patterns import LAYERS


@pytest.fixture(params=list(LAYERS))
def crystal(request: pytest.FixtureRequest) -> Crystal:
    return LAYERS[request.param]
