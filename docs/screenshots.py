"""Takes docs/page-light.png and docs/page-dark.png: the page with an answer, on a running server.

python docs/screenshots.py [http://127.0.0.1:8000] [--out docs]
"""

import argparse
import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1440, 960
TIMEOUT_MS = 30_000
# Size of the palette, and how many of the most frequent colors it holds exactly.
COLORS, EXACT_COLORS = 256, 64


@dataclass(frozen=True)
class Screenshot:
    """What a screenshot shows.

    Attributes:
        scheme: of the colors.
        example: name of the example that is opened.
        elements: symbols that are marked as present.
        only_marked: whether all other elements are excluded.
    """

    scheme: Literal["light", "dark"]
    example: str
    elements: tuple[str, ...]
    only_marked: bool


SCREENSHOTS = (
    Screenshot("light", "MoS₂, tilted", ("Mo", "S"), only_marked=False),
    Screenshot("dark", "MoS₂ on WSe₂", ("Mo", "W", "S", "Se"), only_marked=True),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    executable = os.environ.get("DD2D_CHROMIUM") or next(
        filter(None, map(shutil.which, CHROMIUM_NAMES)), None
    )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for screenshot in SCREENSHOTS:
            png = _take_screenshot(browser, options.address, screenshot)
            _write_with_palette(png, options.out / f"page-{screenshot.scheme}.png")
        browser.close()


def _take_screenshot(browser: Browser, address: str, screenshot: Screenshot) -> bytes:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=screenshot.scheme)
    page.goto(address)
    page.get_by_role("button", name=screenshot.example).click()
    _wait_for_answer(page)
    for symbol in screenshot.elements:
        page.locator(f'[data-symbol="{symbol}"]').click()
    page.locator("#only-marked").set_checked(screenshot.only_marked)
    _wait_for_answer(page)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    return page.screenshot(animations="disabled")


def _wait_for_answer(page: Page) -> None:
    expect(page.locator("#candidates .candidate").first).to_be_visible(timeout=TIMEOUT_MS)
    expect(page.locator("#progress")).to_be_empty(timeout=TIMEOUT_MS)


def _write_with_palette(png: bytes, path: Path) -> None:
    """Write a PNG with a palette, which takes a third of the size."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    colors, counts = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_counts=True)
    exact = colors[np.argsort(-counts, kind="stable")[:EXACT_COLORS]].ravel().tolist()
    covering = image.quantize(COLORS - EXACT_COLORS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *covering])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
