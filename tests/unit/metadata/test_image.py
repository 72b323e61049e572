from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from odradek.metadata.delta import MetadataDelta
from odradek.metadata.image import MetadataImage
from odradek.metadata.snapshot import to_records
from odradek.metadata.topics_delta import MetadataError
from odradek.wire.persistent.framing import decode_metadata_record, encode_metadata_record
from odradek.wire.persistent.metadata import RECORDS
from odradek.wire.persistent.metadata.access_control_entry_record import AccessControlEntryRecord
from odradek.wire.persistent.metadata.broker_registration_change_record import BrokerRegistrationChangeRecord
from odradek.wire.persistent.metadata.clear_elr_record import ClearElrRecord
from odradek.wire.persistent.metadata.client_quota_record import ClientQuotaRecord, EntityData
from odradek.wire.persistent.metadata.config_record import ConfigRecord
from odradek.wire.persistent.metadata.delegation_token_record import DelegationTokenRecord
from odradek.wire.persistent.metadata.feature_level_record import FeatureLevelRecord
from odradek.wire.persistent.metadata.no_op_record import NoOpRecord
from odradek.wire.persistent.metadata.partition_change_record import PartitionChangeRecord
from odradek.wire.persistent.metadata.partition_record import PartitionRecord
from odradek.wire.persistent.metadata.producer_ids_record import ProducerIdsRecord
from odradek.wire.persistent.metadata.register_broker_record import (
    BrokerEndpoint,
    BrokerFeature,
    RegisterBrokerRecord,
)
from odradek.wire.persistent.metadata.register_controller_record import RegisterControllerRecord
from odradek.wire.persistent.metadata.remove_access_control_entry_record import RemoveAccessControlEntryRecord
from odradek.wire.persistent.metadata.remove_delegation_token_record import RemoveDelegationTokenRecord
from odradek.wire.persistent.metadata.remove_topic_record import RemoveTopicRecord
from odradek.wire.persistent.metadata.remove_user_scram_credential_record import RemoveUserScramCredentialRecord
from odradek.wire.persistent.metadata.topic_record import TopicRecord
from odradek.wire.persistent.metadata.unregister_broker_record import UnregisterBrokerRecord
from odradek.wire.persistent.metadata.unregister_controller_record import UnregisterControllerRecord
from odradek.wire.persistent.metadata.user_scram_credential_record import UserScramCredentialRecord
from odradek.wire.schema import Message

TOPIC = 2
NAMES = ("a", "b.c", "d_e")
IDS = tuple(bytes([number]) * 16 for number in range(1, 5))
DIRECTORY = bytes(range(16, 32))


def replayed(records: Sequence[Message], image: MetadataImage | None = None) -> MetadataImage:
    delta = MetadataDelta(image or MetadataImage.empty())
    delta.replay_all(records)
    return delta.apply(7, 3, 99)


def topic(name: str = "a", topic_id: bytes = IDS[0]) -> TopicRecord:
    return TopicRecord(name=name, topic_id=topic_id)


def partition(index: int = 0, topic_id: bytes = IDS[0], isr: Sequence[int] = (1, 2)) -> PartitionRecord:
    return PartitionRecord(
        partition_id=index,
        topic_id=topic_id,
        replicas=[1, 2],
        isr=list(isr),
        leader=1,
        leader_epoch=0,
        partition_epoch=0,
        directories=[DIRECTORY, DIRECTORY],
    )


def broker(broker_id: int, epoch: int, *, fenced: bool = True) -> RegisterBrokerRecord:
    return RegisterBrokerRecord(
        broker_id=broker_id,
        incarnation_id=IDS[0],
        broker_epoch=epoch,
        end_points=[BrokerEndpoint(name="PLAINTEXT", host="h", port=9092, security_protocol=0)],
        features=[BrokerFeature(name="metadata.version", min_supported_version=7, max_supported_version=33)],
        rack=None,
        fenced=fenced,
        log_dirs=[DIRECTORY],
    )


names = st.sampled_from(NAMES)
ids = st.sampled_from(IDS)
nodes = st.integers(0, 3)
optional_nodes = st.none() | st.lists(nodes, max_size=3)
entities = st.lists(
    st.builds(EntityData, entity_type=st.sampled_from(("user", "client-id")), entity_name=st.none() | names),
    min_size=1,
    max_size=2,
    unique_by=lambda part: part.entity_type,
)

