"""Records as each metadata.version writes them, compared with Kafka's own classes."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence

import pytest
from java_oracle import ROOT, libs_folder, why_not

from odradek.controller.partition_change import PartitionChange, PartitionRules
from odradek.metadata.features import LATEST_METADATA_VERSION, METADATA_VERSION, MIN_METADATA_VERSION
from odradek.metadata.image import (
    DIRECTORY_MIGRATING,
    BrokerRegistration,
    ClusterImage,
    ControllerRegistration,
    DelegationToken,
    DelegationTokensImage,
    Endpoint,
    FeaturesImage,
    MetadataImage,
    PartitionImage,
    ScramCredential,
    ScramImage,
)
from odradek.metadata.persistent_map import PersistentMap
from odradek.metadata.snapshot import VersionedRecord, Writing, broker_record, partition_records, to_records
from odradek.metadata.versions import CORDONED_SINCE, DIRECTORIES_SINCE, ELR_SINCE
from odradek.wire.persistent.framing import encode_metadata_record

PROGRAM = ROOT / "tools" / "oracle" / "MetadataVersionOracle.java"
TIMEOUT_S = 120


def uuid(high: int, low: int) -> bytes:
    return high.to_bytes(8, "big") + low.to_bytes(8, "big")


TOPIC = uuid(1, 2)


def directory(writing: Writing, number: int) -> bytes:
    return uuid(7, number) if writing.metadata_version >= DIRECTORIES_SINCE else DIRECTORY_MIGRATING


def partition(writing: Writing) -> PartitionImage:
    return PartitionImage(
        replicas=(1, 2, 3),
        isr=(1, 2),
        leader=1,
        leader_epoch=4,
        partition_epoch=5,
        directories=tuple(directory(writing, number) for number in (1, 2, 3)),
        elr=(3,) if writing.elr_enabled else (),
    )


def broker(writing: Writing) -> BrokerRegistration:
    version = writing.metadata_version
    return BrokerRegistration(
        id=3,
        epoch=9,
        incarnation_id=uuid(5, 5),
        endpoints={"PLAINTEXT": Endpoint("PLAINTEXT", "h", 9092, 0)},
        features={METADATA_VERSION: (7, 33)},
        rack="r",
        fenced=True,
        in_controlled_shutdown=False,
        directories=(uuid(7, 1), uuid(7, 2)) if version >= DIRECTORIES_SINCE else (),
        cordoned_directories=(uuid(7, 2),) if version >= CORDONED_SINCE else None,
    )


def changed(
    writing: Writing,
    min_isr: int,
    may_lead: Callable[[int], bool],
    isr: Sequence[int] = (1, 2),
    added: Sequence[int] = (),
) -> VersionedRecord:
    rules = PartitionRules(may_lead, min_isr, writing, lambda broker_id: directory(writing, broker_id))
    change = PartitionChange(partition(writing), TOPIC, 6, rules)
    change.isr = list(isr)
    change.replicas += added
    change.adding = list(added)
    record = change.build()
    assert record is not None
    return record


CASES: dict[str, Callable[[Writing], VersionedRecord]] = {
    "broker": lambda writing: broker_record(broker(writing), writing),
    "partition": lambda writing: next(partition_records(TOPIC, [(6, partition(writing))], writing)),
    "shrunk": lambda writing: changed(writing, 1, lambda _id: True, (1,)),
    "below the minimum": lambda writing: changed(writing, 2, lambda _id: True, (1,)),
    "grown": lambda writing: changed(writing, 1, lambda _id: True, (1, 2, 3)),
    "leader gone": lambda writing: changed(writing, 1, lambda broker_id: broker_id != 1, (2,)),
    "all gone": lambda writing: changed(writing, 2, lambda _id: False, ()),
    "one more replica": lambda writing: changed(writing, 1, lambda _id: True, added=(4,)),
}


def test_kafka_writes_the_same_at_every_metadata_version() -> None:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    command = ["java", "-XX:TieredStopAtLevel=1", "-cp", f"{libs_folder()}/*", str(PROGRAM)]
    ran = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=True)
    kafkas = {tuple(line.split("\t")[:3]): line.split("\t")[3] for line in ran.stdout.splitlines()}
    ours = {}
    for level in range(MIN_METADATA_VERSION, LATEST_METADATA_VERSION + 1):
        for elr in (False, True) if level >= ELR_SINCE else (False,):
            for name, build in CASES.items():
                record = build(Writing(level, elr))
                ours[str(level), str(elr).lower(), name] = encode_metadata_record(*record).hex()
    assert ours.keys() == kafkas.keys()
    differing = [key for key in ours if ours[key] != kafkas[key]]
    assert differing == []


def test_a_snapshot_holds_only_what_the_metadata_version_knows() -> None:
    image = MetadataImage.empty()._replace(
        cluster=ClusterImage(
            controllers=PersistentMap({1: ControllerRegistration(1, uuid(1, 1), {}, {}, zk_migration_ready=False)})
        ),
        scram=ScramImage(PersistentMap({(1, "u"): ScramCredential(b"s", b"k", b"k", 4096)})),
        delegation_tokens=DelegationTokensImage(PersistentMap({"t": DelegationToken("o", "o", (), 1, 2, 3)})),
    )
    names = ["RegisterControllerRecord", "UserScramCredentialRecord", "DelegationTokenRecord"]
    for level, known in ((33, names), (14, names[1:]), (13, names[1:2]), (10, [])):
        features = FeaturesImage(PersistentMap({METADATA_VERSION: level}))
        written = [record.message.NAME for record in to_records(image._replace(features=features))]
        assert written == ["FeatureLevelRecord", *known]
