"""The page is readable in light and dark schemes and at every width."""

from typing import Literal

import pytest
from playwright.sync_api import Page

from tests.page.actions import open_example, wait_for_answer

# Lists the texts whose contrast is below 4.5 to 1, the minimum of WCAG 2.2 AA.
FIND_LOW_CONTRAST = """() => {
    const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
    const parseColor = (color) => {
        context.clearRect(0, 0, 1, 1);
        context.fillStyle = color;
        context.fillRect(0, 0, 1, 1);
        return [...context.getImageData(0, 0, 1, 1).data];
    };
    const blend = ([r, g, b, a], below) =>
        [r, g, b].map((channel, index) => (channel * a + below[index] * (255 - a)) / 255);
    const findBackground = (node) => {
        const layers = [];
        for (let each = node; each; each = each.parentElement) {
            layers.push(parseColor(getComputedStyle(each).backgroundColor));
        }
        return layers.reverse().reduce((below, layer) => blend(layer, below), [255, 255, 255]);
    };
    const computeLuminance = (rgb) => rgb.map((channel) => channel / 255)
        .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4))
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const failures = [];
    for (const node of document.querySelectorAll("body *:not(svg, svg *)")) {
        const hasText = [...node.childNodes].some((child) => child.nodeType === 3 && child.textContent.trim());
        if (!hasText || !node.checkVisibility()) continue;
        if (node.matches(":disabled, :disabled *, .visually-hidden, option, .skip")) continue;
        const background = findBackground(node), color = blend(parseColor(getComputedStyle(node).color), background);
        const [dark, bright] = [color, background].map(computeLuminance).sort((one, other) => one - other);
        const contrast = (bright + 0.05) / (dark + 0.05);
        if (contrast < 4.5) {
            failures.push(`${contrast.toFixed(2)} ${node.tagName} ${node.textContent.slice(0, 30)}`);
        }
    }
    return failures;
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_texts_have_enough_contrast(page: Page, scheme: Literal["light", "dark"]) -> None:
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    open_example(page, "MoS₂ on WSe₂")
    page.locator('[data-symbol="Mo"]').click()
    page.locator('[data-symbol="O"]').click(click_count=2, delay=1)
    wait_for_answer(page)
    page.locator("#reflections summary").click()
    assert page.evaluate(FIND_LOW_CONTRAST) == []
    assert page.evaluate("getComputedStyle(document.querySelector('.fill')).transitionDuration") == "0s"


@pytest.mark.parametrize("width", [360, 800, 1400])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    open_example(page, "MoS₂ on WSe₂")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
