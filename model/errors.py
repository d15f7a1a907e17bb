"""Domain errors. Each message states what is wrong and what to do about it."""

from pathlib import Path


class DomainError(Exception):
    """Base class of the errors that this project raises deliberately."""

    @property
    def log_text(self) -> str:
        """The message for the operator's log, which may name paths that the message for the client does not."""
        return str(self)


class CrystalError(DomainError):
    """A structure cannot be used as a two-dimensional crystal."""


class UnreadableError(DomainError):
    """A file is damaged, truncated or inconsistent."""


class UnknownFormatError(DomainError):
    """The content of a file has an unknown format."""


class TooLargeError(DomainError):
    """An input exceeds a stated limit."""


class OptionError(DomainError):
    """An option has an impossible value or contradicts another one."""


class NoSpotsError(DomainError):
    """A pattern was read but cannot be identified: for example, it is blank or has too few spots."""


class ConflictError(DomainError):
    """A request contradicts the current state."""


class ReadOnlyError(ConflictError):
    """A file cannot be written because its location is read-only."""


class CheckpointError(DomainError):
    """Weights are missing, damaged or of an unexpected form."""


class IndexUnavailableError(DomainError):
    """An index is missing, damaged or was built with other weights."""


class StorageFullError(DomainError):
    """The disk is full, or a quota is used up."""


class IndexDamagedError(IndexUnavailableError):
    """A file of an index, or its copy in memory, is not what was written; the message names no folder.

    Attributes:
        path: of the damaged file or version, for the log; None if it is memory.
    """

    def __init__(self, message: str, path: Path | None = None) -> None:
        super().__init__(message)
        self.path = path

    @property
    def log_text(self) -> str:
        """The message with the path."""
        return str(self) if self.path is None else f"{self} Path: {self.path}"
