"""What a node's parts tell the active controller of themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from odradek.config import BrokerConfig, Listener
from odradek.metadata.features import SUPPORTED
from odradek.wire.messages import broker_registration, controller_registration
from odradek.wire.messages.broker_registration import BrokerRegistrationRequest
from odradek.wire.messages.controller_registration import ControllerRegistrationRequest
from odradek.wire.uuids import Uuid


def broker_registration_request(
    config: BrokerConfig,
    cluster_id: str,
    incarnation_id: Uuid,
    advertised: Sequence[Listener],
    log_dirs: Sequence[Uuid],
    previous_epoch: int,
) -> BrokerRegistrationRequest:
    """A broker with its usable directories, and the epoch under which it last stopped cleanly (-1: it did not)."""
    return BrokerRegistrationRequest(
        broker_id=config.node_id,
        cluster_id=cluster_id,
        incarnation_id=incarnation_id,
        listeners=[
            broker_registration.Listener(
                name=listener.name, host=listener.host, port=listener.port, security_protocol=listener.security_protocol
            )
            for listener in advertised
        ],
        features=[
            broker_registration.Feature(name=name, min_supported_version=lowest, max_supported_version=highest)
            for name, (lowest, highest) in SUPPORTED.items()
        ],
        rack=config.optional_string("broker.rack"),
        log_dirs=list(log_dirs),
        previous_broker_epoch=previous_epoch,
    )


def controller_registration_request(
    config: BrokerConfig, incarnation_id: Uuid, listener_ports: Mapping[str, int]
) -> ControllerRegistrationRequest:
    """A controller with its listeners; `listener_ports` are those in use where the configuration asked for any."""
    return ControllerRegistrationRequest(
        controller_id=config.node_id,
        incarnation_id=incarnation_id,
        listeners=[
            controller_registration.Listener(
                name=listener.name,
                host=listener.host or "localhost",
                port=listener.port or listener_ports.get(listener.name, 0),
                security_protocol=listener.security_protocol,
            )
            for listener in config.advertised_controller_listeners
        ],
        features=[
            controller_registration.Feature(name=name, min_supported_version=lowest, max_supported_version=highest)
            for name, (lowest, highest) in SUPPORTED.items()
        ],
    )
