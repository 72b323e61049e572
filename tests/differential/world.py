"""What a sequence of requests knows of its own topics, producers and groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from odradek.wire.schema import Message

NO_UUID = bytes(16)


@dataclass
class Topic:
    """A name that the sequence uses, whether the topic exists or not. ``topic_id`` is Odradek's."""

    name: str
    topic_id: bytes = NO_UUID
    partitions: int = 0

    @property
    def exists(self) -> bool:
        return self.partitions > 0

    @property
    def wire_id(self) -> bytes:
        """Its id, or one that no topic has. Not zero: several partitions of that make Kafka throw."""
        return self.topic_id if self.exists else f"no id: {self.name}".encode()[-16:].rjust(16, b" ")


@dataclass
class Producer:
    """A producer id of Odradek's with its epoch, and the next sequence number by topic and partition."""

    transactional_id: str | None
    producer_id: int = -1
    epoch: int = -1
    sequences: dict[tuple[str, int], int] = field(default_factory=dict)
    sent: list[tuple[str, int, bytes]] = field(default_factory=list)


@dataclass
class Member:
    """A member of a group, with a channel of its own, since JoinGroup is answered late."""

    group: str
    channel: str
    member_id: str = ""
    instance: str | None = None
    epoch: int = -1
    is_joining: bool = False
    owned: dict[bytes, list[int]] = field(default_factory=dict)
    joins: int = 0


@dataclass
class Session:
    """A fetch session by Odradek's id."""

    session_id: int = 0
    epoch: int = 0
    channel: str = "main"


@dataclass
class Step:
    """One request, the version it goes in (None: any that can carry it), and what to note when it is answered."""

    request: Message
    version: int | None = None
    then: Callable[[Message], None] | None = None
    channel: str = "main"
    may_wait: bool = False
    changes_metadata: bool = False
    ends_transaction: str | None = None


@dataclass
class World:
    """The state of one sequence."""

    prefix: str
    topics: list[Topic]
    groups: list[str]
    transactional_ids: list[str]
    producers: list[Producer] = field(default_factory=list)
    members: list[Member] = field(default_factory=list)
    consumers: list[Member] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    users: list[str] = field(default_factory=list)

    @property
    def nobody(self) -> str:
        """A name that nothing has."""
        return f"{self.prefix}-nobody"

    def topic(self, random: Random) -> Topic:
        """Mostly one that exists."""
        existing = [topic for topic in self.topics if topic.exists]
        return random.choice(existing if existing and random.random() < 0.92 else self.topics)

    def partition(self, topic: Topic, random: Random) -> int:
        """Mostly one that exists."""
        return random.randrange(max(topic.partitions, 1)) if random.random() < 0.95 else random.choice((-1, 7))

    def named(self, name: str | None) -> Topic | None:
        """The sequence's topic of this name."""
        return next((topic for topic in self.topics if topic.name == name), None)


def new_world(prefix: str) -> World:
    """Names that no other sequence uses."""
    return World(
        prefix,
        topics=[Topic(f"{prefix}-t{number}") for number in range(4)],
        groups=[f"{prefix}-g{number}" for number in range(3)],
        transactional_ids=[f"{prefix}-x{number}" for number in range(2)],
        users=[f"{prefix}-u{number}" for number in range(2)],
    )
