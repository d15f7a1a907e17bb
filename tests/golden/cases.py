"""All requests of the regression tests."""

from tests.golden.frame_cases import list_frame_cases
from tests.golden.messages import Case
from tests.golden.point_cases import list_point_cases
from tests.golden.refusal_cases import list_refusal_cases
from tests.golden.route_cases import list_route_cases


def list_cases() -> list[Case]:
    """Every case, in the order in which a recording is made."""
    cases = [*list_point_cases(), *list_frame_cases(), *list_route_cases(), *list_refusal_cases()]
    assert len({case.id for case in cases}) == len(cases)
    return cases
