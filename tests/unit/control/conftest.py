"""A Kafka with its controls, and a client of these."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import pytest

from odradek.control.server import ControlServer
from odradek.testing import EmbeddedKafka

TIMEOUT_S = 30


class Answer(NamedTuple):
    status: int
    json: Any
    headers: Mapping[str, str]

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.json["error"]["code"]


class Client:
    """Asks the controls over HTTP."""

    def __init__(self, port: int, token: str | None = None) -> None:
        self.port = port
        self.token = token

    def get(self, path: str, **query: object) -> Answer:
        return self.send("GET", path + ("?" + urlencode(query) if query else ""))

    def post(self, path: str, body: object = None) -> Answer:
        return self.send("POST", path, None if body is None else json.dumps(body).encode())

    def delete(self, path: str) -> Answer:
        return self.send("DELETE", path)

    def send(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_S)
        try:
            given = {} if body is None else {"content-type": "application/json"}
            if self.token is not None:
                given["authorization"] = f"Bearer {self.token}"
            given.update({name.lower().replace("_", "-"): value for name, value in headers.items()})
            connection.request(method, quote(path, safe="/?&=%{}"), body, given)
            response = connection.getresponse()
            data = response.read()
            is_json = response.headers.get_content_type() == "application/json"
            return Answer(
                response.status, json.loads(data) if is_json and data else None, dict(response.headers.items())
            )
        finally:
            connection.close()


class Controlled(NamedTuple):
    kafka: EmbeddedKafka
    http: Client


@pytest.fixture(scope="module")
def running() -> Iterator[Controlled]:
    with EmbeddedKafka() as kafka, ControlServer(kafka._running, "127.0.0.1", 0) as server:
        yield Controlled(kafka, Client(server.port))


@pytest.fixture
def controlled(running: Controlled) -> Controlled:
    """One node that is as at the beginning."""
    running.kafka.reset()
    return running


@pytest.fixture
def http(controlled: Controlled) -> Client:
    return controlled.http
