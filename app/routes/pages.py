"""The pages for people: everything they need comes from this host."""

import json
from functools import cache
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse, Response

from app.periodic_table import periodic_table

WEB = Path(__file__).resolve().parents[1] / "web"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front_page() -> FileResponse:
    """From a pattern to an answer; docs/page.md describes it."""
    return FileResponse(WEB / "index.html")


@router.get("/docs")
async def documentation_page() -> FileResponse:
    """The OpenAPI document, readable."""
    return FileResponse(WEB / "docs.html")


@router.get("/elements.json")
def elements() -> Response:
    """What the page draws of each element."""
    return Response(_elements(), headers={"Cache-Control": "max-age=3600"}, media_type="application/json")


@cache
def _elements() -> bytes:
    return json.dumps(periodic_table(), separators=(",", ":")).encode()
