"""Changes to topics and partitions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from odradek.metadata.image import DIRECTORY_MIGRATING, PartitionImage, TopicImage, TopicsImage
from odradek.metadata.persistent_map import PersistentMap
from odradek.wire.uuids import Uuid

if TYPE_CHECKING:
    from odradek.wire.persistent.metadata.clear_elr_record import ClearElrRecord
    from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
    from odradek.wire.persistent.metadata.partition_record import PartitionRecord
    from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
    from odradek.wire.persistent.metadata.topic_record import TopicRecord

NO_LEADER_CHANGE = -2
NO_RECOVERY_CHANGE = -1


class MetadataError(Exception):
    """A record that cannot follow on the state: the log and this node's understanding of it disagree."""


class _TopicChange:
    __slots__ = ("base", "partitions")

    def __init__(self, base: TopicImage) -> None:
        self.base = base
        self.partitions: dict[int, PartitionImage] = {}

    def partition(self, index: int) -> PartitionImage | None:
        found = self.partitions.get(index)
        return self.base.partitions.get(index) if found is None else found


class TopicsDelta:
    """What becomes of a TopicsImage."""

    def __init__(self, image: TopicsImage) -> None:
        self._image = image
        self._changes: dict[Uuid, _TopicChange] = {}
        self._deleted: dict[Uuid, TopicImage] = {}
        self._new_ids: dict[str, Uuid] = {}

    @property
    def changed(self) -> Iterable[Uuid]:
        """Topics that are new or have changed partitions, in the order of their first change."""
        return self._changes.keys()

    @property
    def deleted(self) -> Iterable[TopicImage]:
        """Topics that were there before and are gone, as they were."""
        return self._deleted.values()

    def changed_partitions(self, topic_id: Uuid) -> Iterable[int]:
        """The partitions of a changed topic that are new or differ."""
        return self._changes[topic_id].partitions.keys()

    def name_of(self, topic_id: Uuid) -> str | None:
        """The name of a topic that exists now."""
        change = self._changes.get(topic_id)
        if change is not None:
            return change.base.name
        topic = None if topic_id in self._deleted else self._image.by_id.get(topic_id)
        return None if topic is None else topic.name

    def topic(self, record: TopicRecord) -> None:
        """Replay TopicRecord."""
        if self.name_of(record.topic_id) is not None or self._id_of(record.name) is not None:
            raise MetadataError(f"topic {record.name} with id {record.topic_id.hex()} is there already")
        self._changes[record.topic_id] = _TopicChange(TopicImage(record.name, record.topic_id, PersistentMap()))
        self._new_ids[record.name] = record.topic_id

    def partition(self, record: PartitionRecord) -> None:
        """Replay PartitionRecord."""
        self._change(record.topic_id).partitions[record.partition_id] = partition_image(record)

    def partition_change(self, record: PartitionChangeRecord) -> None:
        """Replay PartitionChangeRecord."""
        change = self._change(record.topic_id)
        before = change.partition(record.partition_id)
        if before is None:
            raise MetadataError(f"change of unknown partition {change.base.name}-{record.partition_id}")
        change.partitions[record.partition_id] = merged(before, record)

    def remove(self, record: RemoveTopicRecord) -> str:
        """Replay RemoveTopicRecord; returns the topic's name."""
        change = self._changes.pop(record.topic_id, None)
        before = None if record.topic_id in self._deleted else self._image.by_id.get(record.topic_id)
        if before is not None:
            self._deleted[record.topic_id] = before
            return before.name
        if change is None:
            raise MetadataError(f"removal of unknown topic {record.topic_id.hex()}")
        del self._new_ids[change.base.name]
        return change.base.name

    def clear_elr(self, record: ClearElrRecord) -> None:
        """Replay ClearElrRecord: of one topic, or of all if it names none."""
        topics = list(self._image.by_id.values())
        topics += [change.base for change in self._changes.values() if change.base.id not in self._image.by_id]
        for topic in topics:
            if topic.id in self._deleted or (record.topic_name and topic.name != record.topic_name):
                continue
            change = self._change(topic.id)
            for index in sorted({*topic.partitions, *change.partitions}):
                partition = change.partition(index)
                if partition is not None and (partition.elr or partition.last_known_elr):
                    epoch = partition.partition_epoch + 1
                    change.partitions[index] = partition._replace(elr=(), last_known_elr=(), partition_epoch=epoch)

    def apply(self) -> TopicsImage:
        """The image after the changes."""
        put = [
            change.base._replace(partitions=change.base.partitions.changed(change.partitions))
            for change in self._changes.values()
        ]
        return TopicsImage(
            by_name=self._image.by_name.changed(
                {topic.name: topic for topic in put}, [topic.name for topic in self._deleted.values()]
            ),
            by_id=self._image.by_id.changed({topic.id: topic for topic in put}, self._deleted),
        )

    def _id_of(self, name: str) -> Uuid | None:
        before = self._image.by_name.get(name)
        if before is not None and before.id not in self._deleted:
            return before.id
        return self._new_ids.get(name)

    def _change(self, topic_id: Uuid) -> _TopicChange:
        change = self._changes.get(topic_id)
        if change is None:
            topic = None if topic_id in self._deleted else self._image.by_id.get(topic_id)
            if topic is None:
                raise MetadataError(f"partition record of unknown topic {topic_id.hex()}")
            change = self._changes[topic_id] = _TopicChange(topic)
        return change


