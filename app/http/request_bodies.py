"""The bodies of requests, as the OpenAPI document describes them."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema, create_model

from app.http.save_files import MAX_BATCH_FILES
from app.services.option_parsing import RequestOptions
from model.matching.compare import MAX_STRUCTURES, MIN_STRUCTURES
from model.pattern.points.point_table import MAX_POINTS

BinaryFile = Annotated[
    bytes, WithJsonSchema({"type": "string", "contentMediaType": "application/octet-stream"})
]
Point = Annotated[list[float], Field(min_length=2, max_length=3)]
Points = Annotated[list[Point], Field(min_length=1, max_length=MAX_POINTS)]
Structures = Annotated[list[str], Field(min_length=MIN_STRUCTURES, max_length=MAX_STRUCTURES)]
BatchFiles = Annotated[list[BinaryFile], Field(min_length=1, max_length=MAX_BATCH_FILES)]
JsonFile = Annotated[str, WithJsonSchema({"type": "string", "contentMediaType": "application/json"})]

_POINTS = "[x, y] or [x, y, intensity]; in 1/angstrom and 1/nm the direct beam is the origin."
_STRUCTURE = "One structure as CIF or POSCAR."


class PatternForm(BaseModel):
    """A pattern as a file."""

    file: BinaryFile = Field(
        description="A camera frame in any supported format, or points as JSON, CSV or text."
    )


class PatternObject(BaseModel):
    """A pattern as points."""

    points: Points = Field(description=_POINTS)


class BatchForm(BaseModel):
    """Many patterns as files."""

    file: BatchFiles = Field(
        description="Frames and files of points, zips of these, and files with many images, each of which is a pattern."
    )


class CompareForm(PatternForm):
    """A pattern and structures as files."""

    structures: Structures = Field(description="Structures, each as CIF or POSCAR.")


class CompareObject(PatternObject):
    """A pattern as points, and structures."""

    structures: Structures = Field(description="Structures, each as CIF or POSCAR.")


class ReplayForm(PatternForm):
    """A pattern and a stored answer as files."""

    answer: JsonFile = Field(description="An answer of `/predict`, unchanged.")


class ReplayObject(BaseModel):
    """A stored answer, and its points unless it was recorded."""

    answer: dict[str, Any] = Field(description="An answer of `/predict`, unchanged.")
    points: Points | None = Field(None, description=f"Not needed for an answer with `record=true`. {_POINTS}")


class StructureForm(BaseModel):
    """A structure as a file."""

    file: str = Field(description=_STRUCTURE)


class StructureObject(BaseModel):
    """A structure."""

    structure: str = Field(description=_STRUCTURE)


class ReloadObject(BaseModel):
    """The version of the index to serve."""


def request_body(
    options: type[RequestOptions],
    *,
    form: type[BaseModel] | None = None,
    json: type[BaseModel] | None = None,
    required: bool = True,
) -> dict[str, Any]:
    """Return the `openapi_extra` of a route with a body.

    FastAPI would read and parse a body that is declared as a parameter before any dependency runs. Here a request is
    refused before its body is read, the body has limits of its own, and a worker parses it.

    Args:
        options: the options of the request, keys of both kinds of body.
        form: the files of a form.
        json: the other keys of a JSON object.
        required: whether the request needs a body.
    """
    content: dict[str, Any] = {}
    if form is not None:
        lists = [name for name in options.model_fields if options.is_comma_list(name)]
        content["multipart/form-data"] = {"schema": _merge_schemas(form, options)}
        if lists:
            encoding = {name: {"style": "form", "explode": False} for name in lists}
            content["multipart/form-data"]["encoding"] = encoding
    if json is not None:
        content["application/json"] = {"schema": _merge_schemas(json, options)}
    return {"requestBody": {"required": required, "content": content}}


def _merge_schemas(body: type[BaseModel], options: type[RequestOptions]) -> dict[str, Any]:
    schema = create_model(body.__name__, __base__=(body, options)).model_json_schema()
    for each in schema["properties"].values():
        each.pop("title", None)
    names = [*body.model_fields, *options.model_fields]
    schema["properties"] = {name: schema["properties"][name] for name in names}
    schema.pop("title")
    schema.pop("description", None)
    return schema
