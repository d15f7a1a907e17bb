"""The log: one form of line on standard error, in the service and in its workers."""

import logging


def set_up_log(level: str) -> None:
    """Tell what this software tells from this level on; libraries tell warnings only."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s", level=logging.WARNING)
    for name in ("app", "index", "model", "uvicorn"):
        logging.getLogger(name).setLevel(level.upper())
    # It reports each odd tag of each upload as an error; what cannot be read is told to who sent it.
    logging.getLogger("tifffile").setLevel(logging.CRITICAL)