def partition_image(record: PartitionRecord) -> PartitionImage:
    """What a PartitionRecord says."""
    return PartitionImage(
        replicas=tuple(record.replicas),
        isr=tuple(record.isr),
        leader=record.leader,
        leader_epoch=record.leader_epoch,
        partition_epoch=record.partition_epoch,
        directories=_directories(record.directories, len(record.replicas)),
        elr=tuple(record.eligible_leader_replicas or ()),
        last_known_elr=tuple(record.last_known_elr or ()),
        adding=tuple(record.adding_replicas),
        removing=tuple(record.removing_replicas),
        recovery_state=record.leader_recovery_state,
    )


def merged(before: PartitionImage, record: PartitionChangeRecord) -> PartitionImage:
    """The partition after a PartitionChangeRecord: each field that is set replaces; a named leader is a new epoch."""
    replicas = before.replicas if record.replicas is None else tuple(record.replicas)
    directories = before.directories if record.directories is None else tuple(record.directories)
    same_leader = record.leader == NO_LEADER_CHANGE
    same_recovery = record.leader_recovery_state == NO_RECOVERY_CHANGE
    elr, last_known_elr = record.eligible_leader_replicas, record.last_known_elr
    return PartitionImage(
        replicas=replicas,
        isr=before.isr if record.isr is None else tuple(record.isr),
        leader=before.leader if same_leader else record.leader,
        leader_epoch=before.leader_epoch + (not same_leader),
        partition_epoch=before.partition_epoch + 1,
        directories=_directories(directories, len(replicas)),
        elr=before.elr if elr is None else tuple(elr),
        last_known_elr=before.last_known_elr if last_known_elr is None else tuple(last_known_elr),
        adding=before.adding if record.adding_replicas is None else tuple(record.adding_replicas),
        removing=before.removing if record.removing_replicas is None else tuple(record.removing_replicas),
        recovery_state=before.recovery_state if same_recovery else record.leader_recovery_state,
    )


def _directories(directories: Iterable[Uuid], replicas: int) -> tuple[Uuid, ...]:
    found = tuple(directories)
    if found.count(DIRECTORY_MIGRATING) == len(found):
        return (DIRECTORY_MIGRATING,) * replicas
    if len(found) != replicas:
        raise MetadataError(f"{len(found)} directories for {replicas} replicas")
    return found
