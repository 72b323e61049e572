"""What a broker answers: its own APIs, and those that it passes on to the controller."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from odradek.broker.api.fetch import FetchApi, FetchLimits
from odradek.broker.api.forwarding import FORWARDED, Followers, forwarding_handler
from odradek.broker.api.metadata import MetadataApi, MetadataOptions
from odradek.broker.api.offsets import OffsetsApi
from odradek.broker.api.produce import ProduceApi
from odradek.broker.controller_client import ControllerClient
from odradek.broker.replication.admission import Admission
from odradek.config import BrokerConfig
from odradek.config.own import RECORD_VALIDATION, VALIDATE_RECORDS
from odradek.metadata.image import TopicsImage
from odradek.metadata.topic_names import GROUP_METADATA_TOPIC, TRANSACTION_STATE_TOPIC
from odradek.node.feature_levels import offers_consumer_protocol
from odradek.node.ports import Ports
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler, erase
from odradek.wire.apis import ApiKey

if TYPE_CHECKING:
    from odradek.node.broker_part import BrokerPart


def add_broker_handlers(
    table: HandlerTable,
    broker: BrokerPart,
    config: BrokerConfig,
    ports: Ports,
    controller: ControllerClient,
    served_by_controller: Callable[[ApiKey], AnyHandler | None],
) -> None:
    """Put a broker's handlers into `table`.

    `config` is that of the start; `served_by_controller` finds the controller's own handler of a forwarded API.
    """
    replicas = broker.replicas
    admission = Admission(
        ports.clock,
        check_every_record=config.string(RECORD_VALIDATION) == VALIDATE_RECORDS,
        executor=ports.executor,
    )
    metadata = MetadataApi(
        replicas,
        broker.topics,
        MetadataOptions(
            cluster_id=broker.cluster_id,
            auto_create_topics=config.bool_("auto.create.topics.enable"),
            max_partitions_described=config.int_("max.request.partition.size.limit"),
        ),
    )
    readahead = ports.executor if ports.files.knows_page_cache else None
    fetch_limits = FetchLimits(config.int_("fetch.max.bytes"))
    table.add(
        [
            erase(ProduceApi(replicas, admission, broker.verifier).handler()),
            erase(FetchApi(replicas, broker.fetch_sessions, fetch_limits, readahead).handler()),
            *OffsetsApi(replicas, readahead).handlers(),
            *metadata.handlers(),
        ]
    )
    later = _Later(broker, config, ports, controller)
    table.add_later((ApiKey.FIND_COORDINATOR,), later.find_coordinator)
    table.add_later(_GROUPS, later.groups)
    table.add_later(_TRANSACTIONS, later.transactions)
    table.add_later((ApiKey.DESCRIBE_TRANSACTIONS, ApiKey.LIST_TRANSACTIONS), later.transactions_admin)
    table.add_later((ApiKey.TXN_OFFSET_COMMIT, ApiKey.WRITE_TXN_MARKERS), later.transactions_of_groups)
    table.add_later((ApiKey.DESCRIBE_CONFIGS, ApiKey.LIST_CONFIG_RESOURCES), later.describe_configs)
    table.add_later((ApiKey.ALTER_CONFIGS, ApiKey.INCREMENTAL_ALTER_CONFIGS), later.alter_configs)
    table.add_later((ApiKey.DELETE_RECORDS, ApiKey.DESCRIBE_PRODUCERS), later.logs)
    table.add_later((ApiKey.DESCRIBE_LOG_DIRS, ApiKey.ALTER_REPLICA_LOG_DIRS), later.log_dirs)
    table.add_later(_SECURITY, later.security)
    table.add_later((ApiKey.DESCRIBE_CLIENT_QUOTAS,), later.quotas)
    for key in FORWARDED:
        table.add_later((key,), partial(later.forwarded, key, served_by_controller))


_GROUPS = (
    ApiKey.JOIN_GROUP,
    ApiKey.SYNC_GROUP,
    ApiKey.HEARTBEAT,
    ApiKey.LEAVE_GROUP,
    ApiKey.OFFSET_COMMIT,
    ApiKey.OFFSET_FETCH,
    ApiKey.OFFSET_DELETE,
    ApiKey.DESCRIBE_GROUPS,
    ApiKey.LIST_GROUPS,
    ApiKey.DELETE_GROUPS,
    ApiKey.CONSUMER_GROUP_HEARTBEAT,
    ApiKey.CONSUMER_GROUP_DESCRIBE,
)
_TRANSACTIONS = (
    ApiKey.INIT_PRODUCER_ID,
    ApiKey.ADD_PARTITIONS_TO_TXN,
    ApiKey.ADD_OFFSETS_TO_TXN,
    ApiKey.END_TXN,
)
_SECURITY = (
    ApiKey.DESCRIBE_ACLS,
    ApiKey.SASL_HANDSHAKE,
    ApiKey.SASL_AUTHENTICATE,
    ApiKey.CREATE_DELEGATION_TOKEN,
    ApiKey.RENEW_DELEGATION_TOKEN,
    ApiKey.EXPIRE_DELEGATION_TOKEN,
    ApiKey.DESCRIBE_DELEGATION_TOKEN,
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS,
)


class _Later:
    """What a start does not need: each of these is made, and its modules are loaded, when it is asked for first."""

    def __init__(self, broker: BrokerPart, config: BrokerConfig, ports: Ports, controller: ControllerClient) -> None:
        self._broker = broker
        self._config = config
        self._ports = ports
        self._controller = controller

    def find_coordinator(self) -> list[AnyHandler]:
        from odradek.broker.api.find_coordinator import GROUP, TRANSACTION, CoordinatorTopic, FindCoordinatorApi

        coordinators = self._broker.coordinators
        topics = {
            GROUP: CoordinatorTopic(GROUP_METADATA_TOPIC, coordinators.group_partition),
            TRANSACTION: CoordinatorTopic(TRANSACTION_STATE_TOPIC, coordinators.transaction_partition),
        }
        return FindCoordinatorApi(lambda: self._broker.replicas.image, self._broker.topics, topics).handlers()

    def groups(self) -> list[AnyHandler]:
        from odradek.broker.api.consumer_groups import ConsumerGroupsApi
        from odradek.broker.api.group_admin import GroupAdminApi
        from odradek.broker.api.group_membership import GroupMembershipApi
        from odradek.broker.api.group_offsets import GroupOffsetsApi

        groups = self._broker.groups
        return [
            *GroupMembershipApi(groups).handlers(),
            *GroupOffsetsApi(groups, self._topics).handlers(),
            *GroupAdminApi(groups).handlers(),
            *ConsumerGroupsApi(groups, self._offers_consumer_protocol).handlers(),
        ]

    def transactions(self) -> list[AnyHandler]:
        from odradek.broker.api.transactions import TransactionsApi

        broker = self._broker
        group_partition = broker.coordinators.group_partition
        return TransactionsApi(broker.transactions, broker.producer_ids, self._topics, group_partition).handlers()

    def transactions_admin(self) -> list[AnyHandler]:
        from odradek.broker.api.txn_admin import TxnAdminApi

        return TxnAdminApi(self._broker.transactions, self._ports.clock.now_ms).handlers()

    def transactions_of_groups(self) -> list[AnyHandler]:
        from odradek.broker.api.txn_markers import TxnMarkersApi
        from odradek.broker.api.txn_offsets import TxnOffsetsApi

        broker = self._broker
        timeout_ms = self._config.int_("request.timeout.ms")
        return [
            *TxnOffsetsApi(broker.groups, broker.verifier, self._topics).handlers(),
            *TxnMarkersApi(broker.replicas, broker.groups, timeout_ms).handlers(),
        ]

    def describe_configs(self) -> list[AnyHandler]:
        from odradek.server.configs import ConfigsApi

        configs = ConfigsApi(lambda: self._broker.replicas.image, lambda: self._broker.config)
        return [configs.describe_handler(), configs.list_handler()]

    def alter_configs(self) -> list[AnyHandler]:
        from odradek.broker.api.alter_configs import AlterConfigsApi

        return AlterConfigsApi(self._broker.replicas, self._controller, lambda: self._broker.config).handlers()

    def logs(self) -> list[AnyHandler]:
        from odradek.broker.api.delete_records import DeleteRecordsApi
        from odradek.broker.api.producers import ProducersApi

        replicas = self._broker.replicas
        return [DeleteRecordsApi(replicas).handler(), *ProducersApi(replicas).handlers()]

    def log_dirs(self) -> list[AnyHandler]:
        from odradek.broker.api.log_dirs import LogDirsApi

        return LogDirsApi(self._broker.replicas, self._broker.moves).handlers()

    def security(self) -> list[AnyHandler]:
        from odradek.broker.api.security import SecurityApi

        return SecurityApi(self._broker.replicas).handlers()

    def quotas(self) -> list[AnyHandler]:
        from odradek.broker.api.quotas import QuotasApi

        return [erase(QuotasApi(self._broker.replicas).handler())]

    def forwarded(self, key: ApiKey, served: Callable[[ApiKey], AnyHandler | None]) -> list[AnyHandler]:
        original = served(key)
        if original is None:
            raise LookupError(f"no controller answers {key.name}")
        followers = Followers(self._broker.replicas.catching_up, self._ports.scheduler)
        return [forwarding_handler(self._controller, original, followers)]

    def _topics(self) -> TopicsImage:
        return self._broker.replicas.image.topics

    def _offers_consumer_protocol(self) -> bool:
        return offers_consumer_protocol(self._config, self._broker.replicas.image)
