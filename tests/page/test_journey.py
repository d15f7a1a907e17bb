"""The whole way: a pattern dropped, elements picked, the answer read, the CIF taken home."""

import io
import re
import zipfile
from math import cos, radians, sin
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from model.crystal.structure_files import read_structure
from tests.page.conftest import Seen
from tests.page.patterns import candidates, drop, large_frame, settled, stack_without_scale


@pytest.mark.parametrize("kind", ["tiff", "dm4"])
def test_drop_pick_elements_read_the_answer_download_the_cif(
    page: Page, seen: Seen, kind: str, request: pytest.FixtureRequest
) -> None:
    drop(page, request.getfixturevalue(f"{kind}_frame"), f"flake.{kind}")
    settled(page)
    expect(page.locator("#name")).to_have_text(f"flake.{kind}")
    assert page.locator("#frame .spot").count() > 30
    expect(page.locator("#frame image")).to_have_count(1)
    for name in ("molybdenum", "sulfur"):
        page.get_by_role("button", name=re.compile(f"^{name}, ")).click()
    page.get_by_role("switch", name="Nothing but those present").check()
    expect(page.locator("#marked")).to_have_text("Only Mo, S")
    settled(page)
    expect(page.locator("#verdict strong")).not_to_be_empty()
    assert candidates(page)[0] == "MoS2"
    assert set(candidates(page)) <= {"MoS2"}
    assert page.locator("#candidates .value").first.inner_text().endswith("%")
    # No edit: the file itself was asked about.
    assert "multipart/form-data" in (seen.asked[-1].header_value("content-type") or "")
    assert page.locator("#frame .beam.explained").count() > 30
    with page.expect_download() as download:
        page.get_by_role("button", name="CIF", exact=True).click()
    crystal = read_structure(Path(download.value.path()).read_text(), id="taken", source="page")
    assert crystal.formula == "MoS2"
    assert download.value.suggested_filename.endswith(".cif")


def test_zip_and_report_are_taken_home(
    page: Page, browser: Browser, tiff_frame: bytes, tmp_path: Path
) -> None:
    drop(page, tiff_frame, "flake.tif")
    settled(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="All as zip").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert "answer.json" in archive.namelist()
        assert sum(name.endswith(".cif") for name in archive.namelist()) == 10
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    path = tmp_path / "report.html"
    download.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    # Names of namespaces are no addresses that are fetched.
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }
    offline = browser.new_context(offline=True)
    report = offline.new_page()
    fetched: list[str] = []
    report.on("request", lambda each: fetched.append(each.url))
    report.goto(path.as_uri())
    assert [url for url in fetched if not url.startswith(("file:", "data:"))] == []
    expect(report.locator("h1")).to_have_text("Which two-dimensional crystal is it?")
    assert report.locator("image").evaluate("image => image.href.baseVal.startsWith('data:image/png')")
    assert report.locator("svg.structure").count() == 2
    assert report.locator("table").count() == 2
    expect(report.locator("pre")).to_contain_text("_cell_length_a")
    told = report.locator("dl").last.inner_text()
    assert "sha256:" in told
    assert "Request" in told
    offline.close()


def test_the_chosen_candidate_is_laid_over_the_pattern(page: Page, tiff_frame: bytes) -> None:
    drop(page, tiff_frame, "flake.tif")
    settled(page)
    first = page.locator("#chosen-title").inner_text()
    page.locator("#candidate-1").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#candidate-2")).to_be_checked()
    expect(page.locator("#chosen-id")).not_to_be_empty()
    assert page.locator("#structure-top svg .atom").count() > 0
    assert page.locator("#structure-side svg .atom").count() > 0
    page.locator("#spot-lines summary").click()
    rows = page.locator("#spot-table tbody tr")
    assert rows.count() == page.locator("#frame .beam").count()
    page.keyboard.press("Tab")
    page.locator("#candidate-1").check(force=True)
    expect(page.locator("#chosen-title")).to_have_text(first)


