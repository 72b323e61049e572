"""Configurations, quotas, credentials and the rest that administrators ask for."""

from __future__ import annotations

from random import Random

from odradek.wire.messages import alter_configs, incremental_alter_configs
from odradek.wire.messages.alter_client_quotas import (
    AlterClientQuotasRequest,
    AlterClientQuotasRequestEntityData,
    AlterClientQuotasRequestEntryData,
    OpData,
)
from odradek.wire.messages.alter_partition_reassignments import (
    AlterPartitionReassignmentsRequest,
    ReassignablePartition,
    ReassignableTopic,
)
from odradek.wire.messages.alter_user_scram_credentials import (
    AlterUserScramCredentialsRequest,
    ScramCredentialDeletion,
    ScramCredentialUpsertion,
)
from odradek.wire.messages.describe_acls import DescribeAclsRequest
from odradek.wire.messages.describe_client_quotas import ComponentData, DescribeClientQuotasRequest
from odradek.wire.messages.describe_cluster import DescribeClusterRequest
from odradek.wire.messages.describe_configs import DescribeConfigsRequest, DescribeConfigsResource
from odradek.wire.messages.describe_log_dirs import DescribableLogDirTopic, DescribeLogDirsRequest
from odradek.wire.messages.describe_quorum import (
    DescribeQuorumRequest,
    DescribeQuorumRequestPartitionData,
    DescribeQuorumRequestTopicData,
)
from odradek.wire.messages.describe_user_scram_credentials import DescribeUserScramCredentialsRequest, UserName
from odradek.wire.messages.elect_leaders import ElectLeadersRequest, TopicPartitions
from odradek.wire.messages.list_config_resources import ListConfigResourcesRequest
from odradek.wire.messages.list_partition_reassignments import (
    ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsTopics,
)
from odradek.wire.messages.update_features import FeatureUpdateKey, UpdateFeaturesRequest
from tests.differential.operations.registry import operation
from tests.differential.operations.topics import CONFIGS, INVALID_CONFIGS
from tests.differential.world import Step, World

TOPIC, BROKER, CLIENT_METRICS, GROUP = 2, 4, 16, 32
TOPIC_KEYS = ("cleanup.policy", "retention.ms", "max.message.bytes", "compression.type", "no.such.property")
BROKER_KEYS = ("log.cleaner.threads", "num.io.threads", "message.max.bytes", "log.retention.ms", "no.such.property")
GROUP_KEYS = (("consumer.session.timeout.ms", "50000"), ("consumer.heartbeat.interval.ms", "4000"))
SCRAM_SHA_256 = 1


@operation(1.5)
def describe_configs(random: Random, world: World) -> list[Step]:
    resources = []
    for _ in range(random.choice((1, 1, 2))):
        kind = random.choice((TOPIC, TOPIC, TOPIC, BROKER, GROUP, CLIENT_METRICS, 0, 3))
        keys: list[str] | None = random.sample(TOPIC_KEYS, random.choice((0, 1, 2)))
        name = world.topic(random).name
        if kind == BROKER:
            name, keys = random.choice(("1", "1", "", "2", "x")), random.sample(BROKER_KEYS, 2)
        elif kind == GROUP:
            name, keys = random.choice((*world.groups, "")), None
        elif random.random() < 0.4:
            keys = None
        resource = DescribeConfigsResource(resource_type=kind, resource_name=name, configuration_keys=keys)
        resources.append(resource)
    request = DescribeConfigsRequest(resources=resources, include_synonyms=random.random() < 0.5)
    version = random.randint(1, 4)
    if version >= 3:
        request.include_documentation = random.random() < 0.3
    return [Step(request, version=version)]


def _resource(random: Random, world: World) -> tuple[int, str, list[tuple[str, str | None]]]:
    kind = random.choice((TOPIC, TOPIC, TOPIC, TOPIC, GROUP, CLIENT_METRICS, 0))
    if kind == GROUP:
        return kind, random.choice((*world.groups, "")), [random.choice((*GROUP_KEYS, ("no.such", "1")))]
    if kind == CLIENT_METRICS:
        name = random.choice((f"{world.prefix}-m", ""))
        return kind, name, [random.choice((("interval.ms", "1000"), ("metrics", "a,b"), ("interval.ms", "1")))]
    configs: list[tuple[str, str | None]] = [random.choice(CONFIGS) for _ in range(random.choice((0, 1, 1, 2)))]
    if random.random() < 0.2:
        configs.append(random.choice(INVALID_CONFIGS))
    return kind, world.topic(random).name, configs


