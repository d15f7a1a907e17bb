"""FastAPI dependencies that the routes share."""

from starlette.requests import Request

from model.errors import OptionError

_MAX_NAMES = 5


def reject_query_options(request: Request) -> None:
    """Refuse options in the query string, which would be ignored.

    Raises:
        OptionError: there is one.
    """
    if request.query_params:
        names = ", ".join(name[:60] for name in list(request.query_params)[:_MAX_NAMES])
        raise OptionError(
            f"Options are not accepted in the query string (found {names}); send them as form fields or JSON keys."
        )
