"""The table of states and requests, in both protocols (KIP-98, KIP-360, KIP-890)."""

from __future__ import annotations

import pytest

from odradek.broker.coordinator.result import CoordinatorResult, Producer
from odradek.broker.transactions.options import TransactionOptions
from odradek.broker.transactions.shard import Outcome
from odradek.storage.topic_partition import TopicPartition
from odradek.wire.errors import ErrorCode
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from tests.unit.broker.coordinator.fake_log import NO_LEADER
from tests.unit.broker.transactions.scene import NODE_ID, SHARD, TX, TransactionScene, error_of, producer_of

STATES = ("Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort")
LAST_EPOCH = 2**15 - 2


def in_state(state: str, *, version: int) -> tuple[TransactionScene, tuple[int, int]]:
    """A scene whose transactional id is in a state, and the producer that has it."""
    scene = TransactionScene()
    producer = producer_of(scene.init())
    if state == "Empty":
        return scene, producer
    scene.brokers.holds_back = state.startswith("Prepare")
    assert scene.add(producer, version=version) is ErrorCode.NONE
    if state == "Ongoing":
        return scene, producer
    ended = scene.end(producer, commit=state.endswith("Commit"), version=version)
    scene.settle()
    assert scene.label() == state
    return scene, producer_of(ended) if version == 2 else producer


def told(found: Outcome | ErrorCode) -> str:
    return found.name if isinstance(found, ErrorCode) else "NONE"


@pytest.mark.parametrize(
    ("state", "commit", "abort"),
    [
        ("Empty", "INVALID_TXN_STATE", "INVALID_TXN_STATE"),
        ("Ongoing", "NONE", "NONE"),
        ("PrepareCommit", "CONCURRENT_TRANSACTIONS", "CONCURRENT_TRANSACTIONS"),
        ("PrepareAbort", "CONCURRENT_TRANSACTIONS", "CONCURRENT_TRANSACTIONS"),
        ("CompleteCommit", "NONE", "INVALID_TXN_STATE"),
        ("CompleteAbort", "INVALID_TXN_STATE", "NONE"),
    ],
)
def test_end_before_the_epoch_per_transaction(state: str, commit: str, abort: str) -> None:
    for is_commit, expected in ((True, commit), (False, abort)):
        scene, producer = in_state(state, version=0)
        fenced = scene.end((producer[0], producer[1] + 1), commit=is_commit, version=0)
        assert told(fenced) == "PRODUCER_FENCED"
        assert told(scene.end((producer[0] + 1, 0), commit=is_commit, version=0)) == "INVALID_PRODUCER_ID_MAPPING"
        ended = scene.end(producer, commit=is_commit, version=0)
        assert told(ended) == expected
        if isinstance(ended, Outcome):
            assert producer_of(ended) == (-1, -1)


@pytest.mark.parametrize(
    ("state", "epoch", "commit", "abort"),
    [
        ("Empty", "current", "INVALID_TXN_STATE", "NONE"),
        ("Empty", "before", "PRODUCER_FENCED", "PRODUCER_FENCED"),
        ("Ongoing", "current", "NONE", "NONE"),
        ("Ongoing", "before", "PRODUCER_FENCED", "PRODUCER_FENCED"),
        ("PrepareCommit", "before", "CONCURRENT_TRANSACTIONS", "CONCURRENT_TRANSACTIONS"),
        ("PrepareAbort", "current", "CONCURRENT_TRANSACTIONS", "CONCURRENT_TRANSACTIONS"),
        ("CompleteCommit", "current", "INVALID_TXN_STATE", "NONE"),
        ("CompleteCommit", "before", "NONE", "INVALID_TXN_STATE"),
        ("CompleteAbort", "current", "INVALID_TXN_STATE", "NONE"),
        ("CompleteAbort", "before", "INVALID_TXN_STATE", "NONE"),
        ("CompleteCommit", "foreign", "PRODUCER_FENCED", "PRODUCER_FENCED"),
    ],
)
def test_end_with_an_epoch_per_transaction(state: str, epoch: str, commit: str, abort: str) -> None:
    """KIP-890's table. An end that comes again is answered with the producer that it led to."""
    for is_commit, expected in ((True, commit), (False, abort)):
        scene, current = in_state(state, version=2)
        producer = (current[0], current[1] + {"current": 0, "before": -1, "foreign": 9}[epoch])
        ended = scene.end(producer, commit=is_commit)
        assert told(ended) == expected
        if isinstance(ended, Outcome):
            assert producer_of(ended) == ((current[0], current[1] + 1) if epoch == "current" else current)


