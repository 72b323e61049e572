"""Who is let in, what is refused, and that nothing a request sends ends anything."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.client import HTTPException

import pytest

from odradek.control import node_controls
from odradek.control.app import MAX_BODY_BYTES
from odradek.control.server import ControlServer
from odradek.testing import EmbeddedKafka
from tests.unit.control.conftest import Client, Controlled
from tests.unit.testing.leaks import nothing_left

TOKEN = "a long secret"


def test_without_a_token_no_web_page_is_answered(http: Client) -> None:
    assert http.send("POST", "/reset", Origin="http://evil.example").error == (403, "WEB_PAGE")
    assert http.send("GET", "/topics", Host="evil.example:80").error == (403, "UNKNOWN_HOST")
    for host in ("localhost", "localhost:1", "127.0.0.1:1", "[::1]:1"):
        assert http.send("GET", "/topics", Host=host).status == 200


def test_with_a_token_only_who_has_it_is_answered(controlled: Controlled) -> None:
    with ControlServer(controlled.kafka._running, "127.0.0.1", 0, TOKEN) as server:
        stranger, friend = Client(server.port), Client(server.port, TOKEN)
        answer = stranger.get("/topics")
        assert answer.error == (401, "NO_TOKEN")
        assert answer.headers["www-authenticate"] == "Bearer"
        for wrong in (f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x", "Bearer \xe9", TOKEN):
            assert stranger.send("GET", "/openapi.json", Authorization=wrong).status == 401
        assert stranger.get("/health").json["status"] == "ok"
        assert friend.get("/topics").status == 200
        assert friend.send("GET", "/topics", Host="kafka.example", Origin="http://a").status == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "headers", "error", "text"),
    [
        ("GET", "/nowhere", None, {}, (404, "NO_OPERATION"), "/openapi.json"),
        ("PUT", "/topics", b"{}", {}, (405, "NO_OPERATION"), "/openapi.json"),
        ("GET", "/topics?x=1", None, {}, (400, "BAD_PARAMETER"), "there is no 'x' here"),
        (
            "GET",
            "/topics/t/records?partition=a",
            None,
            {},
            (400, "BAD_PARAMETER"),
            "partition has to be of type integer",
        ),
        ("GET", "/topics/t/records?partition=-1", None, {}, (400, "BAD_REQUEST"), "partition has to be from 0"),
        ("GET", "/topics/t/records?encoding=x", None, {}, (400, "BAD_REQUEST"), "one of text, base64, json"),
        ("GET", "/requests?failed=1", None, {}, (400, "BAD_PARAMETER"), "failed has to be of type boolean"),
        ("POST", "/topics", b"", {}, (400, "BAD_BODY"), "no JSON"),
        ("POST", "/topics", b"{}", {"Content_Type": "text/plain"}, (415, "NOT_JSON"), "application/json"),
        ("POST", "/topics", b"{", {}, (400, "BAD_BODY"), "no JSON"),
        ("POST", "/topics", b"\xff", {}, (400, "BAD_BODY"), "no JSON"),
        ("POST", "/topics", b"[" * 100_000, {}, (400, "BAD_BODY"), "no JSON"),
        ("POST", "/topics", b"[]", {}, (400, "BAD_REQUEST"), "the body has to be of type object"),
        ("POST", "/topics", b"{}", {}, (400, "BAD_REQUEST"), "the body needs 'name'"),
        ("POST", "/topics", b'{"name": "t", "partition": 1}', {}, (400, "BAD_REQUEST"), "knows no 'partition'"),
        (
            "POST",
            "/topics",
            b'{"name": "t", "partitions": true}',
            {},
            (400, "BAD_REQUEST"),
            "partitions has to be of type",
        ),
        ("POST", "/topics", b'{"name": "t", "partitions": 0}', {}, (400, "BAD_REQUEST"), "from 1 to"),
        ("POST", "/topics/t/records", b'{"records": []}', {}, (400, "BAD_REQUEST"), "a length from 1"),
        ("POST", "/clock/advance", b'{"ms": 1e999}', {}, (400, "BAD_REQUEST"), "has to be a number"),
        ("POST", "/clock/advance", b'{"ms": NaN}', {}, (400, "BAD_BODY"), "no JSON"),
        ("POST", "/reset", b"{}", {}, (400, "BAD_BODY"), "takes no body"),
    ],
)
def test_what_makes_no_sense_is_told(
    http: Client, method: str, path: str, body: bytes | None, headers: dict[str, str], error: tuple[int, str], text: str
) -> None:
    answer = http.send(method, path, body, **headers)
    assert answer.error == error
    assert text in answer.json["error"]["message"]
    assert http.get("/topics").json == {}


def test_a_path_says_which_methods_it_has(http: Client) -> None:
    answer = http.send("PUT", "/faults", b"{}")
    assert set(answer.headers["allow"].split(", ")) - {"HEAD"} == {"GET", "POST", "DELETE"}
    assert http.send("HEAD", "/faults").status == 200


def test_a_body_has_a_limit(http: Client) -> None:
    # The answer comes before all of it was read: then a sender may find the connection closed.
    with socket.create_connection(("127.0.0.1", http.port), 30) as sock:
        sock.sendall(b"POST /topics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000000\r\n\r\n")
        sock.sendall(bytes(MAX_BODY_BYTES + 1))
        assert sock.recv(100).startswith(b"HTTP/1.1 413")
    assert http.get("/topics").json == {}


def test_bytes_that_are_no_http_cost_their_connection_only(http: Client) -> None:
    for junk in (
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"x: " + b"y" * 100_000,
        b"POST /reset HTTP/1.1\r\n",
    ):
        with socket.create_connection(("127.0.0.1", http.port), 30) as sock:
            sock.sendall(junk)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(4096):
                pass
    assert http.get("/topics").json == {}


def test_what_is_unforeseen_is_an_answer_too(http: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(_cluster: object) -> None:
        raise ArithmeticError("no")

    monkeypatch.setattr(node_controls, "clock_state", fail)
    assert http.get("/clock").error == (500, "FAILED")
    monkeypatch.undo()
    assert http.get("/clock").status == 200


def test_no_nodes_are_told_of() -> None:
    kafka = EmbeddedKafka()
    with ControlServer(kafka._running, "127.0.0.1", 0) as server:
        client = Client(server.port)
        assert client.get("/health").error == (503, "NOT_RUNNING")
        with kafka:
            assert client.get("/health").status == 200
        assert client.get("/health").error == (503, "NOT_RUNNING")


def wait_in_vain(client: Client) -> None:
    with contextlib.suppress(OSError, HTTPException):
        client.get("/topics/t/records", wait_for=1)


def test_a_server_leaves_nothing_and_holds_up_nobody_who_stops() -> None:
    with EmbeddedKafka(topics=["t"]) as kafka:
        with ControlServer(kafka._running, "127.0.0.1", 0) as server:
            Client(server.port).get("/topics")
        with nothing_left():
            with ControlServer(kafka._running, "127.0.0.1", 0) as server:
                client = Client(server.port)
                waiting = threading.Thread(target=wait_in_vain, args=[client])
                assert client.get("/topics").json == {"t": 1}
                waiting.start()
                client.get("/topics")
            waiting.join(30)
            assert not waiting.is_alive()
        assert kafka.clock.now_ms > 0


def test_the_description_says_what_there_is(http: Client) -> None:
    document = http.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    assert document["paths"]["/topics/{topic}/records"]["post"]["operationId"] == "produce"
    text = json.dumps(document)
    for name in document["components"]["schemas"]:
        assert f'"#/components/schemas/{name}"' in text, "nobody uses it"
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    tags = {each["name"] for each in document["tags"]}
    assert {tag for each in operations for tag in each["tags"]} == tags
