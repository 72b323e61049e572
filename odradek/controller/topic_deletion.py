"""DeleteTopics: topics by name or by id (KIP-516)."""

from __future__ import annotations

from odradek.controller.result import ControllerResult
from odradek.controller.state import ControllerState
from odradek.controller.topics import Allowed, check_size, repeated
from odradek.metadata.snapshot import VersionedRecord
from odradek.wire.errors import ErrorCode, KafkaError
from odradek.wire.messages.delete_topics import (
    DeletableTopicResult,
    DeleteTopicsRequest,
    DeleteTopicsResponse,
    DeleteTopicState,
)
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from odradek.wire.uuids import ZERO_UUID, Uuid

FIRST_WITH_DISABLED_ERROR = 3
"""Before, TOPIC_DELETION_DISABLED was not known to clients."""


def delete_topics(
    state: ControllerState, request: DeleteTopicsRequest, version: int, may_delete: Allowed, may_describe: Allowed
) -> ControllerResult[DeleteTopicsResponse]:
    """Each topic is deleted, or not, by itself."""
    if not state.config.bool_("delete.topic.enable"):
        if version < FIRST_WITH_DISABLED_ERROR:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Topic deletion is disabled.")
        raise KafkaError(ErrorCode.TOPIC_DELETION_DISABLED)
    deletion = _Deletion(state, may_delete, may_describe)
    wanted = [*(DeleteTopicState(name=name) for name in request.topic_names), *request.topics]
    names, ids = deletion.sort_out(wanted)
    for topic_id in ids:
        deletion.by_id(topic_id)
    for name in names:
        deletion.by_name(name)
    records = [VersionedRecord(RemoveTopicRecord(topic_id=topic_id), 0) for topic_id in deletion.deleted]
    check_size(records)
    for topic_id, name in deletion.deleted.items():
        deletion.answers.append(DeletableTopicResult(name=name, topic_id=topic_id))
    return ControllerResult(DeleteTopicsResponse(responses=deletion.answers), records)


class _Deletion:
    def __init__(self, state: ControllerState, may_delete: Allowed, may_describe: Allowed) -> None:
        self._topics = state.image.topics
        self._may_delete = may_delete
        self._may_describe = may_describe
        self.answers: list[DeletableTopicResult] = []
        self.deleted: dict[Uuid, str] = {}
        self._repeated_ids: dict[Uuid, None] = {}

    def sort_out(self, wanted: list[DeleteTopicState]) -> tuple[list[str], list[Uuid]]:
        """The names and ids that are asked for once; answers what is neither, both or repeated."""
        names: list[str] = []
        ids: list[Uuid] = []
        for topic in wanted:
            if topic.name is None and topic.topic_id == ZERO_UUID:
                self._refuse(None, ZERO_UUID, ErrorCode.INVALID_REQUEST, "Neither topic name nor id were specified.")
            elif topic.name is None:
                ids.append(topic.topic_id)
            elif topic.topic_id == ZERO_UUID:
                names.append(topic.name)
            else:
                self._refuse(
                    topic.name,
                    topic.topic_id,
                    ErrorCode.INVALID_REQUEST,
                    "You may not specify both topic name and topic id.",
                )
        twice = repeated(names)
        for name in twice:
            self._refuse(name, ZERO_UUID, ErrorCode.INVALID_REQUEST, "Duplicate topic name.")
        seen: dict[Uuid, None] = {}
        for topic_id in ids:
            (self._repeated_ids if topic_id in seen else seen)[topic_id] = None
        for topic_id in self._repeated_ids:
            self._refuse(None, topic_id, ErrorCode.INVALID_REQUEST, "Duplicate topic id.")
        return (
            [name for name in names if name not in twice],
            [topic_id for topic_id in seen if topic_id not in self._repeated_ids],
        )

    def by_id(self, topic_id: Uuid) -> None:
        """Delete the topic with this id."""
        topic = self._topics.by_id.get(topic_id)
        if topic is None:
            self._refuse(None, topic_id, ErrorCode.UNKNOWN_TOPIC_ID)
        elif self._may_delete(topic.name):
            self.deleted[topic_id] = topic.name
        else:
            shown = topic.name if self._may_describe(topic.name) else None
            self._refuse(shown, topic_id, ErrorCode.TOPIC_AUTHORIZATION_FAILED)

    def by_name(self, name: str) -> None:
        """Delete the topic with this name; whether it exists is told only to those who may know."""
        topic = self._topics.by_name.get(name)
        if not self._may_describe(name):
            self._refuse(name, ZERO_UUID, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        elif topic is None:
            self._refuse(name, ZERO_UUID, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION)
        elif not self._may_delete(name):
            self._refuse(name, ZERO_UUID, ErrorCode.TOPIC_AUTHORIZATION_FAILED)
        elif topic.id in self._repeated_ids or topic.id in self.deleted:
            self._repeated_ids[topic.id] = None
            self.deleted.pop(topic.id, None)
            self._refuse(
                name,
                topic.id,
                ErrorCode.INVALID_REQUEST,
                "The provided topic name maps to an ID that was already supplied.",
            )
        else:
            self.deleted[topic.id] = name

    def _refuse(self, name: str | None, topic_id: Uuid, code: ErrorCode, message: str | None = None) -> None:
        self.answers.append(
            DeletableTopicResult(name=name, topic_id=topic_id, error_code=code, error_message=message or code.message)
        )
