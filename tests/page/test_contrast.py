"""Words can be read in light and in dark: WCAG 2.2 AA, 4.5 to 1."""

from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.page.patterns import settled

MEASURE = """() => {
    const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const rgba = (colour) => {
        canvas.clearRect(0, 0, 1, 1);
        canvas.fillStyle = colour;
        canvas.fillRect(0, 0, 1, 1);
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const over = ([r, g, b, a], ground) => [r, g, b].map((each, index) => (each * a + ground[index] * (255 - a)) / 255);
    const ground = (node) => {
        const layers = [];
        for (let each = node; each; each = each.parentElement) {
            layers.push(rgba(getComputedStyle(each).backgroundColor));
        }
        return layers.reverse().reduce((below, layer) => over(layer, below), [255, 255, 255]);
    };
    const light = (rgb) => rgb.map((each) => each / 255)
        .map((each) => (each <= 0.04045 ? each / 12.92 : ((each + 0.055) / 1.055) ** 2.4))
        .reduce((sum, each, index) => sum + each * [0.2126, 0.7152, 0.0722][index], 0);
    const told = [];
    for (const node of document.querySelectorAll("body *:not(svg, svg *)")) {
        const words = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
        if (!words || !node.checkVisibility()) continue;
        if (node.matches(":disabled, :disabled *, .unseen, option, .skip")) continue;
        const below = ground(node), ink = over(rgba(getComputedStyle(node).color), below);
        const [dark, bright] = [light(ink), light(below)].sort((one, other) => one - other);
        const contrast = (bright + 0.05) / (dark + 0.05);
        if (contrast < 4.5) told.push(`${contrast.toFixed(2)} ${node.tagName} ${node.textContent.slice(0, 30)}`);
    }
    return told;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_words_stand_out(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.get_by_role("button", name="MoS₂ on WSe₂").click()
    settled(page)
    page.locator('[data-symbol="Mo"]').click()
    page.locator('[data-symbol="O"]').click(click_count=2, delay=1)
    settled(page)
    page.locator("#spot-lines summary").click()
    assert page.evaluate(MEASURE) == []
    assert page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_nothing_runs_out_of_the_page(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    page.get_by_role("button", name="MoS₂ on WSe₂").click()
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
