"""The user corrects what the service found, and the ranking follows."""

import pytest
from playwright.sync_api import Page, expect

from tests.page.actions import drop_file, wait_for_answer
from tests.page.conftest import BrowserLog
from tests.page.patterns import FRAME_SIZE_PX, PIXEL_SIZE_INV_ANGSTROM


@pytest.fixture(autouse=True)
def open_frame(page: Page, tiff_frame: bytes) -> None:
    drop_file(page, tiff_frame, "flake.tif")
    wait_for_answer(page)


def select_tool(page: Page, name: str) -> None:
    page.get_by_role("radio", name=name).check(force=True)


def locate(page: Page, selector: str) -> tuple[float, float]:
    """Return the center of a marker on the screen.

    Finds and measures the marker in one step, because the page replaces all markers whenever it draws.
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


def locate_pixel(page: Page, x: float, y: float) -> tuple[float, float]:
    """Return the place of a pixel of the frame on the screen."""
    place = page.locator("#pattern-view").evaluate(
        """(svg, [x, y]) => {
            const point = new DOMPoint(x, y).matrixTransform(svg.getScreenCTM());
            return [point.x, point.y];
        }""",
        [x, y],
    )
    return place[0], place[1]


def test_dragging_moves_the_center(page: Page, browser_log: BrowserLog) -> None:
    x, y = locate(page, "#center-marker")
    per_pixel = locate_pixel(page, 1, 0)[0] - locate_pixel(page, 0, 0)[0]
    with page.expect_response("**/predict"):
        drag(page, (x, y), (x + 6 * per_pixel, y - 4 * per_pixel))
    payload = browser_log.get_last_json()
    assert payload["units"] == "pixel"
    assert payload["center"] == pytest.approx([FRAME_SIZE_PX / 2 + 6, FRAME_SIZE_PX / 2 - 4], abs=0.6)
    assert payload["pixel_size"] == pytest.approx(PIXEL_SIZE_INV_ANGSTROM, rel=1e-4)
    assert len(payload["points"]) == page.locator("#pattern-view .spot").count()
    wait_for_answer(page)
    expect(page.locator("#center-x")).to_have_value(f"{payload['center'][0]:.2f}")
    page.get_by_role("button", name="Undo").click()
    wait_for_answer(page)
    expect(page.locator("#center-x")).to_have_value(f"{FRAME_SIZE_PX / 2:.2f}")


def test_removing_a_spot_can_be_undone(page: Page, browser_log: BrowserLog) -> None:
    count = page.locator("#pattern-view .spot").count()
    page.mouse.click(*locate(page, "#spot-7 .ring"))
    expect(page.locator("#selection")).to_contain_text("Spot 8")
    with page.expect_response("**/predict"):
        page.keyboard.press("Delete")
    assert len(browser_log.get_last_json()["points"]) == count - 1
    expect(page.locator("#pattern-view .spot.excluded")).to_have_count(1)
    wait_for_answer(page)
    with page.expect_response("**/predict"):
        page.keyboard.press("Control+z")
    # Without edits the page sends the file itself.
    assert "multipart" in browser_log.get_last_content_type()
    expect(page.locator("#pattern-view .spot.excluded")).to_have_count(0)


def test_measures_an_added_spot_in_the_frame(page: Page, browser_log: BrowserLog) -> None:
    page.mouse.click(*locate(page, "#spot-0 .ring"))
    description = page.locator("#selection").inner_text()
    position = locate(page, "#spot-0 .ring")
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Remove spot").click()
    wait_for_answer(page)
    select_tool(page, "Add spot")
    with page.expect_response("**/predict"):
        page.mouse.click(position[0] + 2, position[1] - 2)
    wait_for_answer(page)
    strongest = max(point[2] for point in browser_log.get_last_json()["points"])
    assert strongest == pytest.approx(float(description.split("intensity ")[1].split(",")[0]), rel=0.02)
    expect(page.locator("#pattern-view .spot.added.selected")).to_have_count(1)
    expect(page.locator("#selection")).to_contain_text("added")


def test_a_mask_excludes_spots_until_it_is_removed(page: Page, browser_log: BrowserLog) -> None:
    count = page.locator("#pattern-view .spot").count()
    select_tool(page, "Mask")
    with page.expect_response("**/predict") as response:
        drag(
            page,
            locate_pixel(page, 10, 10),
            locate_pixel(page, FRAME_SIZE_PX / 2 - 20, FRAME_SIZE_PX / 2 - 20),
        )
    masked = page.locator("#pattern-view .spot.excluded").count()
    assert masked > 3
    assert 'name="mask"' in browser_log.get_last_form()
    answer = response.value.json()
    assert answer["query"]["spots"] == count - masked
    # Masked reflections are not missing.
    assert answer["candidates"][0]["match"]["missing"] < 0.03
    wait_for_answer(page)
    select_tool(page, "Select")
    page.mouse.click(*locate_pixel(page, 12, 12))
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Remove mask").click()
    assert 'name="mask"' not in browser_log.get_last_form()
    expect(page.locator("#pattern-view .spot.excluded")).to_have_count(0)


def test_dragging_a_vector_changes_the_lattice(page: Page, browser_log: BrowserLog) -> None:
    expect(page.locator("#pattern-properties")).to_contain_text("hexagonal")
    select_tool(page, "a*, b*")
    a = locate(page, "#vector-a .target")
    b = locate(page, "#vector-b .target")
    center = locate(page, "#center-marker")
    # Together with a*, the vector a* + 2 b* spans a lattice that contains half of the spots.
    end = (a[0] + 2 * b[0] - 2 * center[0], a[1] + 2 * b[1] - 2 * center[1])
    with page.expect_response("**/predict") as response:
        drag(page, b, end)
    assert 'name="lattice"' in browser_log.get_last_form()
    lattice = response.value.json()["query"]["lattice"]
    assert lattice["a"] * lattice["b"] == pytest.approx(3.16**2 * 0.866 / 2, rel=0.02)
    wait_for_answer(page)
    expect(page.locator("#pattern-view .vector.picked")).to_have_count(2)
    with page.expect_response("**/predict"):
        page.get_by_role("button", name="Find lattice automatically").click()
    wait_for_answer(page)
    expect(page.locator("#pattern-properties")).to_contain_text("hexagonal")


def test_pixel_size_and_center_can_be_entered(page: Page, browser_log: BrowserLog) -> None:
    with page.expect_response("**/predict") as response:
        page.get_by_label("Pixel size, 1/Å").fill("0.0074")
        page.get_by_label("Pixel size, 1/Å").press("Enter")
    assert response.value.json()["query"]["pixel_size"] == 0.0074
    wait_for_answer(page)
    with page.expect_response("**/predict"):
        page.get_by_label("Center x").fill("198")
        page.get_by_label("Center x").press("Tab")
    assert browser_log.get_last_json()["center"][0] == 198
    assert browser_log.get_last_json()["pixel_size"] == 0.0074


def test_an_outdated_answer_is_never_shown(page: Page, browser_log: BrowserLog) -> None:
    before = len(browser_log.predictions)
    for symbol in ("Mo", "S", "W"):
        page.locator(f'[data-symbol="{symbol}"]').click()
    wait_for_answer(page)
    # Several changes in a row cause one request, and the answer shown is that to the last.
    assert len(browser_log.predictions) - before <= 2
    elements = browser_log.get_last_form().split('name="elements_all"')[1].split("\r\n")[2]
    assert elements == "Mo,S,W"
    expect(page.locator("#verdict strong")).not_to_be_empty()


def test_the_selected_candidate_stays_selected(page: Page) -> None:
    page.locator("#candidate-2").check(force=True)
    selected_id = page.locator("#candidate-id").inner_text()
    with page.expect_response("**/predict"):
        page.locator('[data-symbol="S"]').click()
    wait_for_answer(page)
    expect(page.locator("#candidate-id")).to_have_text(selected_id)