@pytest.mark.parametrize("state", STATES)
def test_add_partitions(state: str) -> None:
    scene, producer = in_state(state, version=2)
    is_completing = state.startswith("Prepare")
    expected = ErrorCode.CONCURRENT_TRANSACTIONS if is_completing else ErrorCode.NONE
    assert scene.add(producer, 1) is expected
    if not is_completing:
        assert scene.add((producer[0], producer[1] - 1), 1) is ErrorCode.PRODUCER_FENCED
        assert scene.add((producer[0] + 1, producer[1]), 1) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert scene.add(producer, name="other") is ErrorCode.INVALID_PRODUCER_ID_MAPPING


@pytest.mark.parametrize("state", STATES)
def test_init_producer_id(state: str) -> None:
    scene, producer = in_state(state, version=2)
    found = scene.init()
    if state in ("Empty", "CompleteCommit", "CompleteAbort"):
        assert producer_of(found) == (producer[0], producer[1] + 1)
        assert scene.label() == "Empty"
        return
    assert found is ErrorCode.CONCURRENT_TRANSACTIONS
    if state == "Ongoing":
        assert scene.label() == "PrepareAbort"
        scene.settle()
        assert producer_of(scene.init()) == (producer[0], producer[1] + 2)


def test_verification_knows_what_is_part_of_the_transaction() -> None:
    scene, producer = in_state("Ongoing", version=0)
    names = [TopicPartition("t", 0), TopicPartition("t", 1)]

    def verify(epoch: int = producer[1]) -> dict[TopicPartition, ErrorCode] | ErrorCode:
        answer = scene.coordinator.verify_partitions(TX, Producer(producer[0], epoch), names)
        code = error_of(answer)
        return answer.result() if code is ErrorCode.NONE else code

    assert verify() == {names[0]: ErrorCode.NONE, names[1]: ErrorCode.TRANSACTION_ABORTABLE}
    assert verify(7) is ErrorCode.PRODUCER_FENCED
    scene.brokers.holds_back = True
    scene.end(producer, version=0)
    assert verify() is ErrorCode.CONCURRENT_TRANSACTIONS


def test_adding_what_is_there_writes_nothing() -> None:
    scene, producer = in_state("Ongoing", version=2)
    before = len(scene.records())
    assert scene.add(producer) is ErrorCode.NONE
    assert len(scene.records()) == before
    assert scene.add(producer, 0, 1) is ErrorCode.NONE
    assert len(scene.records()) == before + 1


@pytest.mark.parametrize("version", [0, 2])
def test_epochs_that_run_out_lead_to_a_new_producer_id(version: int) -> None:
    """The client has at most the epoch before the last; with it goes what is needed to fence it."""
    scene = TransactionScene(transaction_version=version)
    producer = producer_of(scene.init())
    with_last = exhausted(scene, producer[0])
    assert producer_of(with_last.init()) == (producer[0] + 1, 0)
    with_last = exhausted(scene, producer[0])
    known = with_last.init((producer[0], LAST_EPOCH))
    assert producer_of(known) == (producer[0] + 1, 0)
    again = with_last.init((producer[0], LAST_EPOCH))
    # Records of the first version do not say which id was in use before.
    assert again is ErrorCode.PRODUCER_FENCED if version == 0 else producer_of(again) == (producer[0] + 1, 0)
    for epoch in (0, 3):
        assert with_last.init((producer[0], epoch)) is ErrorCode.PRODUCER_FENCED


