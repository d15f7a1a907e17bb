"""What a user corrects by hand, and that the ranking is asked for with it."""

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Seen
from tests.page.patterns import PIXEL_SIZE, SIDE, drop, settled


@pytest.fixture(autouse=True)
def pattern(page: Page, tiff_frame: bytes) -> None:
    drop(page, tiff_frame, "flake.tif")
    settled(page)


def tool(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name).check(force=True)


def middle(page: Page, selector: str) -> tuple[float, float]:
    """Where a mark is on the screen.

    The mark is found and measured in one step: the marks are drawn anew with every change, so that one that was
    found may be another's before it is measured.
    """
    place = page.wait_for_function(
        """(selector) => {
            const box = document.querySelector(selector)?.getBoundingClientRect();
            return box?.width && [box.x + box.width / 2, box.y + box.height / 2];
        }""",
        arg=selector,
    ).json_value()
    return place[0], place[1]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2, steps=3)
    page.mouse.move(*end, steps=3)
    page.mouse.up()


def on_screen(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a pixel of the frame is."""
    place = page.locator("#frame").evaluate(
        """(svg, [x, y]) => {
            const at = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [at.x, at.y];
        }""",
        [x, y],
    )
    return place[0], place[1]


def test_the_centre_is_dragged(page: Page, seen: Seen) -> None:
    x, y = middle(page, "#centre-mark")
    per_pixel = on_screen(page, 1, 0)[0] - on_screen(page, 0, 0)[0]
    with page.expect_response("**/predict"):
        drag(page, (x, y), (x + 6 * per_pixel, y - 4 * per_pixel))
    sent = seen.last()
    assert sent["units"] == "pixel"
    assert sent["center"] == pytest.approx([SIDE / 2 + 6, SIDE / 2 - 4], abs=0.6)
    assert sent["pixel_size"] == pytest.approx(PIXEL_SIZE, rel=1e-4)
    assert len(sent["points"]) == page.locator("#frame .spot").count()
    settled(page)
    expect(page.locator("#center_x")).to_have_value(f"{sent['center'][0]:.2f}")
    page.get_by_role("button", name="Undo").click()
    settled(page)
    expect(page.locator("#center_x")).to_have_value(f"{SIDE / 2:.2f}")


def test_a_spot_is_removed_and_brought_back(page: Page, seen: Seen) -> None:
    count = page.locator("#frame .spot").count()
    page.mouse.click(*middle(page, "#spot-7 .ring"))
    expect(page.locator("#selection")).to_contain_text("Spot 8")
    with page.expect_response("**/predict"):
        page.keyboard.press("Delete")
    assert len(seen.last()["points"]) == count - 1
    expect(page.locator("#frame .spot.off")).to_have_count(1)
    settled(page)
    with page.expect_response("**/predict"):
        page.keyboard.press("Control+z")
    # All as it was found: the file itself is asked about again.
    assert "multipart" in (seen.asked[-1].header_value("content-type") or "")
    expect(page.locator("#frame .spot.off")).to_have_count(0)


def test_an_added_spot_is_measured_in_the_frame(page: Page, seen: Seen) -> None:
    page.mouse.click(*middle(page, "#spot-0 .ring"))
    told = page.locator("#selection").inner_text()
    position = middle(page, "#spot-0 .ring")
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Remove spot").click()
    settled(page)
    tool(page, "Add spot")
    with page.expect_response("**/predict"):
        page.mouse.click(position[0] + 2, position[1] - 2)
    settled(page)
    strongest = max(point[2] for point in seen.last()["points"])
    assert strongest == pytest.approx(float(told.split("intensity ")[1].split(",")[0]), rel=0.02)
    expect(page.locator("#frame .spot.added.selected")).to_have_count(1)
    expect(page.locator("#selection")).to_contain_text("added")


def test_a_region_is_masked_and_unmasked(page: Page, seen: Seen) -> None:
    count = page.locator("#frame .spot").count()
    tool(page, "Mask")
    with page.expect_response("**/predict") as response:
        drag(page, on_screen(page, 10, 10), on_screen(page, SIDE / 2 - 20, SIDE / 2 - 20))
    masked = page.locator("#frame .spot.off").count()
    assert masked > 3
    assert 'name="mask"' in (seen.asked[-1].post_data or "")
    answer = response.value.json()
    assert answer["query"]["spots"] == count - masked
    # What the mask hides is not missed.
    assert answer["candidates"][0]["match"]["missing"] < 0.03
    settled(page)
    tool(page, "Select")
    page.mouse.click(*on_screen(page, 12, 12))
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Remove mask").click()
    assert 'name="mask"' not in (seen.asked[-1].post_data or "")
    expect(page.locator("#frame .spot.off")).to_have_count(0)


def test_a_and_b_are_picked(page: Page, seen: Seen) -> None:
    expect(page.locator("#facts")).to_contain_text("hexagonal")
    tool(page, "a*, b*")
    a = middle(page, "#vector-a .hit")
    b = middle(page, "#vector-b .hit")
    centre = middle(page, "#centre-mark")
    # b* to a* + 2 b*, which with a* counts half of the spots as the lattice's own.
    end = (a[0] + 2 * b[0] - 2 * centre[0], a[1] + 2 * b[1] - 2 * centre[1])
    with page.expect_response("**/predict") as response:
        drag(page, b, end)
    assert 'name="lattice"' in (seen.asked[-1].post_data or "")
    lattice = response.value.json()["query"]["lattice"]
    assert lattice["a"] * lattice["b"] == pytest.approx(3.16**2 * 0.866 / 2, rel=0.02)
    settled(page)
    expect(page.locator("#frame .vector.picked")).to_have_count(2)
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Find the lattice again").click()
    settled(page)
    expect(page.locator("#facts")).to_contain_text("hexagonal")


def test_numbers_are_corrected(page: Page, seen: Seen) -> None:
    with page.expect_response("**/predict") as response:
        page.get_by_label("Pixel, 1/Å").fill("0.0074")
        page.get_by_label("Pixel, 1/Å").press("Enter")
    assert response.value.json()["query"]["pixel_size"] == 0.0074
    settled(page)
    with page.expect_response("**/predict"):
        page.get_by_label("Centre x").fill("198")
        page.get_by_label("Centre x").press("Tab")
    assert seen.last()["center"][0] == 198
    assert seen.last()["pixel_size"] == 0.0074


def test_a_stale_answer_is_never_shown(page: Page, seen: Seen) -> None:
    before = len(seen.asked)
    for symbol in ("Mo", "S", "W"):
        page.locator(f'[data-symbol="{symbol}"]').click()
    settled(page)
    # Several changes in a row are one question, and what is shown answers the last.
    assert len(seen.asked) - before <= 2
    elements = (seen.asked[-1].post_data or "").split('name="elements_all"')[1].split("\r\n")[2]
    assert elements == "Mo,S,W"
    expect(page.locator("#verdict strong")).not_to_be_empty()


def test_a_candidate_that_is_looked_at_stays_in_view(page: Page) -> None:
    page.locator("#candidate-2").check(force=True)
    chosen = page.locator("#chosen-id").inner_text()
    with page.expect_response("**/predict"):
        page.locator('[data-symbol="S"]').click()
    settled(page)
    expect(page.locator("#chosen-id")).to_have_text(chosen)
