"""Which brokers have been heard of lately: state that is not in the log, since it is about time."""

from __future__ import annotations

from dataclasses import dataclass

NOT_SHUTTING_DOWN = -1
UNKNOWN_OFFSET = -1


@dataclass(slots=True)
class BrokerSession:
    """One broker's last heartbeat in an epoch, and since which offset of the log it is shutting down."""

    broker_epoch: int
    last_contact_ms: float
    metadata_offset: int = UNKNOWN_OFFSET
    shutdown_offset: int = NOT_SHUTTING_DOWN

    @property
    def is_shutting_down(self) -> bool:
        """Whether this controller has begun to take leaderships away from the broker."""
        return self.shutdown_offset != NOT_SHUTTING_DOWN


class BrokerSessions:
    """Sessions by broker id; times are monotonic milliseconds."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._timeout_ms = session_timeout_ms
        self._sessions: dict[int, BrokerSession] = {}

    def touch(
        self, broker_id: int, broker_epoch: int, now_ms: float, metadata_offset: int = UNKNOWN_OFFSET
    ) -> BrokerSession:
        """The broker was heard of."""
        session = self._sessions.get(broker_id)
        if session is None or session.broker_epoch != broker_epoch:
            session = self._sessions[broker_id] = BrokerSession(broker_epoch, now_ms)
        session.last_contact_ms = now_ms
        session.metadata_offset = max(session.metadata_offset, metadata_offset)
        return session

    def remove(self, broker_id: int) -> None:
        """The broker is gone, or registers anew."""
        self._sessions.pop(broker_id, None)

    def is_valid(self, broker_id: int, broker_epoch: int, now_ms: float) -> bool:
        """Whether the broker was heard of within the session time-out."""
        session = self._sessions.get(broker_id)
        if session is None or session.broker_epoch != broker_epoch:
            return False
        return now_ms - session.last_contact_ms <= self._timeout_ms

    def next_end_ms(self, now_ms: float) -> float | None:
        """The first time from now on at which a session ends, unless the broker is heard of; None if there is none."""
        ends = (session.last_contact_ms + self._timeout_ms for session in self._sessions.values())
        return min((end_ms for end_ms in ends if end_ms >= now_ms), default=None)

    def metadata_offset(self, broker_id: int) -> int:
        """How far the broker has followed the metadata; -1 if it has not said so yet."""
        session = self._sessions.get(broker_id)
        return UNKNOWN_OFFSET if session is None else session.metadata_offset
