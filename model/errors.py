"""The family of domain errors: each message says what is wrong and what to do about it."""


class DomainError(Exception):
    """Base of every error this project raises on purpose."""


class CrystalError(DomainError):
    """A structure cannot be used as a two-dimensional crystal."""


class UnreadableError(DomainError):
    """A file is damaged, truncated or lies about its content."""


class UnknownFormatError(DomainError):
    """A file's content is of no format that can be read."""


class TooLargeError(DomainError):
    """An input exceeds a stated limit."""


class OptionError(DomainError):
    """An option's value is impossible or contradicts another."""


class NoSpotsError(DomainError):
    """A pattern was read but holds nothing that can be identified (blank, too few spots, ...)."""


class ConflictError(DomainError):
    """What is asked contradicts what is there."""


class ReadOnlyError(ConflictError):
    """What is to be written lies where nothing may be written."""


class CheckpointError(DomainError):
    """Weights are missing, damaged or of another form than asked for."""


class IndexUnavailableError(DomainError):
    """An index is missing, damaged, or was made by other weights."""
