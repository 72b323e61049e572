"""Two brokers that are asked to produce the same, one the short way and one the long way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from odradek.broker.api.plain_produce import PlainProduceApi
from odradek.broker.api.produce import ProduceApi
from odradek.ports import Promise, Turns
from odradek.ports.network import Outcome, Reply, UniformReplies
from odradek.security.acl import AllowAll
from odradek.server.dispatcher import Dispatcher
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import erase
from odradek.server.lane import Lane
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.messages.headers import RequestHeader
from odradek.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData
from odradek.wire.records.batch import build_batch
from odradek.wire.records.record import Record
from tests.unit.broker.scene import CONNECTION, Scene
from tests.unit.storage.support import stored_batches

TIME_MS = 1_700_000_000_000
PLAIN_VERSIONS = (9, 12, 13)


def batch(count: int = 3, **fields: int | bool) -> bytes:
    return build_batch([Record(index, TIME_MS, None, b"v%d" % index) for index in range(count)], **fields)  # type: ignore[arg-type] # whatever the case needs


class Broker:
    """Topics `t` (also replicated elsewhere: `r`; stamped by the broker: `s`), asked the short or the long way."""

    def __init__(self, *, takes_the_short_way: bool) -> None:
        self.scene = scene = Scene()
        self.ids = {
            "t": scene.create_topic("t", partitions=2),
            "s": scene.create_topic("s", config={"message.timestamp.type": "LogAppendTime"}),
            "small": scene.create_topic("small", config={"max.message.bytes": "80"}),
            "rolling": scene.create_topic("rolling", config={"segment.bytes": "1048576"}),
            "elsewhere": scene.create_topic("elsewhere", leader=2),
            "__consumer_offsets": scene.create_topic("__consumer_offsets"),
            "unknown": bytes(15) + b"?",
        }
        handler = ProduceApi(scene.replicas, scene.admission, scene.verifier).handler()
        assert handler.plain is not None
        self.plain_answers: list[Reply | None] = []
        plain = PlainProduceApi(scene.replicas, scene.admission)

        def counted(version: int, correlation_id: int, frame: memoryview, body_at: int) -> Reply | None:
            answer = plain.answer(version, correlation_id, frame, body_at)
            self.plain_answers.append(answer)
            return answer

        handler = replace(handler, plain=counted if takes_the_short_way else None)
        self._dispatcher = Dispatcher(
            HandlerTable([erase(handler)]), AllowAll(), Turns(scene.world, scene.world), Lane()
        )
        self.runs = self._dispatcher.runs
        self.connection = CONNECTION

    def send(self, frame: bytes) -> bytes | Outcome | None:
        """The reply's bytes; None while it is not there."""
        reply = self._dispatcher.handle(CONNECTION, memoryview(bytearray(frame)))
        if isinstance(reply, Promise):
            return None
        return joined(reply)

    def send_together(self, frames: Sequence[bytes]) -> tuple[list[bytes | Outcome | None], int]:
        """The replies to frames that arrive together, and how many were answered together."""
        answered = self._dispatcher.handle_run(CONNECTION, [memoryview(bytearray(frame)) for frame in frames])
        replies: list[bytes | Outcome | None] = [joined(reply) for reply in answered]
        return replies + [self.send(frame) for frame in frames[len(replies) :]], len(replies)

    def send_stretch(self, frames: Sequence[bytes]) -> tuple[list[bytes | Outcome | None], list[int]]:
        """The replies to frames that lie behind each other, and how many were answered together as of one form.

        As in the network's reading, what is not answered so is handled one by one.
        """
        replies: list[bytes | Outcome | None] = []
        together: list[int] = []
        while len(replies) < len(frames):
            left = frames[len(replies) :]
            count = next((at for at, each in enumerate(left) if len(each) != len(left[0])), len(left))
            stretch = bytearray(b"".join(len(each).to_bytes(4, "big") + each for each in left[:count]))
            answered = None if count == 1 else self.runs.answer_uniform(CONNECTION, memoryview(stretch))
            if answered is None:
                replies.append(self.send(left[0]))
                continue
            together.append(answered.requests)
            replies += _unframed(answered)
        return replies, together

    def log_of(self, topic: str) -> list[tuple[int, bytes]]:
        log = self.scene.replicas.partition(TopicPartition(topic, 0)).local_log()
        return [(header.base_offset, bytes(view)) for header, view in stored_batches(log)]


def _unframed(answered: UniformReplies) -> list[bytes | Outcome]:
    """The replies without their lengths."""
    if not answered.framed:
        return [Outcome.NO_REPLY] * answered.requests
    size = len(answered.framed) // answered.requests
    framed = [answered.framed[at : at + size] for at in range(0, len(answered.framed), size)]
    assert [int.from_bytes(each[:4], "big") for each in framed] == [size - 4] * answered.requests
    return [each[4:] for each in framed]


def joined(reply: Reply) -> bytes | Outcome:
    return reply if isinstance(reply, Outcome) else b"".join(bytes(chunk) for chunk in reply)  # type: ignore[arg-type] # no file ranges here


def frame(
    version: int, topics: Sequence[TopicProduceData], *, acks: int = 1, client_id: str | None = "me", rest: bytes = b"",
    transactional_id: str | None = None, timeout_ms: int = 30_000, correlation_id: int = 7,
) -> bytes:  # fmt: skip
    header = RequestHeader(
        request_api_key=0, request_api_version=version, correlation_id=correlation_id, client_id=client_id
    )
    body = ProduceRequest(acks=acks, timeout_ms=timeout_ms, topic_data=list(topics), transactional_id=transactional_id)
    return header.encode(2 if version >= 9 else 1) + body.encode(version) + rest


def data(broker: Broker, topic: str, records: bytes | None, *, index: int = 0) -> TopicProduceData:
    return TopicProduceData(
        name=topic, topic_id=broker.ids[topic], partition_data=[PartitionProduceData(index=index, records=records)]
    )


def both(
    short: Broker, long: Broker, version: int, topic: str, records: bytes | None, *, index: int = 0, **more: int | str
) -> bytes | Outcome | None:
    """Send it to both, and see that they answer and store the same; returns the answer."""
    mine, theirs = (
        broker.send(
            frame(version, [data(broker, topic, records, index=index)], **more)  # type: ignore[arg-type] # acks and so on
        )
        for broker in (short, long)
    )
    assert mine == theirs
    return mine
