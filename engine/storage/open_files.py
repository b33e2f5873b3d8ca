"""How many files and connections this process may have open at once."""

from __future__ import annotations

from contextlib import suppress


def allow_files(wanted: int) -> int:
    """As many as ``wanted``, as far as the system lets this process; returns how many it may open."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
