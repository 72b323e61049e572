"""Which brokers have been heard of lately: state that is not in the log, since it is about time."""

from __future__ import annotations

from dataclasses import dataclass

NOT_SHUTTING_DOWN = -1


@dataclass(slots=True)
class BrokerSession:
    """One broker's last heartbeat, and since which offset of the log it is shutting down."""

    last_contact_ms: float
    metadata_offset: int = -1
    shutdown_offset: int = NOT_SHUTTING_DOWN


class BrokerSessions:
    """Sessions by broker id; times are monotonic milliseconds."""

    def __init__(self, session_timeout_ms: int) -> None:
        self._timeout_ms = session_timeout_ms
        self._sessions: dict[int, BrokerSession] = {}

    def touch(self, broker_id: int, now_ms: float, metadata_offset: int = -1) -> BrokerSession:
        """The broker was heard of."""
        session = self._sessions.get(broker_id)
        if session is None:
            session = self._sessions[broker_id] = BrokerSession(now_ms)
        session.last_contact_ms = now_ms
        session.metadata_offset = max(session.metadata_offset, metadata_offset)
        return session

    def get(self, broker_id: int) -> BrokerSession | None:
        """The session of a broker that was heard of since this controller leads."""
        return self._sessions.get(broker_id)

    def remove(self, broker_id: int) -> None:
        """The broker is gone, or registers anew."""
        self._sessions.pop(broker_id, None)

    def is_valid(self, broker_id: int, now_ms: float) -> bool:
        """Whether the broker was heard of within the session time-out."""
        session = self._sessions.get(broker_id)
        return session is not None and now_ms - session.last_contact_ms <= self._timeout_ms

    def lowest_active_offset(self) -> int | None:
        """How far the slowest broker that is not shutting down has followed the metadata; None if there is none."""
        offsets = [each.metadata_offset for each in self._sessions.values() if each.shutdown_offset < 0]
        return min(offsets, default=None)
