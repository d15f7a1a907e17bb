"""The pages for people: everything they need comes from this host."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.presentation.periodic_table import periodic_table

WEB = Path(__file__).resolve().parents[2] / "web"

# A browser asks whether a file has changed, so that those of two versions are never mixed.
_FRESH = {"Cache-Control": "no-cache"}

router = APIRouter(include_in_schema=False)


class FreshFiles(StaticFiles):
    """Files that a browser may keep, and asks about before it uses them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """As StaticFiles answers, 304 included."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_FRESH)
        return response


@router.get("/")
async def front_page() -> FileResponse:
    """From a pattern to an answer; docs/page.md describes it."""
    return FileResponse(WEB / "index.html", headers=_FRESH)


@router.get("/docs")
async def documentation_page() -> FileResponse:
    """The OpenAPI document, readable."""
    return FileResponse(WEB / "docs.html", headers=_FRESH)


@router.get("/elements.json")
def elements() -> Response:
    """What the page draws of each element."""
    return Response(_elements(), headers={"Cache-Control": "max-age=3600"}, media_type="application/json")


@cache
def _elements() -> bytes:
    return json.dumps(periodic_table(), separators=(",", ":")).encode()
