"""The web pages. Everything that they load comes from this service."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from app.presentation.periodic_table import list_elements

WEB = Path(__file__).resolve().parents[2] / "web"

# Browsers revalidate each file, so that files of two versions are never mixed.
_REVALIDATE = {"Cache-Control": "no-cache"}

router = APIRouter(include_in_schema=False)


class RevalidatedFiles(StaticFiles):
    """Static files that a browser caches and revalidates before each use."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """Return the file, or 304 if the browser has it."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_REVALIDATE)
        return response


@router.get("/")
async def get_start_page() -> FileResponse:
    """Return the page described in docs/page.md."""
    return FileResponse(WEB / "index.html", headers=_REVALIDATE)


@router.get("/docs")
async def get_api_documentation() -> FileResponse:
    """Return the page that renders the OpenAPI document."""
    return FileResponse(WEB / "docs.html", headers=_REVALIDATE)


@router.get("/elements.json")
def get_elements() -> Response:
    """Return the elements of the periodic table, for the start page."""
    return Response(
        _encode_elements(), headers={"Cache-Control": "max-age=3600"}, media_type="application/json"
    )


@cache
def _encode_elements() -> bytes:
    return json.dumps(list_elements(), separators=(",", ":")).encode()
