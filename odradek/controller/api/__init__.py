"""The controller's handlers; a broker reaches them in its own process or through the wire."""

from __future__ import annotations

from odradek.controller.api.cluster import ClusterApi
from odradek.controller.api.configs import AlterConfigsApi
from odradek.controller.api.description import DescriptionApi
from odradek.controller.api.disabled import DisabledSecurityApi
from odradek.controller.api.partitions import PartitionsApi
from odradek.controller.api.quorum import QuorumApi
from odradek.controller.api.raft import RaftApi
from odradek.controller.api.topics import TopicsApi
from odradek.controller.api.users import UsersApi
from odradek.controller.controller import Controller
from odradek.server.configs import ConfigsApi
from odradek.server.envelope import EnvelopeHandler
from odradek.server.handlers import AnyHandler


def controller_handlers(controller: Controller) -> list[AnyHandler]:
    """The handlers behind a controller's listeners, and behind an in-process client."""
    raft = RaftApi(controller.raft)
    handlers = [
        *TopicsApi(controller).handlers(),
        *AlterConfigsApi(controller).handlers(),
        ConfigsApi(lambda: controller.image, lambda: controller.config).describe_handler(),
        *DescriptionApi(controller).handlers(),
        *ClusterApi(controller).handlers(),
        *PartitionsApi(controller).handlers(),
        *UsersApi(controller).handlers(),
        *DisabledSecurityApi().handlers(),
        *QuorumApi(controller.raft, controller.state.clock).handlers(),
        *raft.admin_handlers(),
    ]
    return [*handlers, *raft.handlers(), EnvelopeHandler(handlers).handler()]
