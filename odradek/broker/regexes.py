"""Expressions that clients send, in RE2's syntax (google-re2), which match in time linear to what they look at."""

from __future__ import annotations

from typing import Protocol

MAX_COMPILED_BYTES = 256 * 1024
"""The memory of one expression, from which follows how long it takes to compile and to match."""


class Matcher(Protocol):
    """A compiled expression."""

    def fullmatch(self, text: str, /) -> object | None:
        """Something if all of `text` matches, else None."""
        ...


class InvalidRegexError(ValueError):
    """Says in words why an expression cannot be used."""


def compile_regex(regex: str) -> Matcher:
    """The expression; raises InvalidRegexError, also where google-re2 is not installed."""
    try:
        import re2  # loaded when the first client needs it
    except ImportError as error:
        raise InvalidRegexError(f"the broker lacks the package google-re2 ({error})") from error
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_COMPILED_BYTES
    # Nobody asks what a group matched, and to keep track of thousands of groups takes gigabytes.
    options.never_capture = True
    try:
        matcher: Matcher = re2.compile(regex, options)
    except re2.error as error:
        said = error.args[0] if error.args else b""
        raise InvalidRegexError(said.decode(errors="replace") if isinstance(said, bytes) else str(said)) from error
    return matcher
