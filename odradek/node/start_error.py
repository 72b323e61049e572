"""Why a node cannot start, or go on: one line that says what to do."""

from __future__ import annotations

import errno

_ELSEWHERE = "use another directory (--data-dir, or log.dirs)"
_ACCESS = f"let this process's user write to it, or {_ELSEWHERE}"
_FILE_ADVICE = {
    errno.ENOSPC: f"make room on its disk, or {_ELSEWHERE}",
    errno.EDQUOT: f"make room on its disk, or {_ELSEWHERE}",
    errno.EACCES: _ACCESS,
    errno.EPERM: _ACCESS,
    errno.EROFS: _ELSEWHERE,
}
_ADDRESS_ADVICE = {
    errno.EADDRINUSE: "stop what listens there, or choose another port: with port 0 a free one is taken",
    errno.EACCES: "choose a port above 1023, or run with the privilege to use this one",
    errno.EADDRNOTAVAIL: "choose an address of this machine",
}


class StartError(Exception):
    """The node cannot start, or go on; the text is one line that tells the user why, or what to do."""


def unusable_directory(error: OSError, path: str) -> StartError:
    """A data directory cannot be read or written; `path` is named where the error names no file."""
    advice = _FILE_ADVICE.get(error.errno or 0, _ELSEWHERE)
    return StartError(
        f"the data directory cannot be used: {error.strerror or error}: {error.filename or path}; {advice}"
    )


def unusable_address(error: OSError) -> StartError:
    """A listener's address, which the text of `error` names, cannot be listened on."""
    advice = _ADDRESS_ADVICE.get(error.errno or 0, "correct --listen, or listeners")
    return StartError(f"{error.strerror or error}; {advice}")
