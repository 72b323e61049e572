"""Telling the controller which log directory holds which replica, so that it knows what fails with one (KIP-858)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping

from odradek.broker.controller_client import ControllerClient
from odradek.ports import Promise, Scheduler
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.assign_replicas_to_dirs import (
    AssignReplicasToDirsRequest,
    AssignReplicasToDirsRequestDirectoryData,
    AssignReplicasToDirsRequestPartitionData,
    AssignReplicasToDirsRequestTopicData,
    AssignReplicasToDirsResponse,
)
from odradek.wire.uuids import Uuid

_log = logging.getLogger(__name__)

MAX_ASSIGNMENTS_PER_REQUEST = 2250
FIRST_RETRY_MS = 100
LAST_RETRY_MS = 10_000

Replica = tuple[Uuid, int]
"""Topic id and partition."""
_GONE = (ErrorCode.UNKNOWN_TOPIC_ID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.NOT_LEADER_OR_FOLLOWER)


class DirectoryAssignments:
    """Collects what the controller does not know yet, and sends it, one request at a time, until it does."""

    def __init__(
        self,
        controller: ControllerClient,
        scheduler: Scheduler,
        broker_id: int,
        broker_epoch: Promise[int],
        current_epoch: Callable[[], int],
        is_supported: Callable[[], bool] = lambda: True,
    ) -> None:
        """`broker_epoch` settles once this broker is registered: nothing is sent before.

        Nor as long as metadata.version does not know of directories (`is_supported`), until `look` says that it may.
        """
        self._controller = controller
        self._scheduler = scheduler
        self._broker_id = broker_id
        self._current_epoch = current_epoch
        self._is_supported = is_supported
        self._ready: dict[Replica, Uuid] = {}
        self._sent: dict[Replica, Uuid] = {}
        self._on_noted: dict[Replica, Callable[[], None]] = {}
        """Whom to tell of each replica's latest assignment."""
        self._is_registered = False
        self._is_scheduled = False
        self._retry_ms = FIRST_RETRY_MS
        broker_epoch.on_done(self._registered)

    def assign(self, replica: Replica, directory: Uuid, on_noted: Callable[[], None] | None = None) -> None:
        """A replica of this broker is in this directory.

        `on_noted` is called once the controller has noted that, unless another is assigned before.
        """
        self._on_noted.pop(replica, None)
        if on_noted is not None:
            self._on_noted[replica] = on_noted
        if self._sent.get(replica) != directory or replica in self._ready:
            self._ready[replica] = directory
            self._schedule(0)

    def look(self) -> None:
        """Send what was held back, if that is supported now."""
        self._schedule(0)

    def _registered(self, epoch: Promise[int]) -> None:
        if epoch.error is None:
            self._is_registered = True
            self._schedule(0)

    def _schedule(self, delay_ms: float) -> None:
        is_idle = not self._sent and not self._is_scheduled
        if self._is_registered and self._ready and is_idle and self._is_supported():
            self._is_scheduled = True
            self._scheduler.call_later(delay_ms, self._send)

    def _send(self) -> None:
        self._is_scheduled = False
        for replica in list(self._ready)[:MAX_ASSIGNMENTS_PER_REQUEST]:
            self._sent[replica] = self._ready.pop(replica)
        request = AssignReplicasToDirsRequest(
            broker_id=self._broker_id, broker_epoch=self._current_epoch(), directories=_by_directory(self._sent)
        )
        self._controller.send(request, AssignReplicasToDirsResponse).on_done(self._answered)

    def _answered(self, answer: Promise[AssignReplicasToDirsResponse]) -> None:
        sent, self._sent = self._sent, {}
        noted: list[Replica] = []
        if answer.error is not None or answer.result().error_code:
            reason = answer.error or ErrorCode(answer.result().error_code).name
            _log.warning("the controller did not note the directories of %d replicas: %s", len(sent), reason)
        else:
            for directory in answer.result().directories:
                for topic in directory.topics:
                    for partition in topic.partitions:
                        replica = topic.topic_id, partition.partition_index
                        if partition.error_code == ErrorCode.NONE:
                            noted.append(replica)
                            sent.pop(replica, None)
                        elif partition.error_code in _GONE:
                            self._on_noted.pop(replica, None)
                            sent.pop(replica, None)
        self._ready = {**sent, **self._ready}
        if not sent:
            self._retry_ms = FIRST_RETRY_MS
            self._schedule(0)
        else:
            self._schedule(self._retry_ms)
            self._retry_ms = min(2 * self._retry_ms, LAST_RETRY_MS)
        self._tell(noted)

    def _tell(self, noted: Iterable[Replica]) -> None:
        for replica in noted:
            if replica in self._on_noted and replica not in self._ready:
                self._on_noted.pop(replica)()


def _by_directory(replicas: Mapping[Replica, Uuid]) -> list[AssignReplicasToDirsRequestDirectoryData]:
    tree: dict[Uuid, dict[Uuid, list[int]]] = {}
    for (topic_id, index), directory in replicas.items():
        tree.setdefault(directory, {}).setdefault(topic_id, []).append(index)
    return [
        AssignReplicasToDirsRequestDirectoryData(
            id=directory,
            topics=[
                AssignReplicasToDirsRequestTopicData(
                    topic_id=topic_id,
                    partitions=[AssignReplicasToDirsRequestPartitionData(partition_index=index) for index in indexes],
                )
                for topic_id, indexes in topics.items()
            ],
        )
        for directory, topics in tree.items()
    ]
