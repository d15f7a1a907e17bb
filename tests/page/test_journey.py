"""The user drops a pattern, marks elements, reads the answer and downloads the results."""

import io
import re
import zipfile
from math import cos, radians, sin
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from model.crystal.structure_files import read_structure
from tests.page.actions import drop_file, list_formulas, open_example, wait_for_answer
from tests.page.conftest import BrowserLog
from tests.page.patterns import simulate_large_frame, simulate_stack_without_scale


@pytest.mark.parametrize("suffix", ["tiff", "dm4"])
def test_identifies_a_dropped_frame_and_downloads_the_cif(
    page: Page, browser_log: BrowserLog, suffix: str, request: pytest.FixtureRequest
) -> None:
    drop_file(page, request.getfixturevalue(f"{suffix}_frame"), f"flake.{suffix}")
    wait_for_answer(page)
    expect(page.locator("#pattern-name")).to_have_text(f"flake.{suffix}")
    assert page.locator("#pattern-view .spot").count() > 30
    expect(page.locator("#pattern-view image")).to_have_count(1)
    for name in ("molybdenum", "sulfur"):
        page.get_by_role("button", name=re.compile(f"^{name}, ")).click()
    page.get_by_role("switch", name="Only the marked elements").check()
    expect(page.locator("#element-summary")).to_have_text("Only Mo, S")
    wait_for_answer(page)
    expect(page.locator("#verdict strong")).not_to_be_empty()
    assert list_formulas(page)[0] == "MoS2"
    assert set(list_formulas(page)) <= {"MoS2"}
    assert page.locator("#candidates .value").first.inner_text().endswith("%")
    # Without edits the page sends the file itself.
    assert "multipart/form-data" in browser_log.get_last_content_type()
    assert page.locator("#pattern-view .reflection.explained").count() > 30
    with page.expect_download() as download:
        page.get_by_role("button", name="CIF", exact=True).click()
    crystal = read_structure(Path(download.value.path()).read_text(), id="downloaded", source="page")
    assert crystal.formula == "MoS2"
    assert download.value.suggested_filename.endswith(".cif")


