"""What producers and consumers of a simulation share: connections, and who leads which partition."""

from __future__ import annotations

from typing import NamedTuple, TypeVar

from odradek.ports import Promise
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.metadata import MetadataRequest, MetadataRequestTopic, MetadataResponse
from odradek.wire.schema import Message
from tests.sim.cluster.channel import Channel, decode_response, encode_request
from tests.sim.cluster.machine import BROKER_PORT
from tests.sim.cluster.network import Network
from tests.sim.cluster.process import Process
from tests.sim.cluster.versions import NONE, highest

Resp = TypeVar("Resp", bound=Message)

RETRY_MS = 100
"""Pause before something that failed is tried again."""
_MAX_BACKOFF = 8
"""How many times longer the pause gets."""


class Leader(NamedTuple):
    """Of a partition, as a client knows it."""

    node_id: int
    epoch: int


class Client:
    """Made of the cluster's node ids; each node is at its well-known address."""

    def __init__(self, network: Network, process: Process, node_ids: list[int], topic: str, timeout_ms: float) -> None:
        self.network = network
        self.process = process
        self.node_ids = node_ids
        self.topic = topic
        self.timeout_ms = timeout_ms
        self.limits = NONE
        """What not all nodes know."""
        self.topic_id = bytes(16)
        self.leaders: dict[int, Leader] = {}
        """By partition; only those that have one."""
        self.random = network.kernel.random(f"client/{process.name}")
        self._channels: dict[int, Channel] = {}
        self._epochs: dict[int, int] = {}
        """The latest leader epoch by partition."""

    def sleep(self, milliseconds: float) -> Promise[None]:
        """Settles later."""
        promise: Promise[None] = Promise()
        self.process.call_later(milliseconds, lambda: promise.resolve(None))
        return promise

    def back_off(self, failures: int) -> Promise[None]:
        """Settles later, the later the more attempts have failed before this one (KIP-580)."""
        return self.sleep(RETRY_MS * min(2**failures, _MAX_BACKOFF))

    def send(self, node_id: int, frame: bytearray, response: type[Resp], version: int) -> Promise[Resp]:
        """A broker's answer to a frame; fails with KafkaError."""
        promise: Promise[Resp] = Promise()

        def answered(data: memoryview | None, code: ErrorCode) -> None:
            if data is None:
                promise.reject(KafkaError(code))
            else:
                promise.resolve(decode_response(data, response, version))

        channel = self._channels.get(node_id)
        if channel is None or not channel.is_open:
            channel = Channel(self.network, self.process, f"node{node_id}", BROKER_PORT)
            self._channels[node_id] = channel
        channel.request(frame, self.timeout_ms, answered)
        return promise

    def ask(self, node_id: int, request: Message, response: type[Resp], version: int | None = None) -> Promise[Resp]:
        """A broker's answer to a request; fails with KafkaError."""
        if version is None:
            key = request.API_KEY
            assert key is not None
            version = highest(key, self.limits)
        return self.send(node_id, encode_request(request, version, self.process.name), response, version)

    def heard_of(self, partition: int, epoch: int) -> None:
        """A partition has had a leader of this epoch: whoever led before is not asked any more (KIP-320)."""
        if epoch > self._epochs.get(partition, -1):
            self._epochs[partition] = epoch
            self.leaders.pop(partition, None)

    def any_node(self) -> int:
        """One of them."""
        return self.node_ids[self.random.randrange(len(self.node_ids))]

    async def refresh(self) -> None:
        """Learn who leads, from whichever broker answers."""
        request = MetadataRequest(topics=[MetadataRequestTopic(name=self.topic)], allow_auto_topic_creation=False)
        failures = 0
        while True:
            try:
                response = await self.ask(self.any_node(), request, MetadataResponse)
            except KafkaError:
                await self.back_off(failures)
                failures += 1
                continue
            (topic,) = response.topics
            if topic.error_code == ErrorCode.NONE:
                self.topic_id = topic.topic_id
                for partition in topic.partitions:
                    # As clients do: what a broker says that has fallen behind is not believed.
                    index, epoch = partition.partition_index, partition.leader_epoch
                    if epoch >= self._epochs.get(index, -1):
                        self._epochs[index] = epoch
                        self.leaders.pop(index, None)
                        if partition.leader_id >= 0:
                            self.leaders[index] = Leader(partition.leader_id, epoch)
                return
            await self.back_off(failures)
            failures += 1
