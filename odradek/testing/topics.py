"""`EmbeddedKafka.topic`: a topic as the nodes have it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar, overload

from odradek.broker.replication.partition import Isolation
from odradek.testing.host import Host
from odradek.testing.inspection import find_topic, readable_offsets, stored_partitions
from odradek.testing.records import Records, decoded
from odradek.testing.states import PartitionInfo, TopicInfo
from odradek.testing.waiting import TIMEOUT_S, Wait, block, give_way, now, until
from odradek.wire.errors import ErrorCode, KafkaError

K = TypeVar("K")
V = TypeVar("V")

IsolationLevel = Literal["read_committed", "read_uncommitted"]
"""Whether records of transactions are seen before these are committed, and although they are aborted."""
Decoder = Callable[[bytes], V]

ISOLATIONS = {"read_committed": Isolation.READ_COMMITTED, "read_uncommitted": Isolation.READ_UNCOMMITTED}
_SHOWN = 5


class EmbeddedTopic:
    """A topic of an `EmbeddedKafka`, which need not exist yet. Each use looks anew, without a client.

    RuntimeError while no nodes run, and but for `exists` and waiting KafkaError UNKNOWN_TOPIC_OR_PARTITION while the
    topic does not exist.
    """

    def __init__(self, host: Callable[[], Host], name: str) -> None:
        self._host = host
        self.name = name

    @property
    def exists(self) -> bool:
        """Whether there is such a topic."""
        return self._find() is not None

    @property
    def topic_id(self) -> str:
        """The id that it has until it is deleted."""
        return self.describe().topic_id

    @property
    def partitions(self) -> Sequence[PartitionInfo]:
        """Its partitions, by number: leader, ISR, high watermark and more."""
        return self.describe().partitions

    @property
    def config(self) -> Mapping[str, str | None]:
        """All its properties by name, with the nodes' defaults where it has none of its own."""
        return self.describe().config

    def describe(self) -> TopicInfo:
        """All of these, as they were at one moment."""
        found = self._find()
        if found is None:
            raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, f"there is no topic {self.name}")
        return found

    @overload
    def records(
        self, *, partition: int | None = None, isolation_level: IsolationLevel = "read_committed"
    ) -> Records[bytes | None, bytes | None]: ...
    @overload
    def records(
        self, *, value: Decoder[V], partition: int | None = None, isolation_level: IsolationLevel = "read_committed"
    ) -> Records[bytes | None, V | None]: ...
    @overload
    def records(
        self, *, key: Decoder[K], partition: int | None = None, isolation_level: IsolationLevel = "read_committed"
    ) -> Records[K | None, bytes | None]: ...
    @overload
    def records(
        self,
        *,
        key: Decoder[K],
        value: Decoder[V],
        partition: int | None = None,
        isolation_level: IsolationLevel = "read_committed",
    ) -> Records[K | None, V | None]: ...
    def records(
        self,
        *,
        key: Decoder[Any] | None = None,
        value: Decoder[Any] | None = None,
        partition: int | None = None,
        isolation_level: IsolationLevel = "read_committed",
    ) -> Records[Any, Any]:
        """All records that a consumer could read now, of all partitions one behind the other, or of one.

        `key` and `value` make something of the bytes, such as `bytes.decode` or `json.loads`; null stays None.
        """
        return now(self._records(block, key, value, partition, isolation_level))

    @overload
    def values(
        self, *, partition: int | None = None, isolation_level: IsolationLevel = "read_committed"
    ) -> list[bytes | None]: ...
    @overload
    def values(
        self, decode: Decoder[V], *, partition: int | None = None, isolation_level: IsolationLevel = "read_committed"
    ) -> list[V | None]: ...
    def values(
        self,
        decode: Decoder[Any] | None = None,
        *,
        partition: int | None = None,
        isolation_level: IsolationLevel = "read_committed",
    ) -> list[Any]:
        """The values of `records`."""
        found: Records[Any, Any] = now(self._records(block, None, decode, partition, isolation_level))
        return [record.value for record in found]

    def wait_for_records(
        self,
        count: int = 1,
        *,
        partition: int | None = None,
        isolation_level: IsolationLevel = "read_committed",
        timeout_s: float = TIMEOUT_S,
    ) -> Records[bytes | None, bytes | None]:
        """Wait until there are so many records, or more; returns all of them. Raises WaitTimeoutError.

        The topic may come meanwhile, too.
        """
        return now(self._wait_for(block, count, partition, isolation_level, timeout_s))

    async def wait_for_records_async(
        self,
        count: int = 1,
        *,
        partition: int | None = None,
        isolation_level: IsolationLevel = "read_committed",
        timeout_s: float = TIMEOUT_S,
    ) -> Records[bytes | None, bytes | None]:
        """As `wait_for_records`, while the caller's event loop goes on."""
        return await self._wait_for(give_way, count, partition, isolation_level, timeout_s)

    def __repr__(self) -> str:
        return f"<EmbeddedTopic {self.name}>"

    def _find(self) -> TopicInfo | None:
        return self._host().call(find_topic, self.name).result()

    async def _records(
        self,
        wait: Wait,
        key: Decoder[K] | None,
        value: Decoder[V] | None,
        partition: int | None,
        isolation_level: IsolationLevel,
    ) -> Records[K | None, V | None]:
        isolation = _isolation(isolation_level)
        return decoded(await wait(self._host().call(stored_partitions, self.name, partition, isolation)), key, value)

    async def _wait_for(
        self, wait: Wait, count: int, partition: int | None, isolation_level: IsolationLevel, timeout_s: float
    ) -> Records[bytes | None, bytes | None]:
        isolation = _isolation(isolation_level)

        async def look() -> Records[bytes | None, bytes | None] | None:
            """Nothing is read before there can be enough of it."""
            offsets = await wait(self._host().call(readable_offsets, self.name, partition, isolation))
            return None if offsets < count else await self._records(wait, None, None, partition, isolation_level)

        def is_there(found: Records[bytes | None, bytes | None] | None) -> bool:
            return found is not None and len(found) >= count

        def told(_found: Records[bytes | None, bytes | None] | None) -> str:
            there = self.records(partition=partition, isolation_level=isolation_level)
            shown = "".join(f"\n  {record}" for record in there[-_SHOWN:])
            more = f"\n  ({len(there) - _SHOWN} before these)" if len(there) > _SHOWN else ""
            of = self.name if partition is None else f"{self.name}-{partition}"
            return f"{of} has not {count} records, but {len(there)}{':' if there else ''}{more}{shown}"

        found = await until(self._host(), wait, look, is_there, timeout_s=timeout_s, told=told)
        assert found is not None, "as it is there"
        return found


def _isolation(level: str) -> Isolation:
    if level not in ISOLATIONS:
        raise ValueError(f"{level} is no isolation level; there are {' and '.join(ISOLATIONS)}")
    return ISOLATIONS[level]
