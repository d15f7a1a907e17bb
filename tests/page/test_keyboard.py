"""The journey without a mouse, and what a screen reader is told."""

import re

import pytest
from playwright.sync_api import Page, expect

from model.crystal.structure_files import read_structure
from tests.page.conftest import Seen
from tests.page.patterns import settled


def reach(page: Page, selector: str, most: int = 60) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(most):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{selector} is not reached by Tab")


def test_the_whole_journey_by_keyboard(page: Page, seen: Seen) -> None:
    reach(page, ".example")
    page.keyboard.press("Enter")
    settled(page)
    expect(page.locator("#said")).to_contain_text("candidates")
    expect(page.locator("#name")).to_be_focused()
    reach(page, "#frame")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#frame")).to_have_attribute("aria-activedescendant", re.compile("^spot-"))
    expect(page.locator("#said")).to_contain_text("Spot")
    expect(page.locator("#frame .spot.selected")).to_have_attribute(
        "aria-label", re.compile("^Spot .*intensity")
    )
    with page.expect_response("**/predict"):
        page.keyboard.press("Delete")
    sent = seen.last()
    settled(page)
    page.keyboard.press("Shift+Tab")
    reach(page, "#tools input, #frame")
    reach(page, ".element")
    page.keyboard.type("mo")
    expect(page.locator('[data-symbol="Mo"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[data-symbol="Mo"]')).to_have_attribute("aria-label", "molybdenum, Mo: present")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    expect(page.locator('[data-symbol="Tc"]')).to_have_attribute("data-state", "absent")
    settled(page)
    assert seen.last()["elements_all"] == ["Mo"]
    assert seen.last()["elements_none"] == ["Tc"]
    assert len(seen.last()["points"]) == len(sent["points"])
    reach(page, "#candidates input")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#candidate-2")).to_be_checked()
    reach(page, "#download-cif")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert "Mo" in read_structure(download.value.path().read_text(), id="x", source="page").formula


def test_the_centre_moves_by_arrows_and_spots_are_added_by_enter(page: Page, seen: Seen) -> None:
    page.get_by_role("button", name="MoS₂, tilted").click()
    settled(page)
    reach(page, "#tools input")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Centre")).to_be_checked()
    reach(page, "#frame")
    with page.expect_response("**/predict"):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("ArrowUp")
    assert seen.last()["center"] == pytest.approx([224 + 5, 224 - 0.5], abs=0.1)
    count = len(seen.last()["points"])
    settled(page)
    page.locator("#tools [value=add]").focus()
    page.keyboard.press("Space")
    reach(page, "#frame")
    page.keyboard.press("Shift+ArrowRight")
    with page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    assert len(seen.last()["points"]) == count + 1
    settled(page)
    expect(page.locator("#selection")).to_contain_text("added")


def test_every_control_has_a_name(page: Page) -> None:
    page.get_by_role("button", name="MoS₂, tilted").click()
    settled(page)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, summary, a, [role=application]")]
            .filter((each) => each.checkVisibility())
            .filter((each) => !(each.getAttribute("aria-label") || each.textContent.trim()
                || [...(each.labels ?? [])].some((label) => label.textContent.trim())))
            .map((each) => each.outerHTML)"""
    )
    assert nameless == []
    repeated = page.evaluate(
        """() => {
            const ids = [...document.querySelectorAll("[id]")].map((each) => each.id);
            return ids.filter((id, index) => ids.indexOf(id) !== index);
        }"""
    )
    assert repeated == []
    assert page.locator("main, header, h1").count() >= 3
