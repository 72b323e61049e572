"""The generated pages are those that the code would write, and say what is true of it."""

from __future__ import annotations

import compatibility_docs
import compatibility_text
import config_docs
import pytest
from compatibility_docs import BROKER, CONTROLLER

from odradek.server.dispatcher import listed_versions
from odradek.wire.apis import ApiKey, listeners, request_class


@pytest.fixture(scope="module")
def served() -> dict[str, set[ApiKey]]:
    return {
        listener: {handler.api_key for handler in handlers}
        for listener, handlers in compatibility_docs.served_handlers().items()
    }


def test_the_compatibility_page_is_up_to_date() -> None:
    page = compatibility_docs.render(compatibility_docs.served_handlers())
    assert compatibility_docs.TARGET.read_text(encoding="utf-8") == page, "make docs"


def test_the_configuration_page_is_up_to_date() -> None:
    assert config_docs.TARGET.read_text(encoding="utf-8") == config_docs.render(), "make docs"


def test_a_property_is_said_to_be_acted_upon_if_and_only_if_code_reads_it() -> None:
    assert config_docs.claims_and_uses() == ([], [])


@pytest.mark.parametrize("listener", [BROKER, CONTROLLER])
def test_every_api_of_kafka_has_a_row_with_its_versions(listener: str, served: dict[str, set[ApiKey]]) -> None:
    page = compatibility_docs.TARGET.read_text(encoding="utf-8")
    section = page.partition(f"## APIs of a {listener}'s listener")[2].partition("\n## ")[0]
    rows = [row.strip("| ").split(" | ") for row in section.splitlines() if row.startswith("| ") and "API" not in row]
    expected = [key for key in sorted(ApiKey) if listener in listeners(key)]
    assert [int(row[0]) for row in rows] == expected
    for row, key in zip(rows, expected, strict=True):
        assert row[1] == request_class(key).NAME.removesuffix("Request")
        low, high = listed_versions(key)
        versions = f"{low} to {high}" if low < high else str(low)
        assert (row[3] == versions) == (key in served[listener])
        assert row[-1].startswith("missing: ") == (key not in served[listener])


def test_an_api_that_is_served_cannot_be_said_to_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(compatibility_text.WHY_MISSING, ApiKey.METADATA, "nothing")
    with pytest.raises(ValueError, match="METADATA"):
        compatibility_docs.render(compatibility_docs.served_handlers())


def test_an_api_cannot_be_missing_without_a_reason() -> None:
    handlers = compatibility_docs.served_handlers()
    handlers[BROKER] = [handler for handler in handlers[BROKER] if handler.api_key != ApiKey.METADATA]
    with pytest.raises(KeyError):
        compatibility_docs.render(handlers)
