"""Recent answers are stored in the browser and reopened without a request."""

from playwright.sync_api import BrowserContext, Page, expect

from tests.page.actions import drop_file, list_formulas, open_example, open_page, wait_for_answer
from tests.page.conftest import BrowserLog


def test_an_answer_survives_a_reload(page: Page, browser_log: BrowserLog, tiff_frame: bytes) -> None:
    drop_file(page, tiff_frame, "flake.tif")
    wait_for_answer(page)
    expect(page.locator("#recent-list li")).to_have_count(1)
    formulas = list_formulas(page)
    page.get_by_role("button", name="New pattern").click()
    open_example(page, "Graphene")
    expect(page.locator("#recent-list li")).to_have_count(2)
    open_page(page)
    count = len(browser_log.predictions)
    expect(page.locator("#recent-list li")).to_have_count(2)
    page.locator("#recent-list .reopen", has_text="flake.tif").click()
    wait_for_answer(page)
    assert list_formulas(page) == formulas
    expect(page.locator("#pattern-view image")).to_have_count(1)
    assert len(browser_log.predictions) == count
    # The user can continue from there.
    with page.expect_response("**/predict"):
        page.locator('[data-symbol="Mo"]').click()
    wait_for_answer(page)
    expect(page.locator("#recent-list li")).to_have_count(2)


def test_answers_can_be_deleted(page: Page) -> None:
    for count, name in enumerate(("MoS₂, tilted", "Graphene"), start=1):
        open_example(page, name)
        # An answer is stored once the picture of its frame has arrived.
        expect(page.locator("#recent-list li")).to_have_count(count)
        page.get_by_role("button", name="New pattern").click()
    expect(page.locator("#recent-list li")).to_have_count(2)
    page.get_by_role("button", name="Delete graphene.json").click()
    expect(page.locator("#recent-list li")).to_have_count(1)
    open_page(page)
    expect(page.locator("#recent-list li")).to_have_count(1)
    page.get_by_role("button", name="Delete all").click()
    expect(page.locator("#recent")).to_be_hidden()
    open_page(page)
    expect(page.locator("#recent")).to_be_hidden()


def test_works_in_a_browser_without_storage(context: BrowserContext) -> None:
    page = context.new_page()
    page.add_init_script(
        """for (const name of ["indexedDB", "sessionStorage"]) {
            const deny = () => { throw new DOMException("denied", "SecurityError"); };
            Object.defineProperty(window, name, { get: deny });
        }"""
    )
    open_page(page)
    open_example(page, "Graphene")
    expect(page.locator("#recent-list li")).to_have_count(1)
    expect(page.locator("#recent-note")).to_contain_text("does not allow storage")
