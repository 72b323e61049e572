"""ISO-8601 durations as Java's Duration.parse reads them."""

from __future__ import annotations

import re

_PATTERN = re.compile(
    r"(?P<sign>[-+]?)P(?:(?P<days>[-+]?\d+)D)?"
    r"(?P<time>T(?:(?P<hours>[-+]?\d+)H)?(?:(?P<minutes>[-+]?\d+)M)?(?:(?P<seconds>[-+]?\d+)(?:[.,](?P<fraction>\d{0,9}))?S)?)?",
    re.IGNORECASE | re.ASCII,
)
_MAX_TEXT_LENGTH = 64


def parse_duration_ms(text: str) -> int | None:
    """The milliseconds of a duration such as `P1DT2H3M4.5S`, possibly negative; None when it is not a duration."""
    match = _PATTERN.fullmatch(text) if len(text) <= _MAX_TEXT_LENGTH else None
    if match is None:
        return None
    parts = [match[name] for name in ("days", "hours", "minutes", "seconds")]
    if all(part is None for part in parts) or (match["time"] or "").upper() == "T":
        return None
    days, hours, minutes, seconds = (int(part or 0) for part in parts)
    fraction_ms = int(((match["fraction"] or "") + "000")[:3])
    if (match["seconds"] or "").startswith("-"):
        fraction_ms = -fraction_ms
    total_ms = (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000 + fraction_ms
    return -total_ms if match["sign"] == "-" else total_ms
