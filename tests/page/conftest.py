"""Drives the page in a real Chromium, on a real server with the starter library.

Chromium is taken from DD2D_CHROMIUM or from the PATH. Without it these tests are skipped.
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
from tests.page.patterns import simulate_mos2_file
from tests.paths import ROOT

CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Generous, for machines under load.
TIMEOUT_MS = 60_000
_LISTENING = "Uvicorn running on "


def find_chromium() -> str | None:
    return os.environ.get("DD2D_CHROMIUM") or next(filter(None, map(shutil.which, CHROMIUM_NAMES)), None)


@pytest.fixture(scope="session")
def chromium_path() -> str:
    path = find_chromium()
    if path is None:
        pytest.skip("Chromium is missing: run `apt-get install chromium` on Debian, or set DD2D_CHROMIUM")
    return path


# Has the scope of a module because Playwright keeps an event loop running in this thread, so that other tests could not
# start their own.
@pytest.fixture(scope="module")
def browser(chromium_path: str) -> Iterator[Browser]:
    expect.set_options(timeout=TIMEOUT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def server(chromium_path: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a process that serves the starter library; depends on Chromium so that it is skipped without."""
    assert chromium_path
    folder = tmp_path_factory.mktemp("page")
    build_index([Path("starter")], folder / "index", load_towers(), workers=0)
    command = [sys.executable, "-c", "from app.cli.main import main; main()", "serve", "--port", "0"]
    with subprocess.Popen(
        [*command, "--index", str(folder / "index")], cwd=ROOT, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        line = next((line for line in process.stderr if _LISTENING in line), None)
        assert line is not None, "the server did not start"
        # Read the rest of the log, so that the pipe never fills.
        drain = subprocess.Popen(["cat"], stdin=process.stderr, stdout=subprocess.DEVNULL)
        yield line.split(_LISTENING)[1].split()[0]
        process.terminate()
        drain.wait()


@dataclass
class BrowserLog:
    """What the browser requested and reported.

    Attributes:
        external_urls: requested from other hosts.
        predictions: the requests to /predict.
        errors: those of the console, and exceptions that the page did not catch.
        expected_errors: parts of the errors that a test provokes.
    """

    external_urls: list[str] = field(default_factory=list)
    predictions: list[Request] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    expected_errors: tuple[str, ...] = ()

    def get_last_json(self) -> Any:
        """Return the JSON of the last request to /predict."""
        return self.predictions[-1].post_data_json

    def get_last_form(self) -> str:
        """Return the form of the last request to /predict, as text."""
        return self.predictions[-1].post_data or ""

    def get_last_content_type(self) -> str:
        """Return the content type of the last request to /predict."""
        return self.predictions[-1].header_value("content-type") or ""

    def check(self) -> None:
        """Fail on requests to other hosts and on unexpected errors."""
        assert self.external_urls == []
        unexpected = [
            error for error in self.errors if not any(part in error for part in self.expected_errors)
        ]
        assert unexpected == []


@pytest.fixture
def browser_log() -> BrowserLog:
    return BrowserLog()


@pytest.fixture
def context(browser: Browser, server: str, browser_log: BrowserLog) -> Iterator[BrowserContext]:
    context = browser.new_context(viewport={"width": 1400, "height": 1000}, base_url=server)
    context.set_default_timeout(TIMEOUT_MS)

    def block_other_hosts(route: Route) -> None:
        if route.request.url.startswith((f"{server}/", "data:", "blob:")):
            route.continue_()
        else:
            browser_log.external_urls.append(route.request.url)
            route.abort()

    def record_request(request: Request) -> None:
        if request.url.endswith("/predict"):
            browser_log.predictions.append(request)

    context.route("**/*", block_other_hosts)
    context.on("request", record_request)
    context.on(
        "console",
        lambda message: browser_log.errors.append(message.text) if message.type == "error" else None,
    )
    context.on("weberror", lambda error: browser_log.errors.append(str(error.error)))
    yield context
    context.close()
    browser_log.check()


@pytest.fixture
def page(context: BrowserContext) -> Page:
    page = context.new_page()
    page.goto("/")
    page.wait_for_selector("body[data-ready]")
    return page


@pytest.fixture(scope="session")
def tiff_frame() -> bytes:
    return simulate_mos2_file("tiff")


@pytest.fixture(scope="session")
def dm4_frame() -> bytes:
    return simulate_mos2_file("dm4")
