"""The alerts and the dashboard: valid in form, and every metric, route and problem type that they name exists."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from ruamel.yaml import YAML
from starlette.testclient import TestClient

from app.http.problem_details import PROBLEM_TYPES
from app.main import create_app
from app.settings import Settings
from tests.app.stand_in import StandIn
from tests.paths import ROOT

RULES: list[dict[str, Any]] = [
    rule for group in YAML(typ="safe").load(ROOT / "docker/alerts.yml")["groups"] for rule in group["rules"]
]
PANELS: list[dict[str, Any]] = json.loads((ROOT / "docker/grafana/dashboard.json").read_text())["panels"]
EXPRESSIONS = {rule["alert"]: str(rule["expr"]) for rule in RULES} | {
    f"{panel['title']}, {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]
}
DURATION = re.compile(r"\d+[smhd]")
SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"], "gauge": [""]}

each_expression = pytest.mark.parametrize("name", EXPRESSIONS)


@pytest.fixture(scope="module")
def exposed() -> dict[str, str]:
    """The type of each metric that the service exposes, also of those that have no sample yet."""
    with TestClient(create_app(Settings(), StandIn())) as client:
        families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        family.name + suffix: family.type for family in families for suffix in SUFFIXES.get(family.type, [])
    }


def metrics_in(expression: str) -> Iterator[str]:
    """The names of metrics in PromQL: those that are no function, label, string or keyword."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\b(by|without)\s*\([^)]*\)", " ", expression)
    for match in re.finditer(r"[a-zA-Z_:][\w:]*", bare):
        if not bare[match.end() :].lstrip().startswith("(") and match[0] not in {"and", "or", "unless"}:
            yield match[0]


@each_expression
def test_every_metric_exists(name: str, exposed: dict[str, str]) -> None:
    named = set(metrics_in(EXPRESSIONS[name]))
    assert named
    assert named - set(exposed) - {"up"} == set()


@each_expression
def test_counters_are_read_as_rates(name: str, exposed: dict[str, str]) -> None:
    expression = re.sub(r"\{[^}]*\}", "", EXPRESSIONS[name])
    for metric in metrics_in(expression):
        is_rate = re.search(rf"\b(rate|increase)\({metric}\[", expression) is not None
        assert is_rate == (exposed.get(metric) in {"counter", "histogram"})


@each_expression
def test_brackets_are_closed_and_durations_are_valid(name: str) -> None:
    expression = EXPRESSIONS[name]
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)
    for duration in re.findall(r"\[([^]]*)\]", expression):
        assert duration == "$__rate_interval" or DURATION.fullmatch(duration)


@each_expression
def test_routes_and_problem_types_exist(name: str) -> None:
    routes = set(create_app(Settings(), StandIn()).openapi()["paths"])
    types = {each.name for each in PROBLEM_TYPES.values()}
    for label, known in (("route", routes), ("type", types)):
        for values in re.findall(rf'\b{label}=~?"([^"]*)"', EXPRESSIONS[name]):
            assert set(values.split("|")) <= known


def test_every_alert_says_what_to_do() -> None:
    assert len({rule["alert"] for rule in RULES}) == len(RULES) >= 8
    for rule in RULES:
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert set(rule["annotations"]) == {"summary", "action"}
        assert DURATION.fullmatch(rule.get("for", "0s"))


def test_panels_do_not_overlap() -> None:
    cells = [
        (x, y)
        for panel in PANELS
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24
    assert len({panel["id"] for panel in PANELS}) == len(PANELS)
