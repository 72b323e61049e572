"""Properties that are written so that Java, and this project, read them back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from odradek.config.properties import PROPERTIES_ENCODING, format_properties, parse_properties

TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(st.dictionaries(TEXT.filter(bool), TEXT, max_size=5))
def test_what_is_written_is_read_back(properties: dict[str, str]) -> None:
    written = format_properties(properties).encode(PROPERTIES_ENCODING)
    assert parse_properties(written.decode(PROPERTIES_ENCODING)) == properties


def test_ordinary_properties_stay_readable() -> None:
    properties = {"listeners": "PLAINTEXT://[::1]:9092,X://a:1", "log.dirs": "C:\\data dir"}
    assert format_properties(properties) == "listeners=PLAINTEXT://[::1]:9092,X://a:1\nlog.dirs=C:\\\\data dir\n"
