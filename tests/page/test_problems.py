"""What goes wrong is said where it happened, with what to do about it."""

import json

import numpy as np
from playwright.sync_api import Page, Route, expect

from tests.page.conftest import Seen
from tests.page.patterns import candidates, drop, settled
from tests.pattern.formats.camera_files import tiff


def test_a_blank_frame_is_told_beside_the_file(page: Page, seen: Seen) -> None:
    seen.expected = ("422",)
    drop(page, tiff(np.full((128, 128), 7, dtype=np.uint16)), "blank.tif")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("blank")
    expect(alert).to_contain_text("No diffraction pattern in the upload")
    assert page.locator("#intake #problem").count() == 1
    page.get_by_role("button", name="Graphene").click()
    settled(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_an_impossible_option_is_told_beside_the_answer(page: Page, seen: Seen, tiff_frame: bytes) -> None:
    seen.expected = ("422",)
    drop(page, tiff_frame, "flake.tif")
    settled(page)
    found = candidates(page)
    page.get_by_label("Voltage, kV").fill("5")
    page.get_by_label("Voltage, kV").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("voltage_kv")
    assert page.locator("#answer #problem").count() == 1
    assert candidates(page) == found
    page.get_by_label("Voltage, kV").fill("120")
    page.get_by_label("Voltage, kV").press("Enter")
    settled(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_lost_connection_is_told_and_tried_again(page: Page, seen: Seen) -> None:
    seen.expected = ("Failed to load resource",)
    page.route("**/predict", lambda route: route.abort())
    page.get_by_role("button", name="Graphene").click()
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again").click()
    settled(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_a_busy_service_is_asked_once_more(page: Page, seen: Seen) -> None:
    seen.expected = ("429",)
    refused: list[Route] = []

    def busy(route: Route) -> None:
        if refused:
            route.fallback()
            return
        refused.append(route)
        route.fulfill(status=429, headers={"Retry-After": "1"}, body="{}")

    page.route("**/predict", busy)
    page.get_by_role("button", name="Graphene").click()
    settled(page)
    assert len(seen.asked) == 2


def test_a_key_is_asked_for_where_one_is_needed(page: Page, seen: Seen) -> None:
    seen.expected = ("401",)
    problem = {"title": "No key", "detail": "Send a key.", "status": 401, "request_id": "r-1"}

    def locked(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.fallback()
        else:
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/inspect", locked)
    page.route("**/predict", locked)
    page.get_by_role("button", name="Graphene").click()
    expect(page.get_by_role("alert")).to_contain_text("Send a key.")
    page.get_by_label("API key").fill("secret")
    page.get_by_role("button", name="Use this key").click()
    settled(page)
    assert page.evaluate("sessionStorage.getItem('dd2d-key')") == "secret"
    assert page.evaluate("localStorage.length") == 0


def test_a_composition_that_is_none_is_told(page: Page, seen: Seen) -> None:
    page.get_by_role("button", name="Graphene").click()
    settled(page)
    asked = len(seen.asked)
    page.get_by_label("Measured composition").fill("C 0.5, much")
    page.get_by_label("Measured composition").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("“much” is no element")
    assert len(seen.asked) == asked
    with page.expect_response("**/predict") as response:
        page.get_by_label("Measured composition").fill("B 0.5, N 0.5")
        page.get_by_label("Measured composition").press("Enter")
    assert response.value.status == 200
    settled(page)
    assert set(candidates(page)[:2]) <= {"BN"}
