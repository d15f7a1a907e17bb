"""The page works without a mouse and with a screen reader."""

import re

import pytest
from playwright.sync_api import Page, expect

from model.crystal.structure_files import read_structure
from tests.page.actions import open_example, wait_for_answer
from tests.page.conftest import BrowserLog


def tab_to(page: Page, selector: str, max_presses: int = 60) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(max_presses):
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
        page.keyboard.press("Tab")
    pytest.fail(f"{selector} cannot be reached with Tab")


def test_identifies_a_pattern_by_keyboard_alone(page: Page, browser_log: BrowserLog) -> None:
    tab_to(page, ".example")
    page.keyboard.press("Enter")
    wait_for_answer(page)
    expect(page.locator("#announcement")).to_contain_text("candidates")
    expect(page.locator("#pattern-name")).to_be_focused()
    tab_to(page, "#pattern-view")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#pattern-view")).to_have_attribute("aria-activedescendant", re.compile("^spot-"))
    expect(page.locator("#announcement")).to_contain_text("Spot")
    expect(page.locator("#pattern-view .spot.selected")).to_have_attribute(
        "aria-label", re.compile("^Spot .*intensity")
    )
    with page.expect_response("**/predict"):
        page.keyboard.press("Delete")
    payload = browser_log.get_last_json()
    wait_for_answer(page)
    page.keyboard.press("Shift+Tab")
    tab_to(page, "#tools input, #pattern-view")
    tab_to(page, ".element")
    page.keyboard.type("mo")
    expect(page.locator('[data-symbol="Mo"]')).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator('[data-symbol="Mo"]')).to_have_attribute("aria-label", "molybdenum, Mo: present")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("-")
    expect(page.locator('[data-symbol="Tc"]')).to_have_attribute("data-mark", "absent")
    wait_for_answer(page)
    assert browser_log.get_last_json()["elements_all"] == ["Mo"]
    assert browser_log.get_last_json()["elements_none"] == ["Tc"]
    assert len(browser_log.get_last_json()["points"]) == len(payload["points"])
    tab_to(page, "#candidates input")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#candidate-2")).to_be_checked()
    tab_to(page, "#download-cif")
    with page.expect_download() as download:
        page.keyboard.press("Enter")
    assert "Mo" in read_structure(download.value.path().read_text(), id="x", source="page").formula


def test_arrow_keys_move_the_center_and_enter_adds_a_spot(page: Page, browser_log: BrowserLog) -> None:
    open_example(page, "MoS₂, tilted")
    tab_to(page, "#tools input")
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Center")).to_be_checked()
    tab_to(page, "#pattern-view")
    with page.expect_response("**/predict"):
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("ArrowUp")
    assert browser_log.get_last_json()["center"] == pytest.approx([224 + 5, 224 - 0.5], abs=0.1)
    count = len(browser_log.get_last_json()["points"])
    wait_for_answer(page)
    page.locator("#tools [value=add]").focus()
    page.keyboard.press("Space")
    tab_to(page, "#pattern-view")
    page.keyboard.press("Shift+ArrowRight")
    with page.expect_response("**/predict"):
        page.keyboard.press("Enter")
    assert len(browser_log.get_last_json()["points"]) == count + 1
    wait_for_answer(page)
    expect(page.locator("#selection")).to_contain_text("added")


def test_every_control_has_a_name(page: Page) -> None:
    open_example(page, "MoS₂, tilted")
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
            const ids = [...document.querySelectorAll("[id]")].map((node) => node.id);
            return ids.filter((id, index) => ids.indexOf(id) !== index);
        }"""
    )
    assert repeated == []
    assert page.locator("main, header, h1").count() >= 3
