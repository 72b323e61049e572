"""Topics that come into being because somebody asked for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from odradek.broker.controller_client import ControllerClient
from odradek.metadata.topic_names import is_internal
from odradek.ports import Promise
from odradek.server.context import RequestContext
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.create_topics import (
    CreatableTopic,
    CreatableTopicConfig,
    CreateTopicsRequest,
    CreateTopicsResponse,
)

_log = logging.getLogger(__name__)

BROKER_DEFAULT = -1
"""Partitions or replicas as the controller's configuration says."""


MAX_LOGGED_NAMES = 5


class TopicCreation:
    """Asks the controller for topics, once per name at a time."""

    def __init__(
        self,
        controller: ControllerClient,
        internal_topic: Callable[[str], CreatableTopic],
        timeout_ms: int,
    ) -> None:
        self._controller = controller
        self._internal_topic = internal_topic
        self._timeout_ms = timeout_ms
        self._in_flight: dict[str, None] = {}

    def create(self, names: Iterable[str], context: RequestContext | None = None) -> None:
        """Start to create the topics that are not being created yet; failures are logged, and asked for again."""
        missing = [name for name in names if name not in self._in_flight]
        if not missing:
            return
        self._in_flight.update(dict.fromkeys(missing))
        request = CreateTopicsRequest(
            topics=[self._topic(name) for name in missing],
            timeout_ms=self._timeout_ms,
        )

        def answered(answer: Promise[CreateTopicsResponse]) -> None:
            for name in missing:
                self._in_flight.pop(name, None)
            if answer.error is not None:
                _refused(missing, str(answer.error))
                return
            refused: dict[str, list[str]] = {}
            for result in answer.result().topics:
                if result.error_code not in (ErrorCode.NONE, ErrorCode.TOPIC_ALREADY_EXISTS):
                    refused.setdefault(result.error_message or "", []).append(result.name)
            for reason, refused_names in refused.items():
                _refused(refused_names, reason)

        self._controller.send(request, CreateTopicsResponse, context).on_done(answered)

    def _topic(self, name: str) -> CreatableTopic:
        if is_internal(name):
            return self._internal_topic(name)
        return CreatableTopic(name=name, num_partitions=BROKER_DEFAULT, replication_factor=BROKER_DEFAULT)


def _refused(names: list[str], reason: str) -> None:
    """Clients choose how many names there are, but not how much is logged."""
    named = ", ".join(names[:MAX_LOGGED_NAMES])
    others = len(names) - MAX_LOGGED_NAMES
    _log.warning("not created: topic %s%s: %s", named, f" and {others} others" if others > 0 else "", reason)


def internal_topic(name: str, partitions: int, replication_factor: int, configs: dict[str, str]) -> CreatableTopic:
    """The request for one of the brokers' own topics."""
    return CreatableTopic(
        name=name,
        num_partitions=partitions,
        replication_factor=replication_factor,
        configs=[CreatableTopicConfig(name=key, value=value) for key, value in configs.items()],
    )