def exhausted(scene: TransactionScene, producer_id: int) -> TransactionScene:
    """A start from a log whose producer has the last epoch that a client may have."""
    metadata = scene.state()
    assert metadata is not None
    last = metadata._replace(producer_id=producer_id, producer_epoch=LAST_EPOCH)
    version = scene.coordinator.server_version
    fresh = TransactionScene(transaction_version=version, next_producer_id=producer_id + 1)
    fresh.coordinator.runtime.write(SHARD, lambda _shard: CoordinatorResult([last.record(version)], None))
    return fresh


def test_an_end_with_the_last_epoch_goes_on_with_a_new_producer_id() -> None:
    scene = TransactionScene()
    producer = producer_of(scene.init())
    last = exhausted(scene, producer[0])
    who = (producer[0], LAST_EPOCH)
    assert last.add(who) is ErrorCode.NONE
    ended = last.end(who)
    assert producer_of(ended) == (producer[0] + 1, 0)
    last.settle()
    ((marker, _),) = last.brokers.markers
    assert (marker.producer_id, marker.producer_epoch) == (producer[0], LAST_EPOCH + 1)
    assert producer_of(last.end(who)) == (producer[0] + 1, 0), "it comes again"
    assert last.end(who, commit=False) is ErrorCode.INVALID_TXN_STATE
    assert last.add(who) is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert producer_of(last.init(who)) == (producer[0] + 1, 0), "whoever missed the answer comes back"
    assert last.add((producer[0] + 1, 0)) is ErrorCode.NONE


@pytest.mark.parametrize("version", [0, 1, 2])
def test_a_transaction_that_times_out_is_aborted_with_a_new_epoch(version: int) -> None:
    scene = TransactionScene(transaction_version=version)
    producer = producer_of(scene.init(timeout_ms=25_000))
    assert scene.add(producer, version=0) is ErrorCode.NONE
    scene.world.advance(20_000)
    assert scene.label() == "Ongoing"
    scene.world.advance(20_000)
    assert scene.label() == "CompleteAbort"
    state = scene.state()
    assert state is not None
    assert state.producer == (producer[0], producer[1] + 1, None)
    ((marker, name),) = scene.brokers.markers
    assert (marker.transaction_result, marker.producer_epoch, name.partition) == (False, producer[1] + 1, 0)
    assert marker.transaction_version == (2 if version == 2 else 0)


def test_transactional_ids_expire_while_nothing_is_going_on() -> None:
    options = TransactionOptions(expiration_ms=100_000, expiration_check_interval_ms=10_000)
    scene = TransactionScene(options=options)
    idle = producer_of(scene.init(name="idle"))
    busy = producer_of(scene.init(name="busy", timeout_ms=900_000))
    assert scene.add(busy, name="busy") is ErrorCode.NONE
    scene.world.advance(90_000)
    assert scene.label("idle") == "Empty"
    scene.world.advance(20_000)
    assert (scene.label("idle"), scene.label("busy")) == ("", "Ongoing")
    assert scene.add(idle, name="idle") is ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert scene.records()[-1] == ("idle", None)
    assert producer_of(scene.init(name="idle"))[1] == 0
    assert set(scene.restarted().replayed()) == {"idle", "busy"}


@pytest.mark.parametrize("timeout_ms", [0, -1, 900_001])
def test_timeouts_out_of_bounds(timeout_ms: int) -> None:
    assert TransactionScene().init(timeout_ms=timeout_ms) is ErrorCode.INVALID_TRANSACTION_TIMEOUT


