"""Records as tests compare them, and reading them out of batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar, cast

from odradek.wire.records.batch import iter_records
from odradek.wire.records.header import iter_batches
from odradek.wire.records.record import Record as StoredRecord

K = TypeVar("K")
V = TypeVar("V")


class _Anything:
    """Stands for a value that does not matter."""

    def __repr__(self) -> str:
        return "ANYTHING"


ANYTHING: Any = _Anything()
"""What a field of an expected `Record` is that may be anything."""

Headers = Sequence[tuple[str, bytes | None]] | Mapping[str, bytes | None]


@dataclass(frozen=True, eq=False, init=False, repr=False)
class Record(Generic[K, V]):
    """A record of a topic, or what a test expects of one: fields that it does not give may be anything.

    assert kafka.topic("orders").records() == [Record(key=b"1", value=b"new"), Record(value=b"paid")]
    """

    partition: int
    offset: int
    timestamp_ms: int
    """Milliseconds since the Unix epoch: the producer's time, or that of the append, as the topic has it."""
    key: K
    value: V
    headers: tuple[tuple[str, bytes | None], ...]
    """(name, value), in their order."""

    def __init__(
        self,
        *,
        partition: int = ANYTHING,
        offset: int = ANYTHING,
        timestamp_ms: int = ANYTHING,
        key: K = ANYTHING,
        value: V = ANYTHING,
        headers: Headers = ANYTHING,
    ) -> None:
        """`headers` are pairs of name and value, or a dict of them."""
        if headers is not ANYTHING:
            pairs = headers.items() if isinstance(headers, Mapping) else headers
            headers = tuple((name, content) for name, content in pairs)
        for name, given in zip(_FIELDS, (partition, offset, timestamp_ms, key, value, headers), strict=True):
            object.__setattr__(self, name, given)

    def __eq__(self, other: object) -> bool:
        """Whether all fields are equal that neither leaves open."""
        return not self.differences(other) if isinstance(other, Record) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def differences(self, other: Record[Any, Any]) -> list[str]:
        """The names of the fields that are not equal."""
        found = []
        for name in _FIELDS:
            ours, theirs = getattr(self, name), getattr(other, name)
            if ours is not ANYTHING and theirs is not ANYTHING and ours != theirs:
                found.append(name)
        return found

    def __repr__(self) -> str:
        given = ((name, getattr(self, name)) for name in _FIELDS)
        shown = [
            f"{name}={value!r}"
            for name, value in given
            if value is not ANYTHING and not (name == "headers" and value == ())
        ]
        return f"Record({', '.join(shown)})"


_FIELDS = tuple(each.name for each in fields(Record))


class Records(list[Record[K, V]]):
    """Records of one topic, by partition and offset: a list that pytest compares record by record."""


class StoredPartition(NamedTuple):
    """What was read of a partition."""

    partition: int
    start_offset: int
    """The first offset that counts."""
    batches: bytes
    aborted: Sequence[tuple[int, int]]
    """(producer id, first offset) of the transactions to leave out, by first offset."""


def decoded(
    partitions: Sequence[StoredPartition], key: Callable[[bytes], K] | None, value: Callable[[bytes], V] | None
) -> Records[K | None, V | None]:
    """The records of the partitions. None of the functions is asked about null, which stays None.

    What they raise has a note that says about which record.
    """
    found: Records[K | None, V | None] = Records()
    for stored in partitions:
        for record in _visible(stored):
            try:
                found.append(
                    Record(
                        partition=stored.partition,
                        offset=record.offset,
                        timestamp_ms=record.timestamp_ms,
                        key=_read(key, record.key),
                        value=_read(value, record.value),
                        headers=record.headers,
                    )
                )
            except Exception as error:
                error.add_note(f"in the record at offset {record.offset} of partition {stored.partition}")
                raise
    return found


def _read(function: Callable[[bytes], V] | None, data: bytes | None) -> V | None:
    return cast("V | None", data) if function is None or data is None else function(data)


def _visible(stored: StoredPartition) -> Iterator[StoredRecord]:
    """The records that a consumer would get."""
    data = memoryview(stored.batches)
    aborted = list(stored.aborted)
    aborting: dict[int, None] = {}
    """Producers in the middle of a transaction that was aborted."""
    for position, header in iter_batches(data):
        batch = data[position : position + header.size_bytes]
        while aborted and aborted[0][1] <= header.last_offset:
            aborting[aborted.pop(0)[0]] = None
        if header.is_control:
            aborting.pop(header.producer_id, None)  # its marker, for nobody else writes control batches to topics
        elif not (header.is_transactional and header.producer_id in aborting):
            for record in iter_records(batch):
                if record.offset >= stored.start_offset:
                    yield record