any_record: st.SearchStrategy[Message] = st.one_of(
    st.builds(topic, names, ids),
    st.builds(partition, st.integers(0, 2), ids),
    st.builds(
        PartitionChangeRecord,
        partition_id=st.integers(0, 2),
        topic_id=ids,
        isr=optional_nodes,
        leader=st.integers(-2, 3),
        leader_recovery_state=st.integers(-1, 1),
        eligible_leader_replicas=optional_nodes,
        last_known_elr=optional_nodes,
        adding_replicas=optional_nodes,
        removing_replicas=optional_nodes,
    ),
    st.builds(RemoveTopicRecord, topic_id=ids),
    st.builds(ClearElrRecord, topic_name=st.just("") | names),
    st.builds(
        ConfigRecord, resource_type=st.sampled_from((2, 4)), resource_name=names, name=names, value=st.none() | names
    ),
    st.builds(broker, nodes, st.integers(0, 2), fenced=st.booleans()),
    st.builds(UnregisterBrokerRecord, broker_id=nodes, broker_epoch=st.integers(0, 2)),
    st.builds(
        BrokerRegistrationChangeRecord,
        broker_id=nodes,
        broker_epoch=st.integers(0, 2),
        fenced=st.integers(-1, 1),
        in_controlled_shutdown=st.integers(0, 1),
        log_dirs=st.lists(ids, max_size=2),
        cordoned_log_dirs=st.none() | st.lists(ids, max_size=2),
    ),
    st.builds(RegisterControllerRecord, controller_id=nodes, incarnation_id=ids, zk_migration_ready=st.booleans()),
    st.builds(UnregisterControllerRecord, controller_id=nodes),
    st.builds(FeatureLevelRecord, name=names, feature_level=st.integers(0, 3)),
    st.builds(
        ClientQuotaRecord,
        entity=entities,
        key=st.sampled_from(("producer_byte_rate", "request_percentage")),
        value=st.floats(0.5, 1e6),
        remove=st.booleans(),
    ),
    st.builds(ProducerIdsRecord, broker_id=nodes, next_producer_id=st.integers(0, 9000)),
    st.builds(AccessControlEntryRecord, id=ids, resource_name=names, principal=names, host=names),
    st.builds(RemoveAccessControlEntryRecord, id=ids),
    st.builds(
        UserScramCredentialRecord,
        name=names,
        mechanism=st.integers(1, 2),
        salt=st.binary(max_size=4),
        stored_key=st.binary(max_size=4),
        server_key=st.binary(max_size=4),
        iterations=st.integers(4096, 9000),
    ),
    st.builds(RemoveUserScramCredentialRecord, name=names, mechanism=st.integers(1, 2)),
    st.builds(DelegationTokenRecord, owner=names, requester=names, renewers=st.lists(names), token_id=names),
    st.builds(RemoveDelegationTokenRecord, token_id=names),
    st.builds(NoOpRecord),
)


def image_of(records: Sequence[Message], batch_size: int) -> MetadataImage:
    """The image after those records that can follow on the ones before, a new image every `batch_size` of them."""
    image = MetadataImage.empty()
    delta = MetadataDelta(image)
    for position, record in enumerate(records):
        try:
            MetadataDelta(delta.apply(0, 0)).replay(record)
        except MetadataError:
            continue
        delta.replay(record)
        if position % batch_size == 0:
            image = delta.apply(0, 0)
            delta = MetadataDelta(image)
    return delta.apply(7, 3, 99)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=st.lists(any_record, max_size=60), batch_size=st.integers(1, 20))
def test_the_records_of_an_image_make_an_equal_image(records: list[Message], batch_size: int) -> None:
    image = image_of(records, batch_size)
    framed = [encode_metadata_record(*each) for each in to_records(image)]
    again = replayed([decode_metadata_record(data)[0] for data in framed])
    assert again == image
    assert [encode_metadata_record(*each) for each in to_records(again)] == framed


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(records=st.lists(any_record, max_size=40))
def test_the_image_does_not_depend_on_how_records_are_grouped(records: list[Message]) -> None:
    assert image_of(records, 1) == image_of(records, 1000)


def test_every_metadata_record_can_be_replayed_but_for_transactions() -> None:
    delta = MetadataDelta(MetadataImage.empty())
    known = set(delta._replayers)
    transactions = {"BeginTransactionRecord", "EndTransactionRecord", "AbortTransactionRecord"}
    assert {RECORDS.record_class(number).NAME for number in RECORDS.types()} == known | transactions