def test_downloads_a_zip_file_and_a_report(
    page: Page, browser: Browser, tiff_frame: bytes, tmp_path: Path
) -> None:
    drop_file(page, tiff_frame, "flake.tif")
    wait_for_answer(page)
    with page.expect_download() as download:
        page.get_by_role("button", name="All CIFs (ZIP)").click()
    with zipfile.ZipFile(io.BytesIO(Path(download.value.path()).read_bytes())) as archive:
        assert "answer.json" in archive.namelist()
        assert sum(name.endswith(".cif") for name in archive.namelist()) == 10
    with page.expect_download() as download:
        page.get_by_role("button", name="Report").click()
    path = tmp_path / "report.html"
    download.value.save_as(path)
    text = path.read_text(encoding="utf-8")
    assert "<script" not in text
    # A browser does not fetch the names of namespaces.
    assert set(re.findall(r"https?://[^\s\"'<)]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xhtml",
    }
    offline = browser.new_context(offline=True)
    report = offline.new_page()
    urls: list[str] = []
    report.on("request", lambda request: urls.append(request.url))
    report.goto(path.as_uri())
    assert [url for url in urls if not url.startswith(("file:", "data:"))] == []
    expect(report.locator("h1")).to_have_text("Crystal identification report")
    assert report.locator("image").evaluate("image => image.href.baseVal.startsWith('data:image/png')")
    assert report.locator("svg.structure").count() == 2
    assert report.locator("table").count() == 2
    expect(report.locator("pre")).to_contain_text("_cell_length_a")
    provenance = report.locator("dl").last.inner_text()
    assert "sha256:" in provenance
    assert "Request" in provenance
    offline.close()


def test_draws_the_selected_candidate_over_the_pattern(page: Page, tiff_frame: bytes) -> None:
    drop_file(page, tiff_frame, "flake.tif")
    wait_for_answer(page)
    formula = page.locator("#candidate-title").inner_text()
    page.locator("#candidate-1").focus()
    page.keyboard.press("ArrowDown")
    expect(page.locator("#candidate-2")).to_be_checked()
    expect(page.locator("#candidate-id")).not_to_be_empty()
    assert page.locator("#structure-top svg .atom").count() > 0
    assert page.locator("#structure-side svg .atom").count() > 0
    page.locator("#reflections summary").click()
    rows = page.locator("#reflection-table tbody tr")
    assert rows.count() == page.locator("#pattern-view .reflection").count()
    page.keyboard.press("Tab")
    page.locator("#candidate-1").check(force=True)
    expect(page.locator("#candidate-title")).to_have_text(formula)


@pytest.mark.parametrize(
    ("name", "formulas"),
    [("MoS₂, tilted", {"MoS2"}), ("Graphene", {"C"}), ("MoS₂ on WSe₂", {"MoS2", "WSe2"})],
)
def test_identifies_each_example(page: Page, name: str, formulas: set[str]) -> None:
    open_example(page, name)
    # For each lattice of a pair a similar crystal may rank higher if no elements are given, here NbS2 for WSe2.
    assert formulas <= set(list_formulas(page)[: 2 * len(formulas) - 1])
    if len(formulas) == 2:
        twist = re.compile(r"Twist angle between lattices 1 and 2: 2[01]\.\d")
        expect(page.locator("#answer-notes .twist")).to_contain_text(twist)
        expect(page.locator("#candidates .lattice-number").first).to_have_text("lattice 1")


def test_identifies_pasted_points(page: Page) -> None:
    ring = [f"{0.469 * x:.4f} {0.469 * y:.4f} 1.0" for x, y in _list_hexagon(0)]
    outer = [f"{0.813 * x:.4f} {0.813 * y:.4f} 0.89" for x, y in _list_hexagon(30)]
    page.evaluate(
        """(text) => {
            const clipboardData = new DataTransfer();
            clipboardData.setData("text/plain", text);
            const options = { clipboardData, bubbles: true, cancelable: true };
            document.body.dispatchEvent(new ClipboardEvent("paste", options));
        }""",
        "\n".join(ring + outer),
    )
    wait_for_answer(page)
    assert "C" in list_formulas(page)[:3]
    expect(page.locator("#pattern-view image")).to_have_count(0)
    expect(page.locator("#pattern-view .spot .disc")).to_have_count(12)


def test_reads_a_stack_without_scale_frame_by_frame(page: Page, browser_log: BrowserLog) -> None:
    drop_file(page, simulate_stack_without_scale(), "stack.tif")
    wait_for_answer(page)
    expect(page.locator("#pattern-properties")).to_contain_text("unknown; all lattice sizes are tried")
    expect(page.locator("#answer-notes")).to_contain_text("first")
    expect(page.locator("#candidate-properties")).to_contain_text("implied pixel size 0.00")
    with page.expect_response("**/inspect"):
        page.get_by_label("Frame", exact=True).fill("1")
        page.get_by_label("Frame", exact=True).press("Enter")
    wait_for_answer(page)
    assert 'name="frame"\r\n\r\n1\r\n' in browser_log.get_last_form()
    assert "MoS2" in list_formulas(page)
    # Edited spots are sent without a scale, too.
    page.locator("#tools [value=center]").focus()
    page.keyboard.press("Space")
    page.locator("#pattern-view").focus()
    with page.expect_response("**/predict"):
        page.keyboard.press("ArrowLeft")
    assert "pixel_size" not in browser_log.get_last_json()
    wait_for_answer(page)


def test_markers_match_the_spots_of_a_reduced_picture(page: Page) -> None:
    drop_file(page, simulate_large_frame(2050), "large.tif")
    wait_for_answer(page)
    image = page.locator("#pattern-view image")
    # One pixel of the picture covers three of the frame; the remaining column is omitted.
    assert image.evaluate("image => [image.width.baseVal.value, image.x.baseVal.value]") == [2049, -0.5]
    brightness = page.evaluate(
        """async () => {
            const image = new Image();
            image.src = document.querySelector("#pattern-view image").href.baseVal;
            await image.decode();
            const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
            canvas.drawImage(image, 0, 0);
            const toPixel = (x) => Math.floor((x + 0.5) / 3);
            const read = (x, y) => canvas.getImageData(toPixel(x), toPixel(y), 1, 1).data[0];
            const rings = [...document.querySelectorAll("#pattern-view .spot .ring")];
            return rings.map((ring) => read(ring.cx.baseVal.value, ring.cy.baseVal.value));
        }"""
    )
    assert len(brightness) > 20
    assert sorted(brightness)[len(brightness) // 4] > 100


def _list_hexagon(rotation_deg: float) -> list[tuple[float, float]]:
    return [(cos(radians(60 * k + rotation_deg)), sin(radians(60 * k + rotation_deg))) for k in range(6)]