@operation(1.5)
def incremental_alter(random: Random, world: World) -> list[Step]:
    resources = []
    for _ in range(random.choice((1, 1, 2))):
        kind, name, configs = _resource(random, world)
        wanted = [
            incremental_alter_configs.AlterableConfig(
                name=key,
                config_operation=operation_,
                value=value if operation_ != 1 or random.random() < 0.2 else None,
            )
            for key, value in configs
            for operation_ in [random.choice((0, 0, 0, 1, 2, 3)) if random.random() < 0.9 else 4]
        ]
        resource = incremental_alter_configs.AlterConfigsResource(
            resource_type=kind, resource_name=name, configs=wanted
        )
        resources.append(resource)
    request = incremental_alter_configs.IncrementalAlterConfigsRequest(resources=resources)
    request.validate_only = random.random() < 0.2
    return [Step(request, changes_metadata=True)]


@operation(0.7)
def alter(random: Random, world: World) -> list[Step]:
    """All configurations of a resource at once."""
    kind, name, configs = _resource(random, world)
    wanted = [alter_configs.AlterableConfig(name=key, value=value) for key, value in configs]
    resource = alter_configs.AlterConfigsResource(resource_type=kind, resource_name=name, configs=wanted)
    request = alter_configs.AlterConfigsRequest(resources=[resource], validate_only=random.random() < 0.2)
    return [Step(request, changes_metadata=True)]


@operation(0.5)
def list_config_resources(random: Random, world: World) -> list[Step]:
    version = random.choice((0, 1, 1))
    request = ListConfigResourcesRequest()
    if version == 1:
        request.resource_types = random.choice(([GROUP], [CLIENT_METRICS], [BROKER], [8], [TOPIC, GROUP], [0], [99]))
    return [Step(request, version=version)]


@operation(1)
def alter_client_quotas(random: Random, world: World) -> list[Step]:
    kinds = random.choice((["user"], ["client-id"], ["user", "client-id"], ["ip"], ["nothing"], []))
    entity = [
        AlterClientQuotasRequestEntityData(
            entity_type=kind,
            entity_name=random.choice((random.choice(world.users), None)) if kind != "ip" else "10.0.0.1",
        )
        for kind in kinds
    ]
    if None in [one.entity_name for one in entity]:
        return []
    key = random.choice(("producer_byte_rate", "consumer_byte_rate", "request_percentage", "connection_creation_rate"))
    change = OpData(key=key, value=random.choice((1.0, 1000.0, 0.5, 0.0, -1.0)), remove=random.random() < 0.3)
    request = AlterClientQuotasRequest(
        entries=[AlterClientQuotasRequestEntryData(entity=entity, ops=[change])], validate_only=random.random() < 0.2
    )
    return [Step(request, changes_metadata=True)]


@operation(1)
def describe_client_quotas(random: Random, world: World) -> list[Step]:
    exact, default, anything = 0, 1, 2
    components = []
    for kind in random.choice((["user"], ["client-id"], ["user", "client-id"], ["ip"], ["nothing"], ["user", "user"])):
        match = random.choice((exact, exact, default, anything, 3))
        name = random.choice(world.users) if match == exact else None
        components.append(ComponentData(entity_type=kind, match_type=match, match=name))
    if not any(component.match_type == exact for component in components):
        return []
    return [Step(DescribeClientQuotasRequest(components=components, strict=random.random() < 0.5))]


