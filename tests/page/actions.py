"""What a user does on the page, and what the page then shows."""

import base64

from playwright.sync_api import Page, expect


def open_page(page: Page) -> None:
    page.goto("/")
    page.wait_for_selector("body[data-ready]")


def drop_file(page: Page, data: bytes, name: str) -> None:
    transfer = page.evaluate_handle(
        """([text, name]) => {
            const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
            const transfer = new DataTransfer();
            transfer.items.add(new File([bytes], name));
            return transfer;
        }""",
        [base64.b64encode(data).decode(), name],
    )
    page.dispatch_event("body", "drop", {"dataTransfer": transfer})


def open_example(page: Page, name: str) -> None:
    """Open an example and wait for its answer."""
    page.get_by_role("button", name=name).click()
    wait_for_answer(page)


def wait_for_answer(page: Page) -> None:
    """Wait until candidates are shown and no request is running."""
    expect(page.locator("#candidates .candidate").first).to_be_visible()
    expect(page.locator("#progress")).to_be_empty()


def list_formulas(page: Page) -> list[str]:
    """List the formulas of the candidates, best first."""
    texts = page.locator("#candidates .formula").all_inner_texts()
    return ["".join(text.split("lattice")[0].split()) for text in texts]
