"""Java's .properties syntax (separators, comments, continued lines, escapes), read as java.util.Properties does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from odradek.config.types import ConfigError

# Java reads the bytes of a properties file as Latin-1; anything else is written as \\uXXXX.
PROPERTIES_ENCODING = "iso-8859-1"

_BLANK = " \t\f"
_ESCAPES = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}
_WRITTEN = {"\\": "\\\\", **{character: f"\\{letter}" for letter, character in _ESCAPES.items()}}


def parse_properties(text: str) -> dict[str, str]:
    """Read properties; the last one of a name wins. Raises ConfigError, which names the line, on a broken escape."""
    properties: dict[str, str] = {}
    for number, line in _logical_lines(text):
        key_end = _key_end(line)
        value = line[key_end:].lstrip(_BLANK)
        if value[:1] in ("=", ":"):
            value = value[1:].lstrip(_BLANK)
        properties[_unescape(line[:key_end], number)] = _unescape(value, number)
    return properties


def _logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines without comments and blanks, joined where one ends in a backslash, with the number of the first."""
    lines: list[tuple[int, str]] = []
    pending: str | None = None
    start = 0
    natural = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for number, raw in enumerate(natural, start=1):
        line = raw.lstrip(_BLANK)
        if not pending:
            # A line that is nothing but a backslash continues nothing: the next one may be a comment.
            pending = None
            if not line or line[0] in "#!":
                continue
            start = number
        line = (pending or "") + line
        if _ends_in_escape(line):
            pending = line[:-1]
            continue
        lines.append((start, line))
        pending = None
    if pending is not None:
        lines.append((start, pending))
    return lines


def _ends_in_escape(line: str) -> bool:
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _key_end(line: str) -> int:
    escaped = False
    for position, character in enumerate(line):
        if escaped:
            escaped = False
        elif character == "\\":
            escaped = True
        elif character in "=:" or character in _BLANK:
            return position
    return len(line)


def _unescape(text: str, number: int) -> str:
    if "\\" not in text:
        return text
    out: list[str] = []
    position = 0
    while position < len(text):
        character = text[position]
        position += 1
        if character != "\\" or position == len(text):
            out.append(character)
            continue
        escape = text[position]
        position += 1
        if escape == "u":
            digits = text[position : position + 4]
            if len(digits) < 4 or any(digit not in "0123456789abcdefABCDEF" for digit in digits):
                raise ConfigError("", f"line {number}: \\u must be followed by four hexadecimal digits")
            out.append(chr(int(digits, 16)))
            position += 4
        else:
            out.append(_ESCAPES.get(escape, escape))
    # Characters beyond 16 bits are written as two escapes.
    return "".join(out).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def format_properties(properties: Mapping[str, str]) -> str:
    """The text that `parse_properties` reads back, of which a file in Latin-1 can hold every character."""
    return "".join(f"{_escape(name, True)}={_escape(value, False)}\n" for name, value in properties.items())


def _escape(text: str, is_name: bool) -> str:
    out = []
    for position, character in enumerate(text):
        if character in _WRITTEN:
            out.append(_WRITTEN[character])
        elif not " " <= character <= "~":
            out.append("".join(f"\\u{unit:04X}" for unit in _utf16_units(character)))
        elif character == " " and (is_name or position == 0):
            out.append("\\ ")
        elif is_name and character in "=:#!":
            out.append(f"\\{character}")
        else:
            out.append(character)
    return "".join(out)


def _utf16_units(character: str) -> Iterator[int]:
    data = character.encode("utf-16-be", "surrogatepass")
    return (int.from_bytes(data[at : at + 2]) for at in range(0, len(data), 2))
