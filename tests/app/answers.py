"""Check the answers of the service."""

import warnings
from typing import Any

from pymatgen.core.structure import Structure


def problem_of(response: Any, status: int) -> str:
    """Check the form of a problem and return its detail."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content = response.json()
    assert set(content) == {"type", "title", "status", "detail", "request_id"}
    assert content["status"] == status
    assert content["request_id"] == response.headers["x-request-id"]
    assert content["detail"]
    return str(content["detail"])


def cell_of(cif: str) -> tuple[float, ...]:
    """Return a, b, c, alpha, beta, gamma of a CIF, read by pymatgen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pymatgen warns of rounded thirds
        return tuple(Structure.from_str(cif, fmt="cif").lattice.parameters)
