"""What embedded nodes are asked for."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

from odradek.config import ConfigError
from odradek.config.defaults import OWN_TO_EACH_NODE
from odradek.testing.releases import MaxVersions, offer_of

PropertyValue = str | int | float | bool
"""A property's value: True is written as Kafka writes it."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic to be created. Without a number of replicas it has one on each node, at most three.

    Without a number of partitions it has one.
    """

    name: str
    partitions: int = 1
    replication_factor: int | None = None
    config: Mapping[str, PropertyValue] = field(default_factory=dict)


Topics = str | Iterable[str | Topic] | Mapping[str, int]
"""One name, several names or `Topic`s, or names with their numbers of partitions."""


@dataclass(frozen=True, slots=True)
class Options:
    """All that a host has to know; can be written as JSON."""

    nodes: int
    topics: tuple[Topic, ...]
    config: Mapping[str, str]
    data_dir: str | None
    kafka_defaults: bool
    port: int = 0
    cluster_id: str | None = None
    seed: int = 0
    max_versions: MaxVersions | None = None

    @classmethod
    def of(
        cls,
        nodes: int,
        topics: Topics,
        config: Mapping[str, PropertyValue] | None,
        data_dir: str | os.PathLike[str] | None,
        kafka_defaults: bool,
        port: int = 0,
        cluster_id: str | None = None,
        seed: int = 0,
        max_versions: MaxVersions | None = None,
    ) -> Options:
        """Raises ValueError for a number of nodes below 1 and for versions that are not known.

        Raises ConfigError for a property that each node has its own of.
        """
        if nodes < 1:
            raise ValueError(f"a cluster has at least one node, and not {nodes}")
        if port and nodes > 1:
            raise ValueError(f"one port is not enough for {nodes} nodes")
        if max_versions is not None:
            offer_of(max_versions)
        for name in config or ():
            if name in OWN_TO_EACH_NODE:
                raise ConfigError(name, f"{name}: each embedded node has its own, which is chosen for it")
        return cls(
            nodes,
            tuple(_topics(topics)),
            {name: property_text(value) for name, value in (config or {}).items()},
            None if data_dir is None else os.path.abspath(data_dir),
            kafka_defaults,
            port,
            cluster_id,
            seed,
            max_versions if max_versions is None or isinstance(max_versions, str) else dict(max_versions),
        )

    def to_json(self) -> dict[str, object]:
        """As `from_json` takes it."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: dict[str, object]) -> Options:
        """Of `to_json`, which another process has written."""
        fields = dict(value)
        topics = fields.pop("topics")
        assert isinstance(topics, list)
        return cls(topics=tuple(Topic(**each) for each in topics), **fields)  # type: ignore[arg-type]


def property_text(value: PropertyValue) -> str:
    """A value as it is written in a file of properties."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _topics(topics: Topics) -> Iterable[Topic]:
    if isinstance(topics, str):
        return [Topic(topics)]
    if isinstance(topics, Mapping):
        return [Topic(name, partitions) for name, partitions in topics.items()]
    return [Topic(each) if isinstance(each, str) else each for each in topics]
