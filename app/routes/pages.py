"""The pages for people: everything they need comes from this host."""

from pathlib import Path

from fastapi import APIRouter
from starlette.responses import FileResponse

WEB = Path(__file__).resolve().parents[1] / "web"

router = APIRouter(include_in_schema=False)


@router.get("/")
async def front_page() -> FileResponse:
    """A form that posts to /predict and lists the answer."""
    return FileResponse(WEB / "index.html")


@router.get("/docs")
async def documentation_page() -> FileResponse:
    """The OpenAPI document, readable."""
    return FileResponse(WEB / "docs.html")
