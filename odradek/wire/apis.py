"""Lookups by API key: classes, versions, header versions, listeners. Importing it loads no message."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from odradek.wire.api_table import APIS, Api, ApiKey
from odradek.wire.errors import ProtocolError
from odradek.wire.schema import Message

__all__ = [
    "ApiKey",
    "request_class",
    "response_class",
    "request_header_version",
    "response_header_version",
    "valid_versions",
    "stable_versions",
    "latest_unstable",
    "listeners",
]

_requests: dict[int, type[Message]] = {}
_responses: dict[int, type[Message]] = {}


def _api(key: int) -> Api:
    api = APIS.get(key)
    if api is None:
        raise ProtocolError(f"there is no API with key {key}")
    return api


def _load(key: int, ending: str) -> type[Message]:
    api = _api(key)
    return cast("type[Message]", getattr(import_module(f"odradek.wire.messages.{api.module}"), api.name + ending))


def request_class(key: int) -> type[Message]:
    """The class of the API's requests; like all functions here, `ProtocolError` for an unknown key."""
    found = _requests.get(key)
    if found is None:
        found = _requests[key] = _load(key, "Request")
    return found


def response_class(key: int) -> type[Message]:
    """The class of the API's responses."""
    found = _responses.get(key)
    if found is None:
        found = _responses[key] = _load(key, "Response")
    return found


def request_header_version(key: int, version: int) -> int:
    """The version of `RequestHeader` in front of a request of this API and version."""
    first_flexible = _api(key).first_flexible
    return 2 if first_flexible is not None and version >= first_flexible else 1


def response_header_version(key: int, version: int) -> int:
    """The version of `ResponseHeader` in front of a response of this API and version.

    That of ApiVersions is always 0: a client must be able to read it before it knows the broker's versions (KIP-511).
    """
    if key == ApiKey.API_VERSIONS:
        return 0
    return request_header_version(key, version) - 1


def valid_versions(key: int) -> range:
    """All versions that the API's schema has."""
    api = _api(key)
    return range(api.min_version, api.max_version + 1)


def stable_versions(key: int) -> range:
    """The versions that a broker offers: all but a latest one that is still unstable."""
    api = _api(key)
    return range(api.min_version, api.max_version + (0 if api.latest_unstable else 1))


def latest_unstable(key: int) -> bool:
    """Whether the highest version is not offered yet."""
    return _api(key).latest_unstable


def listeners(key: int) -> tuple[str, ...]:
    """Where the API is answered: "broker", "controller"."""
    return _api(key).listeners
