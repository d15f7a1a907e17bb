"""Problems are shown where they occur, with advice."""

import json

import numpy as np
from playwright.sync_api import Page, Route, expect

from tests.page.actions import drop_file, list_formulas, open_example, wait_for_answer
from tests.page.conftest import BrowserLog
from tests.pattern.formats.camera_files import tiff


def test_reports_a_blank_frame_below_the_upload(page: Page, browser_log: BrowserLog) -> None:
    browser_log.expected_errors = ("422",)
    drop_file(page, tiff(np.full((128, 128), 7, dtype=np.uint16)), "blank.tif")
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("blank")
    expect(alert).to_contain_text("No diffraction pattern in the upload")
    assert page.locator("#upload #problem").count() == 1
    open_example(page, "Graphene")
    expect(page.locator("#problem")).to_be_hidden()


def test_reports_an_invalid_option_above_the_candidates(
    page: Page, browser_log: BrowserLog, tiff_frame: bytes
) -> None:
    browser_log.expected_errors = ("422",)
    drop_file(page, tiff_frame, "flake.tif")
    wait_for_answer(page)
    formulas = list_formulas(page)
    page.get_by_label("Voltage, kV").fill("5")
    page.get_by_label("Voltage, kV").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("voltage_kv")
    assert page.locator("#answer #problem").count() == 1
    assert list_formulas(page) == formulas
    page.get_by_label("Voltage, kV").fill("120")
    page.get_by_label("Voltage, kV").press("Enter")
    wait_for_answer(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_reports_a_lost_connection_and_retries(page: Page, browser_log: BrowserLog) -> None:
    browser_log.expected_errors = ("Failed to load resource",)
    page.route("**/predict", lambda route: route.abort())
    page.get_by_role("button", name="Graphene").click()
    expect(page.get_by_role("alert")).to_contain_text("Cannot reach the server")
    page.unroute("**/predict")
    page.get_by_role("button", name="Try again").click()
    wait_for_answer(page)
    expect(page.locator("#problem")).to_be_hidden()


def test_retries_once_if_the_service_is_busy(page: Page, browser_log: BrowserLog) -> None:
    browser_log.expected_errors = ("429",)
    rejected: list[Route] = []

    def reject_first(route: Route) -> None:
        if rejected:
            route.fallback()
            return
        rejected.append(route)
        route.fulfill(status=429, headers={"Retry-After": "1"}, body="{}")

    page.route("**/predict", reject_first)
    open_example(page, "Graphene")
    assert len(browser_log.predictions) == 2


def test_asks_for_an_api_key_if_one_is_required(page: Page, browser_log: BrowserLog) -> None:
    browser_log.expected_errors = ("401",)
    problem = {"title": "No key", "detail": "Send a key.", "status": 401, "request_id": "r-1"}

    def require_key(route: Route) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.fallback()
        else:
            route.fulfill(status=401, content_type="application/problem+json", body=json.dumps(problem))

    page.route("**/inspect", require_key)
    page.route("**/predict", require_key)
    page.get_by_role("button", name="Graphene").click()
    expect(page.get_by_role("alert")).to_contain_text("Send a key.")
    page.get_by_label("API key").fill("secret")
    page.get_by_role("button", name="Use this key").click()
    wait_for_answer(page)
    assert page.evaluate("sessionStorage.getItem('dd2d-key')") == "secret"
    assert page.evaluate("localStorage.length") == 0


def test_reports_an_invalid_composition(page: Page, browser_log: BrowserLog) -> None:
    open_example(page, "Graphene")
    count = len(browser_log.predictions)
    page.get_by_label("Measured composition").fill("C 0.5, much")
    page.get_by_label("Measured composition").press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("“much” is not an element")
    assert len(browser_log.predictions) == count
    with page.expect_response("**/predict") as response:
        page.get_by_label("Measured composition").fill("B 0.5, N 0.5")
        page.get_by_label("Measured composition").press("Enter")
    assert response.value.status == 200
    wait_for_answer(page)
    assert set(list_formulas(page)[:2]) <= {"BN"}
