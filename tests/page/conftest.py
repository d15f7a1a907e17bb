"""The page in a real Chromium, on a real server with the starter library.

A Chromium is looked for at DD2D_CHROMIUM and on the PATH; where there is none these tests are skipped.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Request, Route, expect, sync_playwright

from index.build.build import build_index
from model.towers.checkpoint import load_towers
from tests.page.patterns import mos2_frame
from tests.paths import ROOT

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# On a machine that has other things to do.
PATIENCE_MS = 60_000
_LISTENS = "Uvicorn running on "


def chromium() -> str | None:
    return os.environ.get("DD2D_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def executable() -> str:
    found = chromium()
    if found is None:
        pytest.skip(
            "no Chromium: install one (on Debian `apt-get install chromium`) or name it in DD2D_CHROMIUM"
        )
    return found


# Of a module, not of the session: as long as it lives an event loop runs in this thread, and no other test could
# start one of its own.
@pytest.fixture(scope="module")
def browser(executable: str) -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(executable: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process that serves the starter library to a browser that there is."""
    assert executable
    folder = tmp_path_factory.mktemp("page")
    build_index([Path("starter")], folder / "index", load_towers(), workers=0)
    command = [sys.executable, "-c", "from app.cli.main import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--index", str(folder / "index")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if _LISTENS in line), None)
        assert line is not None, "the server did not start"
        # Its log is read to the end, so that the pipe never fills.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield line.split(_LISTENS)[1].split()[0]
        process.terminate()
        drain.wait()


@dataclass
class Seen:
    """What the browser asked for and complained about.

    Attributes:
        abroad: addresses of other hosts.
        asked: bodies of the requests to /predict.
        complaints: of the console, and errors nobody caught.
    """

    abroad: list[str] = field(default_factory=list)
    asked: list[Request] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    # What a test provokes.
    expected: tuple[str, ...] = ()

    def last(self) -> Any:
        """The JSON that was sent last."""
        return self.asked[-1].post_data_json

    def check(self) -> None:
        assert self.abroad == []
        told = [each for each in self.complaints if not any(known in each for known in self.expected)]
        assert told == []


@pytest.fixture
def seen() -> Seen:
    return Seen()


@pytest.fixture
def context(browser: Browser, server: str, seen: Seen) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, base_url=server)
    context.set_default_timeout(PATIENCE_MS)

    def watched(route: Route) -> None:
        if route.request.url.startswith((f"{server}/", "data:", "blob:")):
            route.continue_()
        else:
            seen.abroad.append(route.request.url)
            route.abort()

    context.route("**/*", watched)
    context.on("request", lambda each: seen.asked.append(each) if each.url.endswith("/predict") else None)
    context.on("console", lambda each: seen.complaints.append(each.text) if each.type == "error" else None)
    context.on("weberror", lambda each: seen.complaints.append(str(each.error)))
    yield context
    context.close()
    seen.check()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    page.wait_for_selector("body[data-ready]")
    return page


@pytest.fixture(scope="session")
def tiff_frame() -> bytes:
    return mos2_frame("tiff")


@pytest.fixture(scope="session")
def dm4_frame() -> bytes:
    return mos2_frame("dm4")