def test_an_image_does_not_change_when_a_delta_follows_on_it() -> None:
    before = replayed([topic(), partition(), ConfigRecord(resource_type=TOPIC, resource_name="a", name="x", value="1")])
    records = list(to_records(before))
    replayed([RemoveTopicRecord(topic_id=IDS[0]), topic("b", IDS[1])], before)
    assert list(to_records(before)) == records


def test_a_change_of_leader_is_a_new_epoch_and_a_change_of_replicas_alone_is_not() -> None:
    image = replayed([topic(), partition()])
    led = replayed([PartitionChangeRecord(partition_id=0, topic_id=IDS[0], leader=2)], image)
    changed = led.topics.by_name["a"].partitions[0]
    assert (changed.leader, changed.leader_epoch, changed.partition_epoch) == (2, 1, 1)
    shrunk = replayed([PartitionChangeRecord(partition_id=0, topic_id=IDS[0], isr=[2])], led)
    changed = shrunk.topics.by_name["a"].partitions[0]
    assert (changed.isr, changed.leader_epoch, changed.partition_epoch) == ((2,), 1, 2)


def test_a_removed_topic_takes_its_configuration_with_it_and_nothing_else() -> None:
    image = replayed(
        [
            topic("a", IDS[0]),
            topic("b.c", IDS[1]),
            ConfigRecord(resource_type=TOPIC, resource_name="a", name="x", value="1"),
            ConfigRecord(resource_type=TOPIC, resource_name="b.c", name="x", value="2"),
        ]
    )
    delta = MetadataDelta(image)
    delta.replay(RemoveTopicRecord(topic_id=IDS[0]))
    after = delta.apply(1, 1)
    assert list(after.topics.by_name) == ["b.c"]
    assert list(after.topics.by_id) == [IDS[1]]
    assert after.configs.properties(TOPIC, "a") == {}
    assert after.configs.properties(TOPIC, "b.c") == {"x": "2"}
    assert delta.deleted_topics == [("a", IDS[0])]
    assert (delta.changed_topics, delta.changed_partitions) == ([], [])
    assert delta.changed_configs == [(TOPIC, "a")]


def test_a_topic_that_is_created_again_in_the_same_delta_is_deleted_and_new() -> None:
    delta = MetadataDelta(replayed([topic("a", IDS[0]), partition()]))
    delta.replay_all([RemoveTopicRecord(topic_id=IDS[0]), topic("a", IDS[1]), partition(0, IDS[1])])
    after = delta.apply(1, 1)
    assert after.topics.by_name["a"].id == IDS[1]
    assert IDS[0] not in after.topics.by_id
    assert delta.deleted_topics == [("a", IDS[0])]
    assert (delta.changed_topics, delta.changed_partitions) == (["a"], [("a", 0)])


def test_only_partitions_with_a_record_of_their_own_have_changed() -> None:
    delta = MetadataDelta(replayed([topic("a", IDS[0]), partition(0), partition(1), topic("b", IDS[1])]))
    delta.replay(PartitionChangeRecord(partition_id=1, topic_id=IDS[0], leader=1))
    delta.replay(partition(7, IDS[1]))
    assert delta.changed_partitions == [("a", 1), ("b", 7)]


@pytest.mark.parametrize(
    "record",
    [
        RemoveTopicRecord(topic_id=IDS[0]),
        partition(0, IDS[0]),
        PartitionChangeRecord(partition_id=0, topic_id=IDS[0], leader=1),
        UnregisterBrokerRecord(broker_id=1, broker_epoch=1),
        BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=1, fenced=1),
        RemoveAccessControlEntryRecord(id=IDS[0]),
    ],
    ids=lambda record: cast("Message", record).NAME,
)
def test_a_record_about_something_unknown_is_an_error(record: Message) -> None:
    with pytest.raises(MetadataError):
        MetadataDelta(MetadataImage.empty()).replay(record)


def test_a_record_of_another_broker_epoch_is_an_error() -> None:
    image = replayed([broker(1, 5)])
    with pytest.raises(MetadataError):
        MetadataDelta(image).replay(BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=4, fenced=-1))
    after = replayed([BrokerRegistrationChangeRecord(broker_id=1, broker_epoch=5, fenced=-1)], image)
    assert not after.cluster.brokers[1].fenced
