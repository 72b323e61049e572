"""The controller's handlers; a broker reaches them in its own process or through the wire."""

from __future__ import annotations

from odradek.controller.api.cluster import ClusterApi
from odradek.controller.controller import Controller
from odradek.server.handler_table import HandlerTable
from odradek.server.handlers import AnyHandler
from odradek.wire.apis import ApiKey


def controller_handlers(controller: Controller) -> HandlerTable:
    """The handlers behind a controller's listeners, and behind an in-process client."""
    table = HandlerTable(ClusterApi(controller).handlers())
    later = _Later(controller, table)
    table.add_later((ApiKey.CREATE_TOPICS, ApiKey.DELETE_TOPICS, ApiKey.CREATE_PARTITIONS), later.topics)
    table.add_later((ApiKey.ALTER_CONFIGS, ApiKey.INCREMENTAL_ALTER_CONFIGS), later.alter_configs)
    table.add_later((ApiKey.DESCRIBE_QUORUM,), later.quorum)
    table.add_later((ApiKey.DESCRIBE_CONFIGS, ApiKey.DESCRIBE_CLUSTER), later.descriptions)
    table.add_later(_PARTITIONS, later.partitions)
    table.add_later((ApiKey.ALTER_CLIENT_QUOTAS, ApiKey.ALTER_USER_SCRAM_CREDENTIALS), later.users)
    table.add_later(_SECURITY, later.security)
    table.add_later(_RAFT, later.raft)
    table.add_later((ApiKey.ENVELOPE,), later.envelope)
    return table


_PARTITIONS = (
    ApiKey.ELECT_LEADERS,
    ApiKey.ALTER_PARTITION_REASSIGNMENTS,
    ApiKey.LIST_PARTITION_REASSIGNMENTS,
    ApiKey.ALTER_PARTITION,
)
_SECURITY = (
    ApiKey.DESCRIBE_ACLS,
    ApiKey.CREATE_ACLS,
    ApiKey.DELETE_ACLS,
    ApiKey.SASL_HANDSHAKE,
    ApiKey.SASL_AUTHENTICATE,
    ApiKey.CREATE_DELEGATION_TOKEN,
    ApiKey.RENEW_DELEGATION_TOKEN,
    ApiKey.EXPIRE_DELEGATION_TOKEN,
)
_RAFT = (
    ApiKey.FETCH,
    ApiKey.VOTE,
    ApiKey.BEGIN_QUORUM_EPOCH,
    ApiKey.END_QUORUM_EPOCH,
    ApiKey.FETCH_SNAPSHOT,
    ApiKey.UPDATE_RAFT_VOTER,
    ApiKey.ADD_RAFT_VOTER,
    ApiKey.REMOVE_RAFT_VOTER,
)


class _Later:
    """What a start does not need: each of these is made, and its modules are loaded, when it is asked for first."""

    def __init__(self, controller: Controller, table: HandlerTable) -> None:
        self._controller = controller
        self._table = table

    def topics(self) -> list[AnyHandler]:
        from odradek.controller.api.topics import TopicsApi

        return TopicsApi(self._controller).handlers()

    def alter_configs(self) -> list[AnyHandler]:
        from odradek.controller.api.configs import AlterConfigsApi

        return AlterConfigsApi(self._controller).handlers()

    def quorum(self) -> list[AnyHandler]:
        from odradek.controller.api.quorum import QuorumApi

        return QuorumApi(self._controller.raft, self._controller.state.clock).handlers()

    def descriptions(self) -> list[AnyHandler]:
        from odradek.controller.api.description import DescriptionApi
        from odradek.server.configs import ConfigsApi

        controller = self._controller
        return [
            ConfigsApi(lambda: controller.image, lambda: controller.config).describe_handler(),
            *DescriptionApi(controller).handlers(),
        ]

    def partitions(self) -> list[AnyHandler]:
        from odradek.controller.api.partitions import PartitionsApi

        return PartitionsApi(self._controller).handlers()

    def users(self) -> list[AnyHandler]:
        from odradek.controller.api.users import UsersApi

        return UsersApi(self._controller).handlers()

    def security(self) -> list[AnyHandler]:
        from odradek.controller.api.disabled import DisabledSecurityApi

        return DisabledSecurityApi().handlers()

    def raft(self) -> list[AnyHandler]:
        from odradek.controller.api.raft import RaftApi

        api = RaftApi(self._controller.raft)
        return [*api.handlers(), *api.admin_handlers()]

    def envelope(self) -> list[AnyHandler]:
        from odradek.server.envelope import EnvelopeHandler

        return [EnvelopeHandler(self._table).handler()]