def test_a_restart_knows_what_was_before_but_for_the_epoch_before() -> None:
    scene, producer = in_state("CompleteCommit", version=2)
    again = scene.restarted()
    assert again.replayed() == scene.replayed()
    assert again.state() == scene.state()
    # Kafka does not write the epoch before either: a request that comes again across a restart is fenced.
    assert producer_of(scene.init((producer[0], producer[1] - 1))) == producer
    assert again.init((producer[0], producer[1] - 1)) is ErrorCode.PRODUCER_FENCED


def test_old_clusters_get_old_records() -> None:
    scene = TransactionScene(transaction_version=0)
    producer = producer_of(scene.init())
    assert scene.add(producer, version=2) is ErrorCode.UNSUPPORTED_VERSION
    assert scene.end(producer, version=2) is ErrorCode.UNSUPPORTED_VERSION
    assert scene.add(producer, version=0) is ErrorCode.NONE
    assert producer_of(scene.end(producer, version=0)) == (-1, -1)
    scene.settle()
    assert scene.label() == "CompleteCommit"
    versions = {int.from_bytes((record.value or b"")[:2], "big") for record in scene.log.records(SHARD)}
    assert versions == {0}


def test_what_cannot_be_written_changes_nothing() -> None:
    scene, producer = in_state("Ongoing", version=2)
    scene.log.append_error = NO_LEADER
    assert scene.end(producer) is ErrorCode.NOT_COORDINATOR
    scene.settle()
    assert scene.label() == "Ongoing"
    assert scene.brokers.markers == []
    scene.log.append_error = None
    assert told(scene.end(producer)) == "NONE"


def test_nothing_is_answered_or_marked_before_the_decision_is_committed() -> None:
    scene, producer = in_state("Ongoing", version=2)
    scene.log.commits_at_once = False
    ended = scene.coordinator.end_transaction(TX, Producer(*producer), is_commit=True, client_version=2)
    scene.settle()
    assert not ended.done
    assert (scene.label(), scene.brokers.markers) == ("Ongoing", [])
    scene.log.commits_at_once = True
    scene.log.commit(SHARD)
    scene.settle()
    assert ended.done
    assert scene.label() == "CompleteCommit"


def test_a_decision_that_is_committed_late_is_completed_all_the_same() -> None:
    """Whoever asked was told that it took too long."""
    scene, producer = in_state("Ongoing", version=2)
    scene.log.commits_at_once = False
    ended = scene.coordinator.end_transaction(TX, Producer(*producer), is_commit=True, client_version=2)
    scene.world.advance(40_000)
    assert ended.error is not None
    assert scene.brokers.markers == []
    scene.log.commits_at_once = True
    scene.log.commit(SHARD)
    scene.world.advance(1_000)
    assert scene.label() == "CompleteCommit"
    assert len(scene.brokers.markers) == 1


def test_markers_are_written_until_all_are() -> None:
    scene = TransactionScene()
    producer = producer_of(scene.init())
    assert scene.add(producer, 0, 1, 2) is ErrorCode.NONE
    scene.brokers.codes[TopicPartition("t", 1)] = ErrorCode.NOT_LEADER_OR_FOLLOWER
    scene.brokers.is_reachable = False
    assert told(scene.end(producer)) == "NONE"
    scene.world.advance(500)
    assert scene.brokers.markers == []
    scene.brokers.is_reachable = True
    scene.world.advance(500)
    assert scene.label() == "PrepareCommit"
    assert {name.partition for _, name in scene.brokers.markers} == {0, 2}
    scene.brokers.codes.clear()
    scene.world.advance(500)
    assert scene.label() == "CompleteCommit"
    assert sorted(name.partition for _, name in scene.brokers.markers) == [0, 1, 2]
    assert len(scene.coordinator.markers) == 0


