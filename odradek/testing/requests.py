"""`EmbeddedKafka.requests`: what clients have sent, and what they were answered, as messages of the protocol."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Generic, TypeVar, cast, overload

from odradek.testing.cluster import Cluster
from odradek.testing.host import Host
from odradek.testing.request_contents import error_codes_in, topics_in
from odradek.testing.waiting import TIMEOUT_S, Wait, block, give_way, now, until
from odradek.testing.watching import Captured, Selection
from odradek.wire.apis import ApiKey, request_class, response_class, response_header_version
from odradek.wire.errors import ErrorCode, ProtocolError
from odradek.wire.messages.fetch import FetchResponse
from odradek.wire.schema import Message

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)

_CORRELATION_ID_BYTES = 4
_SHOWN = 5


class RecordedRequest(Generic[M]):
    """One request of a client. `message` is what it sent, `response` what it got."""

    def __init__(self, captured: Captured, topic_names: Mapping[bytes, str]) -> None:
        self._captured = captured
        self._topic_names = topic_names
        self._message: M | None = None
        self._response: Message | None = None

    @property
    def number(self) -> int:
        """Counts the requests of all clients to all nodes, in the order in which they came."""
        return self._captured.number

    @property
    def api(self) -> ApiKey:
        """Which API it is of."""
        return self._captured.head.key

    @property
    def version(self) -> int:
        """The version of the API, in which request and response are written."""
        return self._captured.head.version

    @property
    def client_id(self) -> str | None:
        """What the client calls itself; None if it does not."""
        return self._captured.head.client_id

    @property
    def correlation_id(self) -> int:
        """The number that the client gave it."""
        return self._captured.head.correlation_id

    @property
    def node_id(self) -> int:
        """The node that was asked."""
        return self._captured.node_id

    @property
    def connection(self) -> str:
        """The connection that it came through: the same text for all requests of one, and for no others."""
        return self._captured.connection.id

    @property
    def time_ms(self) -> int:
        """When it came, in milliseconds since the Unix epoch."""
        return self._captured.time_ms

    @property
    def duration_ms(self) -> float | None:
        """How many milliseconds its response took; None while there is none."""
        return self._captured.duration_ms

    @property
    def is_answered(self) -> bool:
        """Whether there is a response, or will never be one."""
        return self._captured.duration_ms is not None

    @property
    def message(self) -> M:
        """The request. Raises ProtocolError if it is none, or was too large to be kept."""
        if self._message is None:
            if self._captured.body is None:
                raise ProtocolError("the request was too large to be kept")
            decoded, _ = request_class(self.api).decode_prefix(self._captured.body, self.version)
            self._message = cast("M", decoded)
        return self._message

    @property
    def response(self) -> Message | None:
        """The response: None while there is none, where none is sent, and where the connection was closed instead.

        Records in a Fetch response are left out.
        """
        reply = self._captured.reply
        if self._response is None and reply is not None:
            data = b"".join(part if isinstance(part, bytes) else bytes(part) for part in reply)
            body_at = _CORRELATION_ID_BYTES + response_header_version(self.api, self.version)
            self._response, _ = response_class(self.api).decode_prefix(data, self.version, body_at)
            if isinstance(self._response, FetchResponse):
                for topic in self._response.responses:
                    for partition in topic.partitions:
                        partition.records = None
        return self._response

    @property
    def error_codes(self) -> list[ErrorCode]:
        """The errors in the response, each once; empty if there are none."""
        return [] if self.response is None else error_codes_in(self.response)

    @property
    def topics(self) -> list[str]:
        """The topics that request and response name, each once."""
        named = topics_in(self.message, self._topic_names)
        if self.response is not None:
            named = [*named, *topics_in(self.response, self._topic_names)]
        return list(dict.fromkeys(named))

    def __str__(self) -> str:
        """In one line: when, who, what, of which topics, and how it ended."""
        at = time.strftime("%H:%M:%S", time.localtime(self.time_ms // 1000))
        return f"{at}.{self.time_ms % 1000:03} {self.client_id or '(no client id)'}: {self._what()} -> {self._end()}"

    def __repr__(self) -> str:
        return f"<{self}>"

    def _what(self) -> str:
        try:
            name = type(self.message).__name__.removesuffix("Request")
            topics = self.topics
        except ProtocolError:
            name, topics = self.api.name, []
        return f"{name} v{self.version}" + (f" of {', '.join(topics)}" if topics else "")

    def _end(self) -> str:
        if self._captured.duration_ms is None:
            return "no answer"
        took = f"after {self._captured.duration_ms:.1f} ms"
        if self._captured.outcome is not None:
            return f"{self._captured.outcome.value} {took}"
        try:
            codes = self.error_codes
        except ProtocolError:
            return took
        return f"{', '.join(code.name for code in codes) or 'ok'} {took}"


class Requests(Generic[M]):
    """Those that were recorded, or some of them, oldest first. Each use looks anew; `list(...)` keeps what is there.

    kafka.requests.of(ProduceRequest).from_client("shop").for_topic("orders")
    """

    def __init__(
        self,
        host: Callable[[], Host],
        selection: Selection = Selection(),  # noqa: B008 - a tuple
        conditions: tuple[tuple[str, Callable[[RecordedRequest[Message]], bool]], ...] = (),
    ) -> None:
        """`host` raises RuntimeError while nothing runs; so does whatever asks it."""
        self._host = host
        self._selection = selection
        self._conditions = conditions

    def of(self, kind: type[N]) -> Requests[N]:
        """Those of one API, by the class of its requests in `odradek.wire.messages`."""
        if kind.KIND != "request" or kind.API_KEY is None:
            raise ValueError(f"{kind.__name__} is no request")
        return Requests(self._host, self._selection._replace(api_key=kind.API_KEY), self._conditions)

    def from_client(self, client_id: str) -> Requests[M]:
        """Those of clients that call themselves so (`client.id`)."""
        return Requests(self._host, self._selection._replace(client_id=client_id), self._conditions)

    def for_topic(self, topic: str) -> Requests[M]:
        """Those that name a topic, or are answered with it."""
        return self._with(f"of topic {topic}", lambda request: topic in request.topics)

    def failed(self) -> Requests[M]:
        """Those that were answered with an error."""
        return self._with("that failed", lambda request: bool(request.error_codes))

    def where(self, condition: Callable[[RecordedRequest[M]], bool]) -> Requests[M]:
        """Those for which `condition` is true."""
        return self._with("that are wanted", cast("Callable[[RecordedRequest[Message]], bool]", condition))

    def _with(self, words: str, condition: Callable[[RecordedRequest[Message]], bool]) -> Requests[M]:
        return Requests(self._host, self._selection, (*self._conditions, (words, condition)))

    def __iter__(self) -> Iterator[RecordedRequest[M]]:
        return iter(now(self._look(block)))

    def __len__(self) -> int:
        return len(now(self._look(block)))

    @overload
    def __getitem__(self, index: int) -> RecordedRequest[M]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[RecordedRequest[M]]: ...
    def __getitem__(self, index: int | slice) -> RecordedRequest[M] | Sequence[RecordedRequest[M]]:
        return now(self._look(block))[index]

    def __repr__(self) -> str:
        try:
            found = now(self._look(block))
        except RuntimeError:
            return "<requests of nodes that do not run>"
        return f"<{self._words(found)}>"

    def wait_for(self, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> list[RecordedRequest[M]]:
        """Wait until there are so many of them that are answered; returns all those. Raises WaitTimeoutError."""
        return now(self._wait_for(block, count, timeout_s))

    async def wait_for_async(self, count: int = 1, *, timeout_s: float = TIMEOUT_S) -> list[RecordedRequest[M]]:
        """As `wait_for`, while the caller's event loop goes on."""
        return await self._wait_for(give_way, count, timeout_s)

    def clear(self) -> None:
        """Forget all requests up to now, whichever these are."""
        self._host().call(_clear).result()

    def pause(self) -> None:
        """Record none from now on, whichever these are: then nodes answer a little quicker."""
        self._host().call(_record, False).result()

    def resume(self) -> None:
        """Record requests again."""
        self._host().call(_record, True).result()

    async def _wait_for(self, wait: Wait, count: int, timeout_s: float) -> list[RecordedRequest[M]]:
        seen: list[RecordedRequest[M]] = []
        since = 0

        async def look() -> list[RecordedRequest[M]]:
            """What is answered is not asked for again, for there may be much of it."""
            nonlocal since
            found = await self._recorded(wait, since)
            answered = 0
            while answered < len(found) and found[answered].is_answered:
                answered += 1
            if answered:
                since = found[answered - 1].number + 1
            seen.extend(self._wanted(found[:answered]))
            return [*seen, *self._wanted([request for request in found[answered:] if request.is_answered])]

        def told(found: list[RecordedRequest[M]]) -> str:
            return f"there are not {count}, but {self._words(found)}"

        return await until(self._host(), wait, look, lambda found: len(found) >= count, timeout_s=timeout_s, told=told)

    async def _look(self, wait: Wait) -> list[RecordedRequest[M]]:
        return self._wanted(await self._recorded(wait, 0))

    async def _recorded(self, wait: Wait, since: int) -> list[RecordedRequest[Message]]:
        """By API and client, from a number on."""
        captured, names = await wait(self._host().call(_recorded, self._selection._replace(since=since)))
        return [RecordedRequest(each, names) for each in captured]

    def _wanted(self, found: list[RecordedRequest[Message]]) -> list[RecordedRequest[M]]:
        """Those that meet all other conditions."""
        for _words, condition in self._conditions:
            found = [each for each in found if _holds(condition, each)]
        return cast("list[RecordedRequest[M]]", found)

    def _words(self, found: Sequence[RecordedRequest[M]]) -> str:
        words = [f"{len(found)} requests"]
        if self._selection.api_key is not None:
            words.append(f"of {request_class(self._selection.api_key).__name__}")
        if self._selection.client_id is not None:
            words.append(f"from client {self._selection.client_id}")
        words += [name for name, _condition in self._conditions]
        shown = "".join(f"\n  {request}" for request in found[-_SHOWN:])
        more = f"\n  ({len(found) - _SHOWN} before these)" if len(found) > _SHOWN else ""
        return " ".join(words) + (":" if found else "") + more + shown


def _holds(condition: Callable[[RecordedRequest[Message]], bool], request: RecordedRequest[Message]) -> bool:
    """Whether it is a request that can be read, and the condition holds."""
    try:
        return condition(request)
    except ProtocolError:
        return False


async def _recorded(cluster: Cluster, selection: Selection) -> tuple[list[Captured], dict[bytes, str]]:
    # Copies, for some are yet to be answered.
    return [copy.copy(each) for each in cluster.watch.requests if selection.has(each)], cluster.topic_names()


async def _clear(cluster: Cluster) -> None:
    cluster.watch.clear()


async def _record(cluster: Cluster, wanted: bool) -> None:
    cluster.watch.record(wanted)