@pytest.mark.parametrize("name", ["MoS₂, tilted", "Graphene", "MoS₂ on WSe₂"])
def test_every_example_is_answered(page: Page, name: str) -> None:
    page.get_by_role("button", name=name).click()
    settled(page)
    first = {"MoS₂, tilted": {"MoS2"}, "Graphene": {"C"}, "MoS₂ on WSe₂": {"MoS2", "WSe2"}}[name]
    # Of each layer of a pair another crystal may be as likely, blind: NbS2 for WSe2 here.
    assert first <= set(candidates(page)[: 2 * len(first) - 1])
    if len(first) == 2:
        expect(page.locator("#after .twist")).to_contain_text(re.compile(r"Twisted by 2[01]\.\d"))
        expect(page.locator("#candidates .lattice-number").first).to_have_text("lattice 1")


def test_points_are_pasted_and_drawn_without_a_frame(page: Page) -> None:
    ring = [f"{0.469 * x:.4f} {0.469 * y:.4f} 1.0" for x, y in _hexagon(0)]
    outer = [f"{0.813 * x:.4f} {0.813 * y:.4f} 0.89" for x, y in _hexagon(30)]
    page.evaluate(
        """(text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            const options = { clipboardData, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new ClipboardEvent("paste", options));
        }""",
        "\n".join(ring + outer),
    )
    settled(page)
    assert "C" in candidates(page)[:3]
    expect(page.locator("#frame image")).to_have_count(0)
    expect(page.locator("#frame .spot .disc")).to_have_count(12)


def test_a_stack_without_a_scale_is_read_image_by_image(page: Page, seen: Seen) -> None:
    drop(page, stack_without_scale(), "stack.tif")
    settled(page)
    expect(page.locator("#facts")).to_contain_text("unknown: crystals of every size are tried")
    expect(page.locator("#after")).to_contain_text("first")
    expect(page.locator("#chosen-facts")).to_contain_text("implies 0.00")
    with page.expect_response("**/inspect"):
        page.get_by_label("Image").fill("1")
        page.get_by_label("Image").press("Enter")
    settled(page)
    assert 'name="frame"\r\n\r\n1\r\n' in (seen.asked[-1].post_data or "")
    assert "MoS2" in candidates(page)
    # Edited, the spots go without a scale too.
    page.locator("#tools [value=centre]").focus()
    page.keyboard.press("Space")
    page.locator("#frame").focus()
    with page.expect_response("**/predict"):
        page.keyboard.press("ArrowLeft")
    assert "pixel_size" not in seen.last()
    settled(page)


def test_marks_lie_on_the_spots_of_a_frame_that_is_scaled_down(page: Page) -> None:
    drop(page, large_frame(2050), "large.tif")
    settled(page)
    image = page.locator("#frame image")
    # Three pixels of the frame are one of the picture, and what is left over is cut off.
    assert image.evaluate("image => [image.width.baseVal.value, image.x.baseVal.value]") == [2049, -0.5]
    brightest = page.evaluate(
        """async () => {
            const image = new Image();
            image.src = document.querySelector("#frame image").href.baseVal;
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
            canvas.drawImage(image, 0, 0);
            const pixel = (x) => Math.floor((x + 0.5) / 3);
            const level = (x, y) => canvas.getImageData(pixel(x), pixel(y), 1, 1).data[0];
            const rings = [...document.querySelectorAll("#frame .spot .ring")];
            return rings.map((ring) => level(ring.cx.baseVal.value, ring.cy.baseVal.value));
        }"""
    )
    assert len(brightest) > 20
    assert sorted(brightest)[len(brightest) // 4] > 100


def _hexagon(turn: float) -> list[tuple[float, float]]:
    return [(cos(radians(60 * k + turn)), sin(radians(60 * k + turn))) for k in range(6)]