def test_a_leader_that_is_fenced_gets_no_markers() -> None:
    scene, producer = in_state("Ongoing", version=2)
    scene.apply(BrokerRegistrationChangeRecord(broker_id=NODE_ID, broker_epoch=0, fenced=1))
    scene.end(producer)
    scene.world.advance(1_000)
    assert (scene.label(), scene.brokers.markers) == ("PrepareCommit", [])
    scene.apply(BrokerRegistrationChangeRecord(broker_id=NODE_ID, broker_epoch=0, fenced=-1))
    scene.world.advance(1_000)
    assert scene.label() == "CompleteCommit"


def test_deleted_topics_need_no_markers_and_leaders_are_waited_for() -> None:
    scene = TransactionScene()
    producer = producer_of(scene.init())
    assert scene.add(producer, 0, 1) is ErrorCode.NONE
    scene.apply(PartitionChangeRecord(topic_id=scene.topic_id, partition_id=1, leader=-1))
    scene.end(producer)
    scene.world.advance(1_000)
    assert scene.label() == "PrepareCommit"
    assert [name.partition for _, name in scene.brokers.markers] == [0]
    scene.apply(RemoveTopicRecord(topic_id=scene.topic_id))
    scene.world.advance(1_000)
    assert scene.label() == "CompleteCommit"


@pytest.mark.parametrize("code", [ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
def test_markers_that_come_too_late(code: ErrorCode) -> None:
    """A later epoch in the partition leaves nothing to do; a later coordinator does what is left."""
    scene, producer = in_state("Ongoing", version=2)
    scene.brokers.codes[TopicPartition("t", 0)] = code
    scene.end(producer)
    scene.world.advance(5_000)
    is_done = code is ErrorCode.INVALID_PRODUCER_EPOCH
    assert scene.label() == ("CompleteCommit" if is_done else "PrepareCommit")
    assert len(scene.coordinator.markers) == 0


def test_a_broker_that_does_not_lead_any_longer_writes_no_more_markers() -> None:
    scene, producer = in_state("Ongoing", version=2)
    scene.brokers.holds_back = True
    scene.end(producer)
    scene.settle()
    scene.coordinator.resigned(0, 0)
    scene.brokers.holds_back = False
    scene.brokers.release()
    scene.world.advance(1_000)
    assert len(scene.coordinator.markers) == 0
    assert scene.replayed()[TX].state.label == "PrepareCommit"
    after = scene.restarted()
    assert after.label() == "CompleteCommit"
    ((marker, _),) = after.brokers.markers
    assert (marker.coordinator_epoch, marker.producer_epoch, marker.transaction_version) == (1, producer[1] + 1, 2)


def test_what_could_not_be_written_is_not_tried_again_by_whoever_lost_the_partition() -> None:
    scene, producer = in_state("Ongoing", version=2)
    scene.brokers.is_reachable = False
    scene.end(producer)
    scene.settle()
    scene.coordinator.resigned(0, 0)
    scene.brokers.is_reachable = True
    scene.world.advance(1_000)
    assert scene.brokers.markers == []


@pytest.mark.parametrize("version", [0, 2])
@pytest.mark.parametrize("commit", [True, False])
def test_wherever_the_log_ends_the_decision_stands(version: int, commit: bool) -> None:
    """A crash at any point: the log is cut behind each batch, and another coordinator goes on."""
    scene = TransactionScene()
    producer = producer_of(scene.init())
    scene.add(producer, 0, 1, version=version)
    scene.end(producer, commit=commit, version=version)
    scene.settle()
    labels = []
    for count in range(len(scene.log.batches[SHARD]) + 1):
        after = TransactionScene(scene.log.prefix(SHARD, count), leader_epoch=1)
        labels.append(after.label())
        markers = {(marker.transaction_result, name.partition) for marker, name in after.brokers.markers}
        # What was prepared is completed; what was not is left to its producer or its time-out.
        assert markers == ({(commit, 0), (commit, 1)} if count == 3 else set())
        assert after.state() == after.replayed().get(TX)
    complete = "CompleteCommit" if commit else "CompleteAbort"
    assert labels == ["", "Empty", "Ongoing", complete, complete]
