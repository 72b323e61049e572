"""What a leader knows of one follower (KIP-16, KIP-903)."""

from __future__ import annotations

from odradek.wire.errors import ErrorCode, KafkaError

UNKNOWN_OFFSET = -1
UNKNOWN_EPOCH = -1
_NEVER = float("-inf")


class FollowerProgress:
    """How far a follower has come, by its fetches. Times are monotonic milliseconds."""

    __slots__ = (
        "broker_epoch", "broker_id", "last_caught_up_ms", "last_fetch_leader_end_offset", "last_fetch_ms",
        "log_end_offset", "log_start_offset",
    )  # fmt: skip

    def __init__(self, broker_id: int) -> None:
        self.broker_id = broker_id
        self.log_end_offset = UNKNOWN_OFFSET
        self.log_start_offset = UNKNOWN_OFFSET
        self.last_fetch_leader_end_offset = UNKNOWN_OFFSET
        """Where the leader's log ended when the follower fetched last."""
        self.last_fetch_ms = _NEVER
        self.last_caught_up_ms = _NEVER
        """The latest time at which it had all that the leader had then."""
        self.broker_epoch: int | None = None
        """That of its last fetch; -1 where the fetch had none, None before the first."""

    def fetched(
        self, offset: int, log_start_offset: int, now_ms: float, leader_end_offset: int, broker_epoch: int,
        registered_epoch: int | None,
    ) -> None:  # fmt: skip
        """It fetches from `offset`: so far its log goes. `leader_end_offset` is from before the fetch was read.

        `registered_epoch` is its broker epoch in the metadata, None while it is fenced or unknown. Raises KafkaError
        NOT_LEADER_OR_FOLLOWER for a fetch from before the broker's latest registration: it may have lost data since.
        """
        if broker_epoch != UNKNOWN_EPOCH and registered_epoch is not None and broker_epoch < registered_epoch:
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if offset >= leader_end_offset:
            self.last_caught_up_ms = max(self.last_caught_up_ms, now_ms)
        elif offset >= self.last_fetch_leader_end_offset:
            # Else a follower that is a batch behind all the time, and no more, would never be caught up.
            self.last_caught_up_ms = max(self.last_caught_up_ms, self.last_fetch_ms)
        self.log_start_offset = log_start_offset
        self.log_end_offset = offset
        self.last_fetch_leader_end_offset = max(leader_end_offset, self.last_fetch_leader_end_offset)
        self.last_fetch_ms = now_ms
        self.broker_epoch = broker_epoch

    def reset(self, now_ms: float, leader_end_offset: int, *, is_new_leader: bool, is_in_sync: bool) -> None:
        """A leader epoch begins; `is_new_leader` unless the same broker led the epoch before.

        A follower in the ISR has its time to show up; one that is not does not hold the high watermark back.
        """
        begin_ms = now_ms if is_in_sync else _NEVER
        self.last_caught_up_ms = begin_ms
        if is_new_leader:
            self.log_end_offset = UNKNOWN_OFFSET
            self.log_start_offset = UNKNOWN_OFFSET
            self.last_fetch_leader_end_offset = UNKNOWN_OFFSET
            self.last_fetch_ms = _NEVER
            self.broker_epoch = None
        else:
            self.last_fetch_leader_end_offset = leader_end_offset
            self.last_fetch_ms = begin_ms

    def is_caught_up(self, leader_end_offset: int, now_ms: float, max_lag_ms: float) -> bool:
        """Whether it has all, or had all at most `max_lag_ms` ago."""
        return self.log_end_offset == leader_end_offset or now_ms - self.last_caught_up_ms <= max_lag_ms
