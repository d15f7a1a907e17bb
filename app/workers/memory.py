"""The memory of a worker process: its limit, and what is returned to the system."""

import ctypes
import re
import resource
from contextlib import suppress
from pathlib import Path

_DATA = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)


def limit_memory(bytes_allowed: int) -> None:
    """Limit what this process may allocate from now on. Where the system does not report its use, do nothing.

    The limit counts private writable memory, also that of threads' stacks, but no files that are mapped read-only, such
    as the index. The processes that this one starts have the same limit, each for itself, and may lower it.
    """
    try:
        in_use = _DATA.search(Path("/proc/self/status").read_text(encoding="ascii"))
    except OSError:
        return
    if in_use is not None:
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (int(in_use[1]) * 1024 + bytes_allowed, most))


def is_out_of_memory(error: Exception) -> bool:
    """Return whether an error means that memory could not be allocated; PyTorch raises no error of its own for it."""
    return isinstance(error, MemoryError) or "DefaultCPUAllocator" in str(error)


def trim_memory() -> None:
    """Return freed memory to the system: the allocator keeps 55 MB after frames of 1024 by 1024 pixels.

    This takes a millisecond, between answers. Only glibc has the function.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)