@operation(0.7)
def alter_scram(random: Random, world: World) -> list[Step]:
    request = AlterUserScramCredentialsRequest()
    for user in random.sample(world.users, random.choice((1, 2))):
        mechanism = random.choice((SCRAM_SHA_256, 2, 0, 3)) if random.random() < 0.3 else SCRAM_SHA_256
        if random.random() < 0.3:
            request.deletions.append(ScramCredentialDeletion(name=user, mechanism=mechanism))
        else:
            iterations = random.choice((4096, 4096, 8192, 1, 1 << 20))
            request.upsertions.append(
                ScramCredentialUpsertion(
                    name=user, mechanism=mechanism, iterations=iterations, salt=b"salt", salted_password=b"x" * 32
                )
            )
    return [Step(request, changes_metadata=True)]


@operation(0.5)
def describe_scram(random: Random, world: World) -> list[Step]:
    users = random.sample([*world.users, world.nobody, ""], random.choice((1, 2)))
    return [Step(DescribeUserScramCredentialsRequest(users=[UserName(name=name) for name in users]))]


@operation(0.5)
def elect_leaders(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = TopicPartitions(topic=topic.name, partitions=[world.partition(topic, random)])
    request = ElectLeadersRequest(topic_partitions=[wanted], timeout_ms=10_000)
    version = random.randint(0, 2)
    if version >= 1:
        request.election_type = random.choice((0, 0, 1))
    return [Step(request, version=version, changes_metadata=True)]


@operation(0.5)
def alter_reassignments(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = ReassignablePartition(
        partition_index=world.partition(topic, random), replicas=random.choice(([1], None, [], [1, 1], [2], [-1]))
    )
    request = AlterPartitionReassignmentsRequest(
        timeout_ms=10_000, topics=[ReassignableTopic(name=topic.name, partitions=[wanted])]
    )
    version = random.choice((0, 1))
    if version == 1:
        request.allow_replication_factor_change = random.random() < 0.5
    return [Step(request, version=version, changes_metadata=True)]


@operation(0.3)
def list_reassignments(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    wanted = ListPartitionReassignmentsTopics(name=topic.name, partition_indexes=[world.partition(topic, random)])
    topics = random.choice((None, [wanted], []))
    return [Step(ListPartitionReassignmentsRequest(timeout_ms=10_000, topics=topics))]


@operation(0.7)
def describe_log_dirs(random: Random, world: World) -> list[Step]:
    topic = world.topic(random)
    partitions = sorted({world.partition(topic, random), world.partition(topic, random)})
    return [Step(DescribeLogDirsRequest(topics=[DescribableLogDirTopic(topic=topic.name, partitions=partitions)]))]


@operation(0.3)
def describe_cluster(random: Random, world: World) -> list[Step]:
    version = random.randint(0, 2)
    request = DescribeClusterRequest(include_cluster_authorized_operations=random.random() < 0.3)
    if version >= 1:
        request.endpoint_type = random.choice((1, 1, 1, 0, 3))
    if version >= 2:
        request.include_fenced_brokers = random.random() < 0.5
    return [Step(request, version=version)]


@operation(0.3)
def describe_quorum(random: Random, world: World) -> list[Step]:
    name = random.choice(("__cluster_metadata", "__cluster_metadata", world.topic(random).name))
    partitions = [DescribeQuorumRequestPartitionData(partition_index=random.choice((0, 0, 1)))]
    topic = DescribeQuorumRequestTopicData(topic_name=name, partitions=partitions)
    return [Step(DescribeQuorumRequest(topics=[topic]))]


@operation(0.3)
def update_features(random: Random, world: World) -> list[Step]:
    """Only asked, never done."""
    update = FeatureUpdateKey(
        feature=random.choice(("metadata.version", "group.version", "transaction.version", "nothing", "kraft.version")),
        max_version_level=random.choice((0, 1, 2, 7, 20, 33, 34, -1)),
        upgrade_type=random.choice((1, 2, 3, 0, 4)),
    )
    request = UpdateFeaturesRequest(feature_updates=[update], validate_only=True)
    return [Step(request, version=random.choice((1, 2)))]


@operation(0.3)
def describe_acls(random: Random, world: World) -> list[Step]:
    """There is no authorizer at either."""
    request = DescribeAclsRequest(
        resource_type_filter=random.choice((1, 2)),
        resource_name_filter=random.choice((None, "a")),
        pattern_type_filter=random.choice((1, 3)),
        operation=1,
        permission_type=1,
    )
    return [Step(request)]
