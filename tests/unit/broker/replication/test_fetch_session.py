"""A follower's fetch session: told what is new, and begun anew when something went wrong."""

from __future__ import annotations

from odradek.broker.replication.fetch_session import Asked, FollowerSession, Key
from odradek.wire.errors import ErrorCode
from odradek.wire.messages.fetch import FetchableTopicResponse, FetchRequest, FetchResponse, PartitionData

ONE, TWO = b"1" * 16, b"2" * 16


def asked(offset: int, epoch: int = 0) -> Asked:
    return Asked(offset, 0, 1_000, epoch, epoch)


def response(*keys: Key, session_id: int = 5, code: ErrorCode = ErrorCode.NONE) -> FetchResponse:
    return FetchResponse(
        error_code=code,
        session_id=session_id,
        responses=[
            FetchableTopicResponse(topic_id=topic, partitions=[PartitionData(partition_index=index, records=b"")])
            for topic, index in keys
        ],
    )


def told(request: FetchRequest | None) -> tuple[int, int, dict[Key, int], list[Key]] | None:
    """Session id and epoch, fetch offsets, forgotten partitions."""
    if request is None:
        return None
    offsets = {
        (topic.topic_id, part.partition): part.fetch_offset for topic in request.topics for part in topic.partitions
    }
    forgotten = [(topic.topic_id, index) for topic in request.forgotten_topics_data for index in topic.partitions]
    return request.session_id, request.session_epoch, offsets, forgotten


def begun() -> FollowerSession:
    session = FollowerSession()
    session.build({(ONE, 0): asked(1), (TWO, 0): asked(2), (ONE, 1): asked(3)})
    assert session.answered(response((ONE, 0), (ONE, 1), (TWO, 0)))
    return session


def test_the_first_request_names_all_and_the_next_what_has_changed() -> None:
    session = FollowerSession()
    first = session.build({(ONE, 0): asked(1), (ONE, 1): asked(3), (TWO, 0): None})
    assert told(first) == (0, 0, {(ONE, 0): 1, (ONE, 1): 3}, [])
    assert session.answered(response((ONE, 0), (ONE, 1)))
    second = session.build({(ONE, 0): asked(8), (ONE, 1): asked(3), (TWO, 0): asked(2)})
    assert told(second) == (5, 1, {(ONE, 0): 8, (TWO, 0): 2}, [])
    assert session.answered(response((TWO, 0)))
    assert told(session.build({})) == (5, 2, {}, [])


def test_another_epoch_at_the_same_offset_is_news() -> None:
    session = begun()
    assert told(session.build({(ONE, 0): asked(1, epoch=1)})) == (5, 1, {(ONE, 0): 1}, [])


def test_what_is_not_wanted_any_more_is_forgotten_once() -> None:
    session = begun()
    assert told(session.build({(ONE, 1): None})) == (5, 1, {}, [(ONE, 1)])
    assert session.answered(response())
    assert told(session.build({(ONE, 1): None})) == (5, 2, {}, [])


def test_nothing_to_fetch_and_nothing_to_forget_is_no_request() -> None:
    session = FollowerSession()
    assert session.build({(ONE, 0): None}) is None
    session = FollowerSession()
    session.build({(ONE, 0): asked(1)})
    session.answered(response((ONE, 0)))
    assert session.build({(ONE, 0): None}) is not None
    session.answered(response())
    assert session.build({}) is None


def test_without_an_answer_the_session_is_replaced_by_another() -> None:
    session = begun()
    session.build({(ONE, 0): asked(8)})
    session.failed()
    assert session.is_new
    assert told(session.build({(ONE, 0): asked(8), (TWO, 0): asked(2)})) == (5, 0, {(ONE, 0): 8, (TWO, 0): 2}, [])


def test_a_session_that_the_leader_does_not_know_is_begun_from_nothing() -> None:
    for code, session_id in ((ErrorCode.FETCH_SESSION_ID_NOT_FOUND, 0), (ErrorCode.INVALID_FETCH_SESSION_EPOCH, 5)):
        session = begun()
        session.build({})
        assert not session.answered(response(code=code))
        assert told(session.build({(ONE, 0): asked(1)})) == (session_id, 0, {(ONE, 0): 1}, [])


def test_a_leader_without_room_for_sessions_is_told_all_each_time() -> None:
    session = FollowerSession()
    for _ in range(2):
        assert told(session.build({(ONE, 0): asked(1)})) == (0, 0, {(ONE, 0): 1}, [])
        assert session.answered(response((ONE, 0), session_id=0))


def test_an_answer_with_other_partitions_than_were_asked_for_is_not_used() -> None:
    session = begun()
    session.build({})
    assert not session.answered(response((TWO, 7)))
    assert session.is_new
    session.build({(ONE, 0): asked(1), (ONE, 1): asked(3)})
    assert not session.answered(response((ONE, 0)))
