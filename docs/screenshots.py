"""Makes docs/page-light.png and docs/page-dark.png: the page with an answer, on a server that is running.

python docs/screenshots.py [http://127.0.0.1:8000] [--out docs]
"""

import argparse
import io
import os
import shutil
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTH, HEIGHT = 1440, 960
COLOURS, EXACT = 256, 64
SCHEMES: tuple[Literal["light", "dark"], ...] = ("light", "dark")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("address", nargs="?", default="http://127.0.0.1:8000")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    executable = os.environ.get("DD2D_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for scheme in SCHEMES:
            _write(_picture(browser, options.address, scheme), options.out / f"page-{scheme}.png")
        browser.close()


def _picture(browser: Browser, address: str, scheme: Literal["light", "dark"]) -> bytes:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme=scheme)
    page.goto(address)
    if scheme == "light":
        page.get_by_role("button", name="MoS₂, tilted").click()
        _answered(page)
        for symbol in ("Mo", "S"):
            page.locator(f'[data-symbol="{symbol}"]').click()
    else:
        page.get_by_role("button", name="MoS₂ on WSe₂").click()
        _answered(page)
        for symbol in ("Mo", "W", "S", "Se"):
            page.locator(f'[data-symbol="{symbol}"]').click()
        page.locator("#only").check()
    _answered(page)
    page.mouse.move(0, 0)
    page.evaluate("document.activeElement.blur()")
    return page.screenshot(animations="disabled")


def _answered(page: Page) -> None:
    expect(page.locator("#candidates .candidate").first).to_be_visible(timeout=30_000)
    expect(page.locator("#busy")).to_be_empty(timeout=30_000)


def _write(png: bytes, path: Path) -> None:
    """With a palette, a third of the size: the commonest colours as they are, and others of every hue."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    colours, count = np.unique(np.asarray(image).reshape(-1, 3), axis=0, return_counts=True)
    exact = colours[np.argsort(-count, kind="stable")[:EXACT]].ravel().tolist()
    covering = image.quantize(COLOURS - EXACT, Image.Quantize.MAXCOVERAGE).getpalette() or []
    palette = Image.new("P", (1, 1))
    palette.putpalette([*exact, *covering])
    image.quantize(palette=palette, dither=Image.Dither.NONE).save(path, optimize=True)
    print(f"{path}: {path.stat().st_size // 1024} kB")


if __name__ == "__main__":
    main()
