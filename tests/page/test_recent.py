"""Recent answers stay in the browser, and are reopened without a request."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.page.conftest import Seen
from tests.page.patterns import candidates, drop, settled


def ready(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector("body[data-ready]")


def test_an_answer_survives_a_reload(page: Page, seen: Seen, tiff_frame: bytes) -> None:
    drop(page, tiff_frame, "flake.tif")
    settled(page)
    expect(page.locator("#recent-list li")).to_have_count(1)
    found = candidates(page)
    page.get_by_role("button", name="New pattern").click()
    page.get_by_role("button", name="Graphene").click()
    settled(page)
    expect(page.locator("#recent-list li")).to_have_count(2)
    ready(page)
    asked = len(seen.asked)
    expect(page.locator("#recent-list li")).to_have_count(2)
    page.locator("#recent-list .reopen", has_text="flake.tif").click()
    settled(page)
    assert candidates(page) == found
    expect(page.locator("#frame image")).to_have_count(1)
    assert len(seen.asked) == asked
    # And it goes on from there.
    with page.expect_response("**/predict"):
        page.locator('[data-symbol="Mo"]').click()
    settled(page)
    expect(page.locator("#recent-list li")).to_have_count(2)


def test_one_is_deleted_or_all(page: Page) -> None:
    for name in ("MoS₂, tilted", "Graphene"):
        page.get_by_role("button", name=name).click()
        settled(page)
        page.get_by_role("button", name="New pattern").click()
    expect(page.locator("#recent-list li")).to_have_count(2)
    page.get_by_role("button", name="Delete graphene.json").click()
    expect(page.locator("#recent-list li")).to_have_count(1)
    ready(page)
    expect(page.locator("#recent-list li")).to_have_count(1)
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator("#recent")).to_be_hidden()
    ready(page)
    expect(page.locator("#recent")).to_be_hidden()


def test_a_browser_that_stores_nothing_is_no_obstacle(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(
        """for (const name of ["indexedDB", "sessionStorage"]) {
            const refused = () => { throw new DOMException("refused", "SecurityError"); };
            Object.defineProperty(window, name, { get: refused });
        }"""
    )
    ready(page)
    page.get_by_role("button", name="Graphene").click()
    settled(page)
    expect(page.locator("#recent-list li")).to_have_count(1)
    expect(page.locator("#recent-note")).to_contain_text("stores nothing")
